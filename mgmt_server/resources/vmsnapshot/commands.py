"""Snapshots of machines: what may be asked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from mgmt_server.allocation.hypervisors import limits_of
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.api.projects import check_active
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.settings import Setting
from mgmt_server.model.snapshot import VmSnapshot
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.resources.checks import alone, one_of
from mgmt_server.resources.offering.rules import absent
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.networks import to_implement
from mgmt_server.resources.vm.views import vm_view
from mgmt_server.resources.vmsnapshot import flows
from mgmt_server.resources.vmsnapshot.rows import of_machine
from mgmt_server.resources.vmsnapshot.views import vm_snapshot_view

MOST = Setting("vmsnapshot.max", "How many snapshots a machine has at most", least=0)
DISKS_ALONE = Setting(
    "kvm.vmstoragesnapshot.enabled", "Whether snapshots of running machines of KVM hosts may leave their memory out"
)
SHOWN = ("Allocated", "Creating", "Ready", "Reverting", "Expunging", "Error")
Text = Annotated[str, Length(1000)]


@command(
    "createVMSnapshot",
    roles=EVERYONE,
    answers=vm_snapshot_view,
    key="vmsnapshot",
    event="VMSNAPSHOT.CREATE",
)
def create(
    ctx: Context,
    virtualmachineid: Operate[Vm],
    name: str | None = None,
    description: Text | None = None,
    snapshotmemory: bool = False,
    quiescevm: bool = False,
) -> Accepted:
    """Keep a machine as it is now: all its disks together, and its memory.

    virtualmachineid: the machine
    name: what to call the snapshot
    description: a remark on it
    snapshotmemory: whether to keep the memory of a running machine too
    quiescevm: not supported; false is accepted
    """
    vm = virtualmachineid
    only_users(vm)
    absent(quiescevm=quiescevm)
    check_active(ctx.session, vm)
    alone(ctx, vm)
    if not limits_of(vm.hypervisor).vm_snapshots:
        raise InvalidValue(
            f"Machines on {vm.hypervisor} have none here (vmsnapshotenabled of its capabilities): keep snapshots "
            "of their disks with createSnapshot"
        )
    flows.check(vm, snapshotmemory)
    if vm.hypervisor == "KVM" and vm.state == "Running" and not snapshotmemory and not DISKS_ALONE.flag():
        raise InvalidValue(
            f"The machine {vm.display_name or vm.name} runs, and its memory has to be kept too: send "
            f"snapshotmemory=true, or stop it first (setting {DISKS_ALONE.name})"
        )
    there = of_machine(ctx.session, vm.id)
    if len(there) >= MOST.number():
        raise InvalidValue(
            f"The machine {vm.display_name or vm.name} has {len(there)} snapshots: at most {MOST.number()} are kept "
            f"(setting {MOST.name}). Delete one first"
        )
    if name and any(s.display_name == name for s in there):
        raise InvalidValue(f"The machine has a snapshot with the name {name} already: choose another name")
    inside = _name(ctx.session, vm, now())
    snapshot = VmSnapshot(
        account_id=vm.account_id,
        domain_id=vm.domain_id,
        name=inside,
        display_name=name or inside,
        description=description,
        kind="DiskAndMemory" if snapshotmemory else "Disk",
        vm_id=vm.id,
        zone_id=vm.zone_id,
        hypervisor=vm.hypervisor,
        state_changed=now(),
        details={},
    )
    ctx.session.add(snapshot)
    ctx.describe(f"creating snapshot {snapshot.display_name} of machine {vm.display_name or vm.name}")
    return ctx.start(flows.create, snapshot, lock=f"vm:{vm.id}")


def _name(session: Session, vm: Vm, moment: datetime) -> str:
    """What its host calls it. The name tells the second; two in one second get different ones."""
    while True:
        name = f"{vm.instance}_VS_{moment:%Y%m%d%H%M%S}"
        if session.scalar(select(VmSnapshot.id).where(VmSnapshot.vm_id == vm.id, VmSnapshot.name == name)) is None:
            return name
        moment += timedelta(seconds=1)


@command("listVMSnapshot", roles=EVERYONE, answers=vm_snapshot_view)
def list_vm_snapshots(
    ctx: Context,
    vmsnapshotid: Use[VmSnapshot] | None = None,
    vmsnapshotids: list[Use[VmSnapshot]] | None = None,
    virtualmachineid: Use[Vm] | None = None,
    name: str | None = None,
    state: str | None = None,
) -> Rows:
    """List snapshots of machines.

    vmsnapshotid: this snapshot alone
    vmsnapshotids: these snapshots alone
    virtualmachineid: those of this machine
    name: those of this name
    state: those in this state
    """
    rows = Rows(vm_snapshot_view).where(
        id=vmsnapshotid and vmsnapshotid.id, vm_id=virtualmachineid, state=one_of("state", state, SHOWN)
    )
    if vmsnapshotids:
        rows = rows.where(VmSnapshot.id.in_([s.id for s in vmsnapshotids]))
    return rows.where(or_(VmSnapshot.name == name, VmSnapshot.display_name == name)) if name else rows


@command("deleteVMSnapshot", roles=EVERYONE, event="VMSNAPSHOT.DELETE")
def delete(ctx: Context, vmsnapshotid: Operate[VmSnapshot]) -> Accepted:
    """Delete a machine's snapshot. The machine, and snapshots that were made later, stay as they are.

    vmsnapshotid: the snapshot
    """
    if vmsnapshotid.state not in ("Ready", "Error", "Expunging"):
        raise InvalidValue(f"{flows.spoken(vmsnapshotid)} is {vmsnapshotid.state}: wait until that is done")
    ctx.describe(f"deleting snapshot {vmsnapshotid.display_name or vmsnapshotid.name}")
    return ctx.start(flows.delete, vmsnapshotid, lock=f"vm:{vmsnapshotid.vm_id}")


@command("revertToVMSnapshot", roles=EVERYONE, answers=vm_view, event="VMSNAPSHOT.REVERTTO")
def revert(ctx: Context, vmsnapshotid: Operate[VmSnapshot]) -> Accepted:
    """Make a machine what it was when a snapshot was taken. With memory it runs afterwards, without it is stopped.

    vmsnapshotid: the snapshot
    """
    vm = ctx.session.get_one(Vm, vmsnapshotid.vm_id)
    check_active(ctx.session, vm)
    flows.check_revert(vm, vmsnapshotid)
    networks = ctx.session.scalars(
        select(Network).join(Nic, Nic.network_id == Network.id).where(Nic.vm_id == vm.id, Nic.removed.is_(None))
    )
    needed = to_implement(ctx.session, list(networks)) if vm.state == "Stopped" else []
    ctx.describe(f"going back to snapshot {vmsnapshotid.display_name} with machine {vm.display_name or vm.name}")
    return ctx.start(flows.revert, vm, vmsnapshotid.id, needed, lock=f"vm:{vm.id}")
