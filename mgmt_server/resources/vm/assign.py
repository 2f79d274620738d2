"""Machines that get another owner: with their disks, in networks of the new one, counted for it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.projects import check_active
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.affinity import AffinityMember
from mgmt_server.model.event import Annotation, ResourceDetail, Tag
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.snapshot import Snapshot, SnapshotPolicy
from mgmt_server.model.template import LaunchPermission, Template
from mgmt_server.model.tenancy import ADMINS
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.network.nics import add_nic, is_for, served_by_router
from mgmt_server.resources.router import document
from mgmt_server.resources.vm.deploy import free_host_name, networks_for
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.release import free_nics
from mgmt_server.resources.vm.telling import forget_definition, later
from mgmt_server.resources.vm.views import vm_view
from mgmt_server.resources.vmsnapshot.rows import refuse_with_remains
from mgmt_server.resources.volume.locks import check_settled


@command("assignVirtualMachine", roles=ADMINS, answers=vm_view, event="VM.MOVE", unsupported=("securitygroupids",))
def assign(
    ctx: Context,
    virtualmachineid: Operate[Vm],
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
    networkids: list[Use[Network]] | None = None,
) -> Vm:
    """Give a stopped machine and its disks to another account or project, in networks of the new owner.

    virtualmachineid: the machine
    account: its new owner; with domainid
    domainid: that account's domain
    projectid: the project that gets it
    networkids: its networks from now on, the default one first; the new owner's own by default
    """
    vm, tx = virtualmachineid, ctx.session
    only_users(vm)
    if not account and projectid is None:
        raise InvalidValue("Say who gets the machine: account with domainid, or projectid")
    whose = owner(ctx, account, domainid, projectid)
    tx.refresh(vm, with_for_update=True)
    disks = _disks(tx, vm)
    _check(ctx, vm, whose, disks)
    before = vm.instance
    old_networks = [n.id for n in _networks_of(tx, vm) if served_by_router(tx, n)]
    _move(tx, vm, whose, disks)
    zone = tx.get_one(Zone, vm.zone_id)
    free_nics(tx, vm.id)
    networks = networks_for(ctx, zone, whose) if not networkids else list(networkids)
    _check_networks(tx, networks, zone, whose)
    free_host_name(tx, vm.name, whose, networks)
    for device, network in enumerate(networks):
        add_nic(tx, vm, network, zone, device=device, default=device == 0)
    tx.flush()
    forget_definition(ctx, vm, before)  # its name holds the owner's number
    if old_networks:
        later(ctx, tell, vm, old_networks)
    ctx.describe(f"giving machine {vm.display_name} to {whose.name}")
    return vm


def tell(job: Job, vm_id: int, networks: list[int]) -> None:
    """The routers of the networks that it was in forget it."""
    for network in networks:
        job.call(document.tell, network)


def _disks(tx: Session, vm: Vm) -> list[Volume]:
    return list(tx.scalars(select(Volume).where(Volume.vm_id == vm.id, Volume.removed.is_(None))))


def _networks_of(tx: Session, vm: Vm) -> list[Network]:
    rows = select(Network).join(Nic, Nic.network_id == Network.id).where(Nic.vm_id == vm.id, Nic.removed.is_(None))
    return list(tx.scalars(rows))


def _check(ctx: Context, vm: Vm, whose: Account, disks: Sequence[Volume]) -> None:
    """Raises InvalidValue for what keeps the machine with its owner."""
    tx = ctx.session
    if vm.state != "Stopped":
        raise InvalidValue(f"The machine {vm.display_name} is {vm.state}: stop it before giving it away")
    if whose.id == vm.account_id:
        raise InvalidValue(f"The machine {vm.display_name} belongs to {whose.name} already")
    busy = select(JobRow.id).where(JobRow.lock == f"vm:{vm.id}", JobRow.state.in_(OPEN))
    if tx.scalar(busy.limit(1)) is not None:
        raise InvalidValue(f"A job works on the machine {vm.display_name}: wait until it has ended")
    check_active(tx, vm)
    refuse_with_remains(tx, vm.id, "it stays with its owner")
    check_settled(disks)
    numbers = [v.id for v in disks]
    kept = select(Snapshot.name).where(Snapshot.volume_id.in_(numbers), Snapshot.removed.is_(None))
    name = tx.scalar(kept.limit(1))
    if name is not None:
        raise InvalidValue(f"The snapshot {name} of a disk is its owner's: delete it, or detach the disk")
    policies = select(SnapshotPolicy.id).where(SnapshotPolicy.volume_id.in_(numbers), SnapshotPolicy.removed.is_(None))
    if tx.scalar(policies.limit(1)) is not None:
        raise InvalidValue("A disk of the machine has a snapshot policy: delete that first (deleteSnapshotPolicies)")
    _check_offered(tx, vm, whose, disks)


def _check_offered(tx: Session, vm: Vm, whose: Account, disks: Sequence[Volume]) -> None:
    """What it is made of has to be there for the new owner too."""
    path = tx.scalars(select(Domain.path).where(Domain.id == whose.domain_id)).one()
    wanted = [(ServiceOffering, vm.service_offering_id)]
    wanted += [(DiskOffering, v.disk_offering_id) for v in disks if v.disk_offering_id is not None]
    for table, number in wanted:
        name = tx.scalar(select(table.name).where(table.id == number, ~table.for_domain(path)))
        if name is not None:
            raise InvalidValue(f"The offering {name} of the machine is not for the domain of {whose.name}")
    template = tx.get(Template, vm.template_id) if vm.template_id is not None else None
    if template is None or template.public or template.featured or template.account_id == whose.id:
        return
    shared = select(LaunchPermission.id).where(LaunchPermission.template_id == template.id)
    if tx.scalar(shared.where(LaunchPermission.account_id == whose.id)) is None:
        raise InvalidValue(f"The template {template.name} is not for {whose.name}: share it first")


def _check_networks(tx: Session, networks: Sequence[Network], zone: Zone, whose: Account) -> None:
    """Its new networks are the new owner's, or offered to its domain."""
    if len({n.id for n in networks}) < len(networks):
        raise InvalidValue("networkids names a network twice")
    for network in networks:
        mine = is_for(tx, network, whose.id, whose.domain_id)
        if network.zone_id != zone.id or network.is_system or not mine:
            raise InvalidValue(f"The network {network.name} is not one that {whose.name} has in the zone {zone.name}")


def _move(tx: Session, vm: Vm, whose: Account, disks: Sequence[Volume]) -> None:
    counted.machine_goes(tx, vm)
    counted.volumes_go(tx, disks)
    for row in (vm, *disks):
        row.account_id, row.domain_id = whose.id, whose.domain_id
    vm.group_id = vm.user_data_id = None  # which are the old owner's; what the machine reads it keeps
    tx.flush()
    counted.machine_comes(tx, vm)
    counted.volumes_come(tx, disks)
    tx.execute(delete(AffinityMember).where(AffinityMember.vm_id == vm.id))
    uuids = [vm.uuid, *(v.uuid for v in disks)]
    now_of = {"account_id": whose.id, "domain_id": whose.domain_id}
    for table, column in (
        (Tag, Tag.resource_uuid),
        (ResourceDetail, ResourceDetail.resource_uuid),
        (Annotation, Annotation.entity_uuid),
    ):
        noted = update(table).where(column.in_(uuids)).values(**now_of)
        tx.execute(noted.execution_options(synchronize_session=False))
