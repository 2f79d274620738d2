"""Everything that an account owns, and how each kind of it goes when the account is deleted.

Whoever makes a new kind of thing adds it here: to PARTS where something outside the database goes with it, to ROWS
where not. tests/api/test_account_deletion.py makes one of every table that accounts own and fails for what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import addresses, limits
from mgmt_server.db import Base, now
from mgmt_server.errors import InUse
from mgmt_server.jobs import Job
from mgmt_server.jobs.flow import Child
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.account import (
    Account,
    LdapLink,
    Project,
    ProjectInvitation,
    ProjectMember,
    User,
)
from mgmt_server.model.affinity import AffinityGroup
from mgmt_server.model.event import Annotation, Event, ResourceDetail, SettingValue, Tag
from mgmt_server.model.limit import SOME_USED, USED, ResourceCount, used_of
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.snapshot import Snapshot, SnapshotPolicy, VmSnapshot
from mgmt_server.model.template import LaunchPermission, Template, TemplateInZone
from mgmt_server.model.tenancy import Owned
from mgmt_server.model.transfer import ExtractLink, UploadTicket
from mgmt_server.model.userdata import InstanceGroup, UserData
from mgmt_server.model.vm import SshKeyPair, Vm, Volume
from mgmt_server.model.zone import Address, GuestVlanRange, VlanRange
from mgmt_server.resources.dedication.rows import release_all
from mgmt_server.resources.network import flows as network_flows
from mgmt_server.resources.project import flows as project_flows
from mgmt_server.resources.snapshot import flows as snapshot_flows
from mgmt_server.resources.template import flows as template_flows
from mgmt_server.resources.transfer import flows as transfer_flows
from mgmt_server.resources.user import flows as user_flows
from mgmt_server.resources.vm import flows as vm_flows
from mgmt_server.resources.volume import flows as volume_flows

KEPT = (Event,)  # what happened stays told
ROWS: tuple[Any, ...] = (
    AffinityGroup, SshKeyPair, Tag, ResourceDetail, Annotation, TemplateInZone, GuestVlanRange, LaunchPermission,
    InstanceGroup, UserData, UploadTicket,
)  # fmt: skip


@dataclass(frozen=True)
class Thing:
    id: int
    uuid: str
    state: str = ""

    def lock(self, kind: str) -> str:
        """As Context.start names the lock of a row, so that jobs about it run one after the other."""
        return f"{kind}:{self.id}"


@dataclass(frozen=True)
class Part:
    """Things that are found in one transaction, and go each by a job of its own."""

    find: Callable[[Session, int], list[Thing]]
    child: Callable[[Thing], Child]


def _things(tx: Session, rows: Select[Any]) -> list[Thing]:
    return [Thing(*row) for row in tx.execute(rows)]


def _live(table: Any, account_id: int) -> Select[Any]:
    rows = select(table.id, table.uuid, table.state)
    return rows.where(table.account_id == account_id, table.removed.is_(None)).order_by(table.id)


# --- what stands outside ----------------------------------------------------------------------------------------------


def projects(tx: Session, account_id: int) -> list[Thing]:
    """Projects that nobody else administers. They go with it where its domain is deleted; else they were refused."""
    admin = ProjectMember.role == "Admin"
    mine = select(ProjectMember.project_id).where(ProjectMember.account_id == account_id, admin)
    shared = select(ProjectMember.project_id).where(ProjectMember.account_id != account_id, admin)
    rows = select(Project.id, Project.uuid, Project.state).where(Project.id.in_(mine), Project.id.not_in(shared))
    return _things(tx, rows.where(Project.removed.is_(None)).order_by(Project.id))


def _project(thing: Thing) -> Child:
    return Child(project_flows.delete, (thing.id,), thing.lock("project"), ("Project", thing.uuid))


def machines(tx: Session, account_id: int) -> list[Thing]:
    return _things(tx, _live(Vm, account_id).where(Vm.kind == "User"))


def to_stop(tx: Session, account_id: int) -> list[Thing]:
    """Machines of an account that run, or are about to. None where the account is merely locked."""
    disabled = select(Account.id).where(Account.id == account_id, Account.state == "disabled")
    running = Vm.state.in_(("Running", "Starting", "Stopping"))
    return _things(tx, _live(Vm, account_id).where(Vm.kind == "User", running, Vm.account_id.in_(disabled)))


def _machine(thing: Thing) -> Child:
    instance = ("VirtualMachine", thing.uuid)
    if thing.state in ("Destroyed", "Expunging"):
        return Child(vm_flows.expunge, (thing.id,), thing.lock("vm"), instance)
    return Child(vm_flows.destroy, (thing.id, True), thing.lock("vm"), instance)


def volumes(tx: Session, account_id: int) -> list[Thing]:
    """Disks that no machine has any more."""
    return _things(tx, _live(Volume, account_id).where(Volume.vm_id.is_(None)))


def _volume(thing: Thing) -> Child:
    return Child(volume_flows.delete, (thing.id,), thing.lock("volume"), ("Volume", thing.uuid))


def networks(tx: Session, account_id: int) -> list[Thing]:
    return _things(tx, _live(Network, account_id))


def _network(thing: Thing) -> Child:
    return Child(delete_network, (thing.id,), thing.lock("network"), ("Network", thing.uuid))


def delete_network(job: Job, network_id: int) -> None:
    if job.write(only_routers_in, network_id):
        network_flows.delete(job, network_id)


def only_routers_in(tx: Session, network_id: int) -> bool:
    """False when it is gone already. Raises InUse while machines are in it, which may be of others."""
    network = tx.get_one(Network, network_id)
    if network.removed is not None:
        return False
    inside = select(Vm.name).join(Nic, Nic.vm_id == Vm.id)
    inside = inside.where(Nic.network_id == network_id, Nic.removed.is_(None), Vm.kind == "User", Vm.removed.is_(None))
    names = list(tx.scalars(inside.limit(3)))
    if names:
        raise InUse(f"machines are still in the network {network.name}: {', '.join(names)}")
    return True


def templates(tx: Session, account_id: int) -> list[Thing]:
    return _things(tx, _live(Template, account_id).where(Template.parent_id.is_(None)))  # the others go with theirs


def _template(thing: Thing) -> Child:
    return Child(delete_template, (thing.id,), thing.lock("template"), ("Template", thing.uuid))


def delete_template(job: Job, template_id: int) -> None:
    job.write(forget_template, template_id)
    template_flows.delete(job, template_id, None)


def forget_template(tx: Session, template_id: int) -> None:
    template = tx.get_one(Template, template_id)
    if template.removed is None:
        template_flows.forget(tx, template, None)


def links(tx: Session, account_id: int) -> list[Thing]:
    return _things(tx, _live(ExtractLink, account_id))


def _link(thing: Thing) -> Child:
    return Child(transfer_flows.end, (thing.id,), thing.lock("extract_link"), ("ExtractLink", thing.uuid))


def snapshots(tx: Session, account_id: int) -> list[Thing]:
    return _things(tx, _live(Snapshot, account_id))


def _snapshot(thing: Thing) -> Child:
    return Child(delete_snapshot, (thing.id,), thing.lock("snapshot"))


def delete_snapshot(job: Job, snapshot_id: int) -> None:
    job.write(give_up_snapshot, snapshot_id)
    snapshot_flows.delete(job, snapshot_id, None)


def give_up_snapshot(tx: Session, snapshot_id: int) -> None:
    """One that no job is making any more."""
    uuid = tx.get_one(Snapshot, snapshot_id).uuid
    busy = select(JobRow.id).where(JobRow.instance_uuid == uuid, JobRow.state.in_(OPEN)).limit(1)
    if tx.scalar(busy) is None:
        snapshot_flows.never_taken(tx, snapshot_id, [])


PARTS = (
    Part(links, _link),
    Part(projects, _project),
    Part(machines, _machine),
    Part(volumes, _volume),
    Part(snapshots, _snapshot),
    Part(networks, _network),
    Part(templates, _template),
)


# --- what is a row ----------------------------------------------------------------------------------------------------


def drop_rows(tx: Session, account_id: int) -> list[str]:
    """What nothing outside stands for, and what others get back; then the tables in which something is left."""
    linked = update(Template).where(Template.account_id == account_id, Template.user_data_id.is_not(None))
    tx.execute(linked.values(user_data_id=None).execution_options(synchronize_session=False))
    for kept in (VmSnapshot, SnapshotPolicy):  # others refer to them
        gone = update(kept).where(kept.account_id == account_id, kept.removed.is_(None)).values(removed=now())
        tx.execute(gone.execution_options(synchronize_session=False))
    release_all(tx, account_id=account_id)
    for table in ROWS:
        tx.execute(delete(table).where(table.account_id == account_id).execution_options(synchronize_session=False))
    held = select(Address.id).where(Address.account_id == account_id, Address.state != "Free")
    for number in list(tx.scalars(held.where(Address.network_id.is_(None), Address.vm_id.is_(None)))):
        addresses.free(tx, number)
    ranges = update(VlanRange).where(VlanRange.account_id == account_id).values(account_id=None, domain_id=None)
    tx.execute(ranges.execution_options(synchronize_session=False))
    remaining = left(tx, account_id)
    if not remaining:
        _drop_counts(tx, account_id)
    return remaining


def left(tx: Session, account_id: int) -> list[str]:
    """The tables in which something of the account still lives."""
    owned = (m.class_ for m in Base.registry.mappers if issubclass(m.class_, Owned) and m.class_ not in KEPT)
    found = []
    for table in sorted(owned, key=lambda t: str(t.__tablename__)):
        rows = select(func.count()).select_from(table).where(table.account_id == account_id, table.removed.is_(None))
        count = tx.scalar(rows)
        if count:
            found.append(f"{count} {table.__tablename__}")
    return found


def drop_account(tx: Session, account: Account) -> None:
    """Its users, what they may do where, and its counts."""
    for table in (ProjectMember, ProjectInvitation, LdapLink):
        tx.execute(delete(table).where(table.account_id == account.id).execution_options(synchronize_session=False))
    for user in tx.scalars(select(User).where(User.account_id == account.id, User.removed.is_(None))):
        user_flows.gone(tx, user)
    mine = (SettingValue.scope == "Account", SettingValue.scope_id == account.id)
    tx.execute(delete(SettingValue).where(*mine).execution_options(synchronize_session=False))
    _drop_counts(tx, account.id)


def _drop_counts(tx: Session, account_id: int) -> None:
    """Its domains no longer count what it had, were there anything left."""
    limits.settle(tx)
    rows = select(ResourceCount).where(ResourceCount.account_id == account_id, SOME_USED)
    for tag, used in [(row.tag, used_of(row)) for row in tx.scalars(rows)]:
        keys = [limits.key_of(o.key, tag) for o in limits.owners_of(account_id, tx) if o.domain_id is not None]
        back = update(ResourceCount).where(ResourceCount.key.in_(keys))
        back = back.values({USED[type]: USED[type] - amount for type, amount in used.items()})
        tx.execute(back.execution_options(synchronize_session=False))
    gone = delete(ResourceCount).where(ResourceCount.account_id == account_id)
    tx.execute(gone.execution_options(synchronize_session=False))
