"""Moving the disks of a machine that does not run: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import pools
from mgmt_server.errors import InvalidValue, NoCapacity
from mgmt_server.jobs import Job
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.vm import target as targets
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vm.target import Lying
from mgmt_server.resources.vmsnapshot.rows import refuse_with_snapshots
from mgmt_server.resources.volume.carrying import Copy, between, carry, leave


def move_disks(job: Job, vm_id: int, wanted: dict[int, int]) -> None:
    """Move disks of a stopped machine: `wanted` says for each, by its number, the pool."""
    settle(job, vm_id, bring(job, vm_id, wanted))


def bring(job: Job, vm_id: int, wanted: dict[int, int]) -> list[Copy]:
    """Have the disks in their new pools too."""
    copies = job.write(begin, vm_id, wanted, undo=stay)
    for copy in copies:
        carry(job, copy)
    return copies


def settle(job: Job, vm_id: int, copies: list[Copy]) -> None:
    """They are there from now on, and nowhere else."""
    job.write(arrived, vm_id)
    for copy in copies:
        leave(job, copy)


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
        found.append(between(tx, disk.volume, disk.pool, pool))
    return found


def _take(tx: Session, disk: Lying, pool: Pool) -> None:
    volume = disk.volume
    why = pools.why_not(pool, replace(disk.space, local=pool.is_local))
    if why or not pools.take(tx, pool.id, volume.size):
        raise NoCapacity(f"The disk {volume.name} cannot go to the pool {pool.name}, which {why or 'is full now'}")
    targets.disk_leaves(tx, volume, pool)


def stay(tx: Session, vm_id: int, wanted: dict[int, int]) -> None:
    """Undo of `begin`."""
    for volume in _moving(tx, vm_id):
        targets.disk_stays(tx, volume)


def arrived(tx: Session, vm_id: int) -> None:
    for volume in _moving(tx, vm_id):
        targets.disk_moved(tx, volume)


def _moving(tx: Session, vm_id: int) -> Iterable[Volume]:
    return tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.target_pool_id.is_not(None))).all()
