"""Moving the disks of a machine that does not run: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import pools
from mgmt_server.db import now, reading
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue, NoCapacity, Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.protocol.machine import Disk, Move
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import target as targets
from mgmt_server.resources.vm.migrate import drop
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vm.target import Lying
from mgmt_server.resources.vmsnapshot.rows import refuse_with_snapshots
from mgmt_server.resources.volume.places import disk_in


@dataclass(frozen=True)
class Copy:
    """A disk that goes from pool to pool, and the host that copies it."""

    host: HostRef
    move: Move


def move_disks(job: Job, vm_id: int, wanted: dict[int, int]) -> None:
    """Move disks of a stopped machine: `wanted` says for each, by its number, the pool."""
    copies = job.write(begin, vm_id, wanted, undo=stay)
    for copy in copies:
        job.call(disks.copy_disk, copy.host, copy.move.source, copy.move.target, undo=uncopied)
    job.write(arrived, vm_id)
    for copy in copies:
        job.call(drop, copy.host, copy.move.source)


def begin(tx: Session, vm_id: int, wanted: dict[int, int]) -> list[Copy]:
    """Hold space for each disk. Raises NoCapacity, InvalidValue for a pool that cannot take one."""
    vm = tx.get_one(Vm, vm_id)
    if vm.state != "Stopped":
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: stop it, or move it to another host with its disks")
    refuse_with_snapshots(tx, vm_id, targets.GUARDED)
    found = []
    for disk in targets.lying(tx, vm_id):
        pool = tx.get(Pool, wanted[disk.volume.id]) if disk.volume.id in wanted else None
        if pool is None or pool.id == disk.pool.id:
            continue
        _take(tx, disk, pool)
        host = _copier(tx, disk.pool, pool)
        move = Move(disk_in(disk.pool, disk.volume), disk_in(pool, disk.volume))
        found.append(Copy(storage.ref(host), move))
    return found


def _take(tx: Session, disk: Lying, pool: Pool) -> None:
    volume = disk.volume
    why = pools.why_not(pool, replace(disk.space, local=pool.is_local))
    if why or not pools.take(tx, pool.id, volume.size):
        raise NoCapacity(f"The disk {volume.name} cannot go to the pool {pool.name}, which {why or 'is full now'}")
    VOLUME_STATES.move(tx, volume.id, "Ready", "Migrating", target_pool_id=pool.id, state_changed=now())


def _copier(tx: Session, source: Pool, target: Pool) -> Host:
    """A host that is up and reaches both pools."""
    rows = select(Host).where(Host.removed.is_(None), Host.state == "Up").order_by(Host.id).limit(1)
    for pool in (source, target):
        if pool.host_id is not None:
            rows = rows.where(Host.id == pool.host_id)
        else:
            rows = rows.where(Host.id.in_(select(PoolHost.host_id).where(PoolHost.pool_id == pool.id)))
    found = tx.scalar(rows)
    if found is None:
        raise Unavailable(
            f"No host that is up reaches both {source.name} and {target.name}: move the disk over a pool that both "
            "sides reach, or move the machine while it runs"
        )
    return found


def stay(tx: Session, vm_id: int, wanted: dict[int, int]) -> None:
    """Undo of `begin`."""
    for volume in _moving(tx, vm_id):
        targets.disk_stays(tx, volume)


def arrived(tx: Session, vm_id: int) -> None:
    for volume in _moving(tx, vm_id):
        targets.disk_moved(tx, volume)


def _moving(tx: Session, vm_id: int) -> Iterable[Volume]:
    return tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.target_pool_id.is_not(None))).all()


def uncopied(call: UUID, host: HostRef, source: Disk, target: Disk) -> None:
    """Undo of a copy: what was copied goes, unless the disk has moved there for good."""
    with reading() as session:
        there = select(Volume.id).join(Pool, Pool.id == Volume.pool_id)
        if session.scalar(there.where(Pool.uuid == target.pool.uuid, Volume.path == target.name)) is not None:
            return
    disks.delete_disk(call, host, target)
