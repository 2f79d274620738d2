"""How much an account or a domain has of each kind of thing, and may have at most."""

from __future__ import annotations

from sqlalchemy import String
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
    """One row an owner, type and tag. Exactly one of account_id and domain_id is set; a domain's row counts those
    below it too. ROOT has no rows: it has no limit, and each creation of the cloud would wait for its row."""

    __tablename__ = "resource_count"
    key: Mapped[str] = mapped_column(String(160), unique=True)  # account:7/user_vm/, domain:3/cpu/gold
    account_id: Mapped[int | None] = refers("account")
    domain_id: Mapped[int | None] = refers("domain")
    type: Mapped[str] = mapped_column(String(20))  # see TYPES
    tag: Mapped[str] = mapped_column(String(100), default="")  # of hosts or storage; "": all
    used: Mapped[Bytes] = mapped_column(default=0)
    most: Mapped[Bytes | None]  # storage in bytes; empty: the setting decides
