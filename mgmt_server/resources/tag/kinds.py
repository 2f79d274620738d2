"""What may carry tags, details and annotations: the protocol's name of each kind, and where its rows are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, select
from sqlalchemy.orm import Session

from mgmt_server.api.context import Context
from mgmt_server.api.parameters import no_entity
from mgmt_server.api.projects import check_allowed
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs.rows import Node
from mgmt_server.model.account import ROOT_DOMAIN, SYSTEM_ACCOUNT, Account, Domain, Project, User
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import DiskOffering, NetworkOffering, ServiceOffering
from mgmt_server.model.snapshot import Snapshot, SnapshotPolicy, VmSnapshot
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import Caller
from mgmt_server.model.userdata import InstanceGroup, UserData
from mgmt_server.model.vm import SshKeyPair, Vm, Volume
from mgmt_server.model.zone import Address, Cluster, Pod, Zone
from mgmt_server.resources.account.rights import check_rank


@dataclass(frozen=True)
class Kind:
    """Rows of a table that meet `only`; all of them when that is empty."""

    table: Any
    only: ColumnElement[bool] | None = None

    def there(self) -> ColumnElement[bool]:
        """Those that have not been deleted."""
        alive: ColumnElement[bool] = self.table.removed.is_(None)
        return alive if self.only is None else and_(alive, self.only)


USER_VMS = Kind(Vm, Vm.kind == "User")
TEMPLATES, ISOS = Kind(Template, Template.format != "ISO"), Kind(Template, Template.format == "ISO")
ADDRESSES = Kind(Address, Address.account_id.is_not(None))  # a free one is nobody's, and nothing stays on it
NETWORKS, VOLUMES = Kind(Network, ~Network.is_system), Kind(Volume)

# What carries tags. A view that shows tags names its kind (`tagged`); the test of tags holds both together.
TAGGED: Mapping[str, Kind] = {
    "UserVm": USER_VMS,
    "Template": TEMPLATES,
    "ISO": ISOS,
    "Volume": VOLUMES,
    "Snapshot": Kind(Snapshot),
    "SnapshotPolicy": Kind(SnapshotPolicy),
    "VMSnapshot": Kind(VmSnapshot),
    "Network": NETWORKS,
    "PublicIpAddress": ADDRESSES,
    "Project": Kind(Project),
    "Account": Kind(Account),
    "User": Kind(User),
}

# What carries details.
DETAILED: Mapping[str, Kind] = {
    "UserVm": USER_VMS,
    "Template": TEMPLATES,
    "Volume": VOLUMES,
    "Network": NETWORKS,
    "Nic": Kind(Nic),
    "PublicIpAddress": ADDRESSES,
    "User": Kind(User),
    "Zone": Kind(Zone),
    "Storage": Kind(Pool),
    "ServiceOffering": Kind(ServiceOffering),
    "DiskOffering": Kind(DiskOffering),
    "NetworkOffering": Kind(NetworkOffering),
    "GuestOs": Kind(OsType),
}

# What carries annotations: first what users may remark on, then what only root administrators see at all.
OF_USERS: Mapping[str, Kind] = {
    "VM": USER_VMS,
    "VOLUME": VOLUMES,
    "SNAPSHOT": Kind(Snapshot),
    "VM_SNAPSHOT": Kind(VmSnapshot),
    "SSH_KEYPAIR": Kind(SshKeyPair),
    "USER_DATA": Kind(UserData),
    "INSTANCE_GROUP": Kind(InstanceGroup),
    "NETWORK": NETWORKS,
    "PUBLIC_IP_ADDRESS": ADDRESSES,
    "TEMPLATE": TEMPLATES,
    "ISO": ISOS,
}
ANNOTATED: Mapping[str, Kind] = {
    **OF_USERS,
    "SERVICE_OFFERING": Kind(ServiceOffering),
    "DISK_OFFERING": Kind(DiskOffering),
    "NETWORK_OFFERING": Kind(NetworkOffering),
    "ZONE": Kind(Zone),
    "POD": Kind(Pod),
    "CLUSTER": Kind(Cluster),
    "HOST": Kind(Host),
    "DOMAIN": Kind(Domain),
    "PRIMARY_STORAGE": Kind(Pool),
    "SECONDARY_STORAGE": Kind(ImageStore),
    "VR": Kind(Vm, Vm.kind == "DomainRouter"),
    "SYSTEM_VM": Kind(Vm, Vm.kind.in_(("ConsoleProxy", "SecondaryStorageVm"))),
    "MANAGEMENT_SERVER": Kind(Node),
}


def kind_of(parameter: str, text: str, kinds: Mapping[str, Kind]) -> str:
    """The kind that is meant, whatever its case."""
    for name in kinds:
        if name.lower() == text.strip().lower():
            return name
    raise InvalidValue(f"{parameter}={text[:50]} is no kind of resource for this: send one of {', '.join(kinds)}")


def find(ctx: Context, parameter: str, kind: Kind, text: str, access: str = "operable_by") -> Any:
    """The row of a kind, inside the caller's scope. What is foreign and what is missing are refused alike."""
    text = text.strip()
    key: ColumnElement[bool] = kind.table.uuid == text
    if ctx.caller.is_root and text.isdecimal() and len(text) < 19:
        key = or_(key, kind.table.id == int(text))
    mine = getattr(kind.table, access)(ctx.caller)
    row = ctx.session.scalar(select(kind.table).where(key, kind.there(), mine).limit(1)) if text else None
    if row is None:
        raise no_entity(parameter, text)
    check_allowed(ctx, row)
    if access == "operable_by":
        _rank(ctx, row)
    return row


def _rank(ctx: Context, row: Any) -> None:
    """Nobody acts on users and accounts that may do more."""
    if isinstance(row, Account):
        row = ctx.session.scalar(select(User).where(User.account_id == row.id, User.removed.is_(None)).limit(1))
    if isinstance(row, User):
        check_rank(ctx.session, ctx.caller, row)


def owner_of(session: Session, row: Any) -> tuple[int, int]:
    """Account and domain of a row; the system's for what belongs to nobody."""
    if isinstance(row, Account):
        return row.id, row.domain_id
    account = getattr(row, "account_id", None)
    if account is None:
        return SYSTEM_ACCOUNT, ROOT_DOMAIN
    domain = getattr(row, "domain_id", None)
    return account, domain if domain is not None else session.get_one(Account, account).domain_id


def seen_by(
    caller: Caller, type_column: Any, uuid_column: Any, kinds: Mapping[str, Kind], access: str = "usable_by"
) -> ColumnElement[bool]:
    """What is on a resource that is there and that the caller may see: asked of the resource, not of a copy."""
    found = []
    for name, kind in kinds.items():
        mine = getattr(kind.table, access)(caller)
        there = select(kind.table.id).where(kind.table.uuid == uuid_column, kind.there(), mine)
        found.append((type_column == name) & there.correlate(uuid_column.class_.__table__).exists())
    return or_(*found)


def name_on(type_column: Any, uuid_column: Any, tables: Mapping[str, Any]) -> Any:
    """The name of the resource that a row is about, as a column."""
    named = {}
    for kind, table in tables.items():
        name = getattr(table, "name", None) or getattr(table, "username", None) or table.address
        found = select(name).where(table.uuid == uuid_column).limit(1)
        named[kind] = found.correlate(uuid_column.class_.__table__).scalar_subquery()
    return case(named, value=type_column)
