"""Moving a machine while it runs: users' machines, routers and system VMs alike."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now, write
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import Failed, InvalidValue, Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import STATES, Vm, Volume
from mgmt_server.protocol.machine import Disk, Machine, Move
from mgmt_server.resources.router import document
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template import pooled
from mgmt_server.resources.template.pooled import Fetch
from mgmt_server.resources.vm import elsewhere
from mgmt_server.resources.vm import start as starting
from mgmt_server.resources.vm import target as targets
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vm.target import Wish
from mgmt_server.resources.vm.telling import routed
from mgmt_server.resources.volume import leftovers, settling
from mgmt_server.resources.volume.locks import check_settled, disks_of
from mgmt_server.resources.volume.places import disk_in

__all__ = ["Wish", "migrate"]


@dataclass(frozen=True)
class Trip:
    """All that a migration does, decided in one transaction."""

    source: HostRef
    target: HostRef
    machine: Machine
    moves: tuple[Move, ...]
    disc: Fetch | None = None  # in its drive, to be fetched by the target first


@dataclass(frozen=True)
class Outcome:
    """How a move went. `error`: it did not, and the machine runs where it was, unless that is `doubtful`."""

    error: str = ""
    doubtful: bool = False


def migrate(job: Job, vm_id: int, wish: Wish) -> None:
    """Move a running machine to another host. It runs where it was when this fails.

    Start it under the machine's lock, `vm:ID`. Raises NoCapacity when nothing has room, with the reasons of each host.
    """
    trip = job.write(begin, vm_id, wish, undo=stay)
    machine = pooled.with_disc(job, trip.target, trip.machine, trip.disc)
    outcome = job.call(go, trip.source, trip.target, machine, trip.moves, undo=tidy)
    if outcome.doubtful:
        job.write(doubt, vm_id)
        raise Unavailable(
            f"{outcome.error}. Nobody can tell where {trip.machine.name} runs now: it stays Migrating until a host "
            "says that it has it"
        )
    if outcome.error:
        raise Failed(outcome.error)
    for network in job.write(arrived, vm_id) or ():
        job.call(document.tell, network)
    for move in trip.moves:
        job.call(drop, trip.source, move.source)


def begin(tx: Session, vm_id: int, wish: Wish) -> Trip:
    """Running -> Migrating: hold a place at the target."""
    vm = tx.get_one(Vm, vm_id)
    if vm.state != "Running" or vm.host_id is None:
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: only a running machine moves to another host")
    if wish.host_id == vm.host_id:
        raise InvalidValue(f"{spoken(vm)} runs on that host already: choose another")
    check_settled(disks_of(tx, vm_id))
    source = storage.ref(tx.get_one(Host, vm.host_id))
    found = targets.take(tx, vm, wish)
    lying = {d.volume.id: d for d in targets.lying(tx, vm_id)}
    machine, disc = starting.described(
        tx, vm_id, {n: found.moves.get(n, d.pool) for n, d in lying.items()}, found.host.hypervisor
    )
    moves = [Move(disk_in(lying[n].pool, lying[n].volume), disk_in(p, lying[n].volume)) for n, p in found.moves.items()]
    return Trip(source, storage.ref(found.host), machine, tuple(moves), disc)


def go(call: UUID, source: HostRef, target: HostRef, machine: Machine, moves: tuple[Move, ...]) -> Outcome:
    """Move it. An answer that got lost is no failure: the hosts are asked which of them runs it.

    A host says Running only of a machine that has been handed over to it: the other one has let go then.
    """
    try:
        dispatch.migrate(call, source, target, machine, moves)
    except (Failed, Unavailable) as error:
        there = _runs_on(target, machine.name)
        if not there and moves and isinstance(error, Unavailable):  # it may be on its way still
            return _after(error, source, target, machine, moves)
        if not there:
            return Outcome(str(error), doubtful=there is None and not _runs_on(source, machine.name))
    return Outcome()


def _after(error: Unavailable, source: HostRef, target: HostRef, machine: Machine, moves: tuple[Move, ...]) -> Outcome:
    """What came of it, as its hosts tell once the move has ended: copies of its disks are not to be touched before."""
    gone = settling.went(source, target, machine.name, moves[0])
    if gone and _runs_on(target, machine.name):
        return Outcome()
    return Outcome(str(error), doubtful=gone is not False)


def _runs_on(host: HostRef, name: str) -> bool | None:
    """None where the host does not answer."""
    try:
        return elsewhere.state_on(host, name) == "Running"
    except (Failed, Unavailable):
        return None


def tidy(call: UUID, source: HostRef, target: HostRef, machine: Machine, moves: tuple[Move, ...]) -> None:
    """Undo of `go`, which failed: remove copies of disks, once it is sure that the machine stays without them."""
    if not moves:
        return
    if settling.went(source, target, machine.name, moves[0]) is not False:
        write(doubt_of, machine.uuid)
        raise Failed(f"{machine.name} may run on {target.name}: its disks stay there")
    for move in moves:
        leftovers.remove(uuid5(call, move.target.name), target, move.target)


def doubt_of(tx: Session, machine: str) -> None:
    vm = tx.scalar(select(Vm).where(Vm.uuid == machine, Vm.removed.is_(None), Vm.state == "Migrating"))
    if vm is not None:
        doubt(tx, vm.id)


def doubt(tx: Session, vm_id: int) -> None:
    """Mark that it may run at its target: what is held there is not given back before a host has told."""
    vm = tx.get_one(Vm, vm_id)
    vm.last_host_id = vm.target_host_id


def stay(tx: Session, vm_id: int, wish: Wish) -> None:
    """Undo of `begin`. A machine in doubt is left to whoever looks after those at which nobody works."""
    vm = tx.get_one(Vm, vm_id)
    if targets.doubted(vm):
        return
    targets.let_go(tx, vm_id)
    if vm.state == "Migrating":
        STATES.move(tx, vm_id, "Migrating", "Running", state_changed=now())


def arrived(tx: Session, vm_id: int) -> list[int]:
    """Migrating -> Running on the target; the source is free. The networks whose routers tell where machines run."""
    vm = tx.get_one(Vm, vm_id)
    source, host = vm.host_id, tx.get_one(Host, vm.target_host_id)
    STATES.move(
        tx, vm_id, "Migrating", "Running",
        host_id=host.id, target_host_id=None, last_host_id=source, pod_id=host.pod_id, state_changed=now(),
    )  # fmt: skip
    if source is not None:
        targets.untake(tx, source, vm)
    for volume in tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.target_pool_id.is_not(None))):
        targets.disk_moved(tx, volume)
    tx.flush()
    return routed(tx, vm_id) if document.tells_host(tx, vm) else []


def arrived_after_all(tx: Session, vm_id: int) -> None:
    """`arrived`, when the move's job has ended in doubt: nobody else deletes what the disks left behind."""
    behind = moving(tx, vm_id)
    arrived(tx, vm_id)
    for move in behind:
        leftovers.queue(tx, move.source.pool.uuid, move.source.name)


def moving(tx: Session, vm_id: int) -> list[Move]:
    """The disks that are to go with a machine which is on its way."""
    rows = select(Volume).where(Volume.vm_id == vm_id, Volume.target_pool_id.is_not(None), Volume.pool_id.is_not(None))
    return [
        Move(disk_in(tx.get_one(Pool, v.pool_id), v), disk_in(tx.get_one(Pool, v.target_pool_id), v))
        for v in tx.scalars(rows.order_by(Volume.id))
    ]


def drop(call: UUID, host: HostRef, disk: Disk) -> None:
    """Delete what a disk left behind. The machine has moved: a file that stays for now fails nothing."""
    leftovers.remove(call, host, disk)
