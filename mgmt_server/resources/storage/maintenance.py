"""Closing a pool: disks of running machines move to pools that fit while the machines run; machines whose disks cannot
move are stopped, and start again when the pool is opened."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import pools
from mgmt_server.errors import Failed, InUse
from mgmt_server.jobs import Job
from mgmt_server.jobs.flow import Child
from mgmt_server.model.host import Host
from mgmt_server.model.storage import STATES, Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.ha import guests
from mgmt_server.resources.storage import flows, rows
from mgmt_server.resources.vm import flows as vm_flows
from mgmt_server.resources.vmsnapshot.rows import of_machine
from mgmt_server.resources.volume import moving, sites

AT_ONCE = 5  # disks that move, or machines that are stopped


@dataclass(frozen=True)
class Trip:
    volume: int
    vm: int
    pool: int
    uuid: str


@dataclass(frozen=True)
class Machine:
    vm: int
    uuid: str


def into_maintenance(job: Job, pool_id: int) -> None:
    """Up to Maintenance; ErrorInMaintenance while a machine still runs with a disk on it."""
    job.write(closing, pool_id)
    trips = job.write(ways_out, pool_id)
    for start in range(0, len(trips), AT_ONCE):
        some = trips[start : start + AT_ONCE]
        job.wait_all([_moving(t) for t in some])  # who could not move is stopped
    machines = job.write(left, pool_id)
    for start in range(0, len(machines), AT_ONCE):
        some_left = machines[start : start + AT_ONCE]
        job.wait_all([Child(halt, (m.vm, pool_id), f"vm:{m.vm}", ("VirtualMachine", m.uuid)) for m in some_left])
    error = job.write(closed, pool_id)
    if error:
        raise InUse(error)


def _moving(trip: Trip) -> Child:
    return Child(moving.migrate, (trip.volume, trip.vm, trip.pool, None), f"vm:{trip.vm}", ("Volume", trip.uuid))


def closing(tx: Session, pool_id: int) -> None:
    """No more disks come to it."""
    pool = tx.get_one(Pool, pool_id)
    if pool.state not in ("Up", "ErrorInMaintenance"):
        way = ", enable it with updateStoragePool first" if pool.state == "Disabled" else ""
        raise Failed(f"pool {pool.name} is {pool.state}: only one that is Up goes into maintenance{way}")
    STATES.move(tx, pool_id, (pool.state,), "PrepareForMaintenance", stopped=list(pool.stopped or []))


def ways_out(tx: Session, pool_id: int) -> list[Trip]:
    """A pool for each disk of the machines that run with disks here, where all of a machine's find one."""
    found: list[Trip] = []
    for vm in _running(tx, pool_id):
        host = tx.get(Host, vm.host_id) if vm.host_id is not None else None
        if host is not None and not of_machine(tx, vm.id):
            found += _ways_of(tx, vm, host, pool_id) or []
    return found


def _ways_of(tx: Session, vm: Vm, host: Host, pool_id: int) -> list[Trip] | None:
    usable = [p for p in pools.usable(tx, vm.zone_id, vm.account_id) if p.id != pool_id and pools.reachable(p, host)]
    trips = []
    for volume in tx.scalars(select(Volume).where(Volume.vm_id == vm.id, Volume.pool_id == pool_id)):
        space = sites.space_of(volume, sites.offering_of(tx, volume))
        fitting = next((p for p in usable if not pools.why_not(p, space)), None)
        if fitting is None or volume.state != "Ready":
            return None
        trips.append(Trip(volume.id, vm.id, fitting.id, volume.uuid))
    return trips


def _running(tx: Session, pool_id: int) -> list[Vm]:
    mine = select(Volume.vm_id).where(Volume.pool_id == pool_id, Volume.removed.is_(None), Volume.vm_id.is_not(None))
    there = select(Vm).where(Vm.id.in_(mine), Vm.removed.is_(None), Vm.state.in_(guests.LIVELY))
    return list(tx.scalars(there.order_by(Vm.kind != "User", Vm.id)))  # system VMs last: others need them


def left(tx: Session, pool_id: int) -> list[Machine]:
    return [Machine(vm.id, vm.uuid) for vm in _running(tx, pool_id)]


def halt(job: Job, vm_id: int, pool_id: int) -> None:
    """Stop a machine that has a disk there, and note that it ran. Runs under the machine's lock."""
    if job.write(has_disk, vm_id, pool_id):
        vm_flows.stop(job, vm_id, False)
        job.write(stopped, vm_id, pool_id)


def has_disk(tx: Session, vm_id: int, pool_id: int) -> bool:
    vm = tx.get_one(Vm, vm_id)
    here = select(Volume.id).where(Volume.vm_id == vm_id, Volume.pool_id == pool_id, Volume.removed.is_(None))
    return vm.removed is None and vm.state == "Running" and tx.scalar(here.limit(1)) is not None


def stopped(tx: Session, vm_id: int, pool_id: int) -> None:
    pool = tx.get_one(Pool, pool_id, with_for_update=True)
    pool.stopped = sorted({*(pool.stopped or []), vm_id})


def closed(tx: Session, pool_id: int) -> str:
    """Into Maintenance; or which machines still run there, and ErrorInMaintenance."""
    pool = tx.get_one(Pool, pool_id)
    busy = rows.running_on(tx, pool_id)
    STATES.move(tx, pool_id, ("PrepareForMaintenance",), "ErrorInMaintenance" if busy else "Maintenance")
    if not busy:
        return ""
    return (
        f"machines run with disks on pool {pool.name}, and could be neither moved nor stopped ({', '.join(busy)}): "
        "stop them, then call enableStorageMaintenance again"
    )


def out_of_maintenance(job: Job, pool_id: int) -> None:
    """Maintenance to Up, and ready on its hosts again; what its maintenance stopped starts."""
    job.write(opened, pool_id)
    flows.connect(job, pool_id)
    job.write(start_again, pool_id)


def opened(tx: Session, pool_id: int) -> None:
    pool = tx.get_one(Pool, pool_id)
    if pool.state not in ("Maintenance", "ErrorInMaintenance"):
        raise Failed(f"pool {pool.name} is {pool.state}, not in maintenance")
    STATES.move(tx, pool_id, (pool.state,), "Up")


def start_again(tx: Session, pool_id: int) -> None:
    """Each by a job of its own; what somebody has started, or destroyed, is left alone."""
    pool = tx.get_one(Pool, pool_id, with_for_update=True)
    waiting = select(Vm).where(Vm.id.in_(pool.stopped or []), Vm.state == "Stopped", Vm.removed.is_(None))
    for vm in tx.scalars(waiting.order_by(Vm.kind == "User", Vm.id)):
        if vm.last_host_id is not None:
            guests.queue(tx, vm, vm.last_host_id, 0)
    pool.stopped = []
