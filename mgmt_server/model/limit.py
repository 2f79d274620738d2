"""How much an account or a domain has of each kind of thing, and may have at most."""

from __future__ import annotations

from sqlalchemy import ColumnElement, String, or_
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Bytes, refers
from mgmt_server.model.tenancy import Internal

# name: (number in the protocol, what it counts), in the protocol's order
TYPES = {
    "user_vm": (0, "machines"),
    "public_ip": (1, "public IP addresses"),
    "volume": (2, "volumes"),
    "snapshot": (3, "snapshots"),
    "template": (4, "templates and ISOs"),
    "project": (5, "projects"),
    "network": (6, "guest networks"),
    "vpc": (7, "VPCs"),
    "cpu": (8, "CPU cores"),
    "memory": (9, "MiB of memory"),
    "primary_storage": (10, "GiB of primary storage"),
    "secondary_storage": (11, "GiB of secondary storage"),
}
IN_BYTES = ("primary_storage", "secondary_storage")  # kept in bytes, limited in GiB
UNLIMITED = -1  # as the API says it
NO_LIMIT = 1 << 62  # as it is kept, so that no comparison needs a special case


class ResourceCount(Internal, Base):
    """One row an owner and tag, with what it has and may have of each type: a limit is checked and counted by one
    statement that locks few rows, and a page of owners is read as so many rows. Exactly one of account_id and
    domain_id is set; a domain's row counts those below it too. ROOT has no row: it has no limit, and each creation
    of the cloud would wait for its row.
    """

    __tablename__ = "resource_count"
    key: Mapped[str] = mapped_column(String(160), unique=True)  # account:7/, domain:3/gold
    account_id: Mapped[int | None] = refers("account")
    domain_id: Mapped[int | None] = refers("domain")
    tag: Mapped[str] = mapped_column(String(100), default="")  # of hosts or storage; "": all
    # what is had of each of TYPES
    user_vm: Mapped[Bytes] = mapped_column(default=0)
    public_ip: Mapped[Bytes] = mapped_column(default=0)
    volume: Mapped[Bytes] = mapped_column(default=0)
    snapshot: Mapped[Bytes] = mapped_column(default=0)
    template: Mapped[Bytes] = mapped_column(default=0)
    project: Mapped[Bytes] = mapped_column(default=0)
    network: Mapped[Bytes] = mapped_column(default=0)
    vpc: Mapped[Bytes] = mapped_column(default=0)
    cpu: Mapped[Bytes] = mapped_column(default=0)
    memory: Mapped[Bytes] = mapped_column(default=0)
    primary_storage: Mapped[Bytes] = mapped_column(default=0)
    secondary_storage: Mapped[Bytes] = mapped_column(default=0)
    # and what may be had, storage in bytes; empty: the setting decides
    most_user_vm: Mapped[Bytes | None]
    most_public_ip: Mapped[Bytes | None]
    most_volume: Mapped[Bytes | None]
    most_snapshot: Mapped[Bytes | None]
    most_template: Mapped[Bytes | None]
    most_project: Mapped[Bytes | None]
    most_network: Mapped[Bytes | None]
    most_vpc: Mapped[Bytes | None]
    most_cpu: Mapped[Bytes | None]
    most_memory: Mapped[Bytes | None]
    most_primary_storage: Mapped[Bytes | None]
    most_secondary_storage: Mapped[Bytes | None]


USED = {type: getattr(ResourceCount, type) for type in TYPES}  # the columns, by type
MOST = {type: getattr(ResourceCount, f"most_{type}") for type in TYPES}
SOME_USED: ColumnElement[bool] = or_(*(column != 0 for column in USED.values()))
SOME_LIMIT: ColumnElement[bool] = or_(*(column.is_not(None) for column in MOST.values()))


def used_of(row: ResourceCount) -> dict[str, int]:
    """What the owner has, by type; what it has nothing of is left out."""
    return {type: amount for type in TYPES if (amount := getattr(row, type))}


def most_of(row: ResourceCount) -> dict[str, int]:
    """The limits that were set for the owner, by type."""
    return {type: most for type in TYPES if (most := getattr(row, f"most_{type}")) is not None}
