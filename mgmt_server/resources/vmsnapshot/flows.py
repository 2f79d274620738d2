"""How a machine is kept as it is, how it goes back to that, and how such a snapshot goes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job, gives_up
from mgmt_server.model.host import Host
from mgmt_server.model.snapshot import VM_SNAPSHOT_STATES, Snapshot, VmSnapshot
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import STATES, Vm, Volume
from mgmt_server.protocol.machine import Machine, MachineState
from mgmt_server.resources.network import flows as network_flows
from mgmt_server.resources.router import document
from mgmt_server.resources.snapshot import files
from mgmt_server.resources.snapshot.files import Point
from mgmt_server.resources.snapshot.going import forget_points
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import start as starting
from mgmt_server.resources.vm.flows import stopped
from mgmt_server.resources.vm.start import Options
from mgmt_server.resources.volume.places import host_of, place_of


@dataclass(frozen=True)
class Plan:
    """What a host has to keep, and what its disks have to forget before: they follow one kind of snapshot alone."""

    host: HostRef
    name: str  # of the machine
    point: str
    memory: bool
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Gone:
    host: HostRef
    name: str
    point: str


@dataclass(frozen=True)
class Back:
    host: HostRef
    machine: Machine
    point: str


def spoken(snapshot: VmSnapshot) -> str:
    return f"The snapshot {snapshot.display_name or snapshot.name}"


# --- keeping it -------------------------------------------------------------------------------------------------------


def never_made(tx: Session, snapshot_id: int) -> None:
    snapshot = tx.get_one(VmSnapshot, snapshot_id)
    if snapshot.state == "Allocated":
        VM_SNAPSHOT_STATES.move(tx, snapshot_id, "Allocated", "Creating")
    if snapshot.state in ("Allocated", "Creating"):
        VM_SNAPSHOT_STATES.move(tx, snapshot_id, "Creating", "Error", state_changed=now(), parent_id=None)


@gives_up(never_made)
def create(job: Job, snapshot_id: int) -> None:
    """Keep all disks of a machine, and its memory if it runs and that is wanted."""
    plan = job.write(begin, snapshot_id)
    for point in plan.points:
        if job.call(files.forget, point):
            job.write(forgotten, point.name)  # else it is told later: see `going.stale`
    job.call(dispatch.snapshot, plan.host, plan.name, plan.point, plan.memory, undo=dispatch.unsnapshot)
    job.write(created, snapshot_id)


def check(vm: Vm, memory: bool) -> None:
    """Raises InvalidValue for a machine that cannot be kept as it is."""
    spoken_of = f"The machine {vm.display_name or vm.name}"
    if vm.state not in ("Running", "Stopped"):
        raise InvalidValue(f"{spoken_of} is {vm.state}: only one that is Running or Stopped can be kept")
    if memory and vm.state != "Running":
        raise InvalidValue(f"{spoken_of} is Stopped and has no memory to keep: leave snapshotmemory out")
    if vm.state == "Stopped" and vm.last_host_id is None:
        raise InvalidValue(f"{spoken_of} has never run: there is nothing to keep yet")


def begin(tx: Session, snapshot_id: int) -> Plan:
    """Allocated -> Creating."""
    snapshot = tx.get_one(VmSnapshot, snapshot_id)
    vm = tx.get_one(Vm, snapshot.vm_id)
    memory = snapshot.kind == "DiskAndMemory"
    check(vm, memory)
    points = []
    for volume in _disks(tx, vm.id):
        if volume.state != "Ready":
            raise InvalidValue(f"The disk {volume.name} is {volume.state}: wait until it is Ready")
        rows = select(Snapshot.point).where(Snapshot.volume_id == volume.id, Snapshot.point.is_not(None))
        names = list(tx.scalars(rows))
        place = place_of(tx, volume) if names else None
        points += [Point(place.host, place.disk, place.machine, n or "") for n in names if place is not None]
    current = tx.scalar(_live(vm.id).where(VmSnapshot.current))
    VM_SNAPSHOT_STATES.move(
        tx, snapshot_id, "Allocated", "Creating",
        state_changed=now(), parent_id=current.id if current is not None else None,
        service_offering_id=vm.service_offering_id, cpus=vm.cpus, speed=vm.speed, memory=vm.memory,
    )  # fmt: skip
    return Plan(_host(tx, vm), _name(vm), snapshot.name, memory, tuple(points))


def _live(vm_id: int) -> Select[tuple[VmSnapshot]]:
    return select(VmSnapshot).where(VmSnapshot.vm_id == vm_id, VmSnapshot.removed.is_(None))


def _disks(tx: Session, vm_id: int) -> list[Volume]:
    return list(tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.removed.is_(None))))


def _name(vm: Vm) -> str:
    return vm.instance


def _host(tx: Session, vm: Vm) -> HostRef:
    """Where a machine runs, or ran last; where that host is gone, another that reaches its root disk."""
    number = vm.host_id if vm.state == "Running" else vm.last_host_id
    host = tx.get(Host, number) if number is not None else None
    if host is None or host.removed is not None or (host.state != "Up" and vm.state != "Running"):
        rows = select(Pool).join(Volume, Volume.pool_id == Pool.id)
        root = rows.where(Volume.vm_id == vm.id, Volume.kind == "ROOT", Volume.removed.is_(None))
        pool = tx.scalars(root).first()
        if pool is None:
            name = vm.display_name or vm.name
            raise InvalidValue(f"The machine {name} has no root disk on a pool now: start it, then try again")
        host = host_of(tx, pool)
    return storage.ref(host)


def forgotten(tx: Session, point: str) -> None:
    mine = update(Snapshot).where(Snapshot.point == point)
    tx.execute(mine.values(point=None).execution_options(synchronize_session=False))


def created(tx: Session, snapshot_id: int) -> None:
    """Creating -> Ready: the machine goes on from it."""
    snapshot = tx.get_one(VmSnapshot, snapshot_id)
    _go_on_from(tx, snapshot)
    VM_SNAPSHOT_STATES.move(tx, snapshot_id, "Creating", "Ready", state_changed=now())


def _go_on_from(tx: Session, snapshot: VmSnapshot) -> None:
    for other in tx.scalars(_live(snapshot.vm_id).where(VmSnapshot.current)):
        other.current = False
    snapshot.current = True
    tx.flush()


# --- giving it up -----------------------------------------------------------------------------------------------------


def delete(job: Job, snapshot_id: int) -> None:
    """Delete a machine's snapshot. Those that were made after it stay."""
    gone = job.write(begin_delete, snapshot_id, undo=kept)
    if gone is not None:
        job.call(dispatch.delete_snapshot, gone.host, gone.name, gone.point)
        job.write(deleted, snapshot_id)


def begin_delete(tx: Session, snapshot_id: int) -> Gone | None:
    """Ready -> Expunging; None when it is gone already."""
    snapshot = tx.get_one(VmSnapshot, snapshot_id)
    if snapshot.removed is not None:
        return None
    vm = tx.get_one(Vm, snapshot.vm_id)
    if vm.state not in ("Running", "Stopped", "Destroyed"):
        raise InvalidValue(f"The machine {vm.display_name or vm.name} is {vm.state}: wait until that is done")
    if snapshot.state != "Expunging":
        details = {**snapshot.details, "was": snapshot.state}
        VM_SNAPSHOT_STATES.move(tx, snapshot_id, ("Ready", "Error"), "Expunging", state_changed=now(), details=details)
    return Gone(_host(tx, vm), _name(vm), snapshot.name)


def kept(tx: Session, snapshot_id: int) -> None:
    """Undo of `begin_delete`."""
    snapshot = tx.get_one(VmSnapshot, snapshot_id)
    if snapshot.state == "Expunging":
        before = "Error" if snapshot.details.get("was") == "Error" else "Ready"
        VM_SNAPSHOT_STATES.move(tx, snapshot_id, "Expunging", before, state_changed=now())


def deleted(tx: Session, snapshot_id: int) -> None:
    """Expunging -> Removed: what was made after it stands on what it stood on."""
    snapshot = tx.get_one(VmSnapshot, snapshot_id)
    for child in tx.scalars(_live(snapshot.vm_id).where(VmSnapshot.parent_id == snapshot_id)):
        child.parent_id = snapshot.parent_id
    parent = tx.get(VmSnapshot, snapshot.parent_id) if snapshot.parent_id is not None else None
    if snapshot.current and parent is not None and parent.removed is None:
        parent.current = True
    tx.flush()
    VM_SNAPSHOT_STATES.move(tx, snapshot_id, "Expunging", "Removed", state_changed=now(), removed=now(), current=False)


# --- going back to it -------------------------------------------------------------------------------------------------


def check_revert(vm: Vm, snapshot: VmSnapshot) -> None:
    """Raises InvalidValue where the machine cannot go back."""
    whole = snapshot.kind == "DiskAndMemory"
    spoken_of = f"The machine {vm.display_name or vm.name}"
    if snapshot.state not in ("Ready", "Reverting"):
        raise InvalidValue(f"{spoken(snapshot)} is {snapshot.state}: only one that is Ready can be gone back to")
    if vm.state not in ("Running", "Stopped"):
        raise InvalidValue(f"{spoken_of} is {vm.state}: it goes back to a snapshot while it is Running or Stopped")
    if vm.state == "Running" and not whole:
        raise InvalidValue(f"{spoken(snapshot)} holds no memory: stop the machine before it goes back to it")
    if whole and (vm.cpus, vm.memory) != (snapshot.cpus, snapshot.memory):
        raise InvalidValue(
            f"{spoken(snapshot)} holds memory of {snapshot.cpus} CPUs and {snapshot.memory} MiB, and the machine has "
            f"{vm.cpus} and {vm.memory} now: give it back its earlier offering first"
        )


def revert(job: Job, vm_id: int, snapshot_id: int, networks: list[int]) -> None:
    """Make a machine what it was. One with memory runs afterwards, one without is stopped."""
    back = job.write(begin_revert, snapshot_id, undo=not_reverted)
    if back is not None:
        state = job.call(dispatch.revert, back.host, back.machine, back.point)
        job.write(reverted, snapshot_id, state)
        return
    for network in networks:
        job.wait(network_flows.implement, network, lock=f"network:{network}", shared=True)
    plan = job.write(starting.begin, vm_id, Options(), undo=starting.abandon)
    for network in plan.tell:
        job.call(document.tell, network)
    state = job.call(dispatch.revert, plan.host, plan.machine, job.write(point_of, snapshot_id), undo=halt)
    job.write(starting.started, vm_id)
    job.write(reverted, snapshot_id, state)


def point_of(tx: Session, snapshot_id: int) -> str:
    return tx.get_one(VmSnapshot, snapshot_id).name


def begin_revert(tx: Session, snapshot_id: int) -> Back | None:
    """Ready -> Reverting; None when a host has to be found for the machine first."""
    snapshot = tx.get_one(VmSnapshot, snapshot_id)
    if snapshot.removed is not None:
        raise InvalidValue(f"{spoken(snapshot)} was deleted meanwhile")
    vm = tx.get_one(Vm, snapshot.vm_id)
    check_revert(vm, snapshot)
    for volume in _disks(tx, vm.id):
        if volume.state != "Ready":
            raise InvalidValue(f"The disk {volume.name} is {volume.state}: wait until it is Ready")
    VM_SNAPSHOT_STATES.move(tx, snapshot_id, "Ready", "Reverting", state_changed=now())
    if vm.state == "Stopped" and snapshot.kind == "DiskAndMemory":
        return None
    host = _host(tx, vm)
    places = {v.id: tx.get_one(Pool, v.pool_id) for v in _disks(tx, vm.id)}
    machine, _ = starting.described(tx, vm.id, places, host.hypervisor)  # the drive has what the snapshot says
    return Back(host, machine, snapshot.name)


def halt(call: UUID, host: HostRef, machine: Machine, point: str) -> None:
    """Undo of a revert that was to make the machine run. What the host knows of its snapshots stays."""
    dispatch.stop(call, host, machine.name, True)


def not_reverted(tx: Session, snapshot_id: int) -> None:
    if tx.get_one(VmSnapshot, snapshot_id).state == "Reverting":
        VM_SNAPSHOT_STATES.move(tx, snapshot_id, "Reverting", "Ready", state_changed=now())


def reverted(tx: Session, snapshot_id: int, state: MachineState) -> None:
    """Reverting -> Ready: the machine goes on from it. What its disks followed still, their host dropped on the way."""
    snapshot = tx.get_one(VmSnapshot, snapshot_id)
    _go_on_from(tx, snapshot)
    VM_SNAPSHOT_STATES.move(tx, snapshot_id, "Reverting", "Ready", state_changed=now())
    forget_points(tx, [volume.id for volume in _disks(tx, snapshot.vm_id)])
    vm = tx.get_one(Vm, snapshot.vm_id)
    tx.refresh(vm)
    if vm.state == "Running" and state.state == "Stopped":
        STATES.move(tx, vm.id, "Running", "Stopping", state_changed=now())
        stopped(tx, vm.id)
