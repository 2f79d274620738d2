"""How a disk gets from pool to pool, alone: with its machine running, stopped, or without one."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, hypervisors, pools
from mgmt_server.db import write
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Failed, InvalidValue, NoCapacity, Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.protocol.machine import Disk
from mgmt_server.resources.vm.target import GUARDED, disk_leaves, disk_moved, disk_stays
from mgmt_server.resources.vmsnapshot.rows import refuse_with_snapshots
from mgmt_server.resources.volume import sites
from mgmt_server.resources.volume.carrying import Copy, between, carry, leave, uncopied
from mgmt_server.resources.volume.locks import check_state, same_place
from mgmt_server.resources.volume.places import disk_in, place_of
from mgmt_server.resources.volume.qos import limited
from mgmt_server.resources.volume.settling import lies_there

__all__ = ["Copy", "carry", "hold", "leave", "migrate", "moved", "release"]


def hold(tx: Session, volume: Volume, target: Pool) -> Copy:
    """Ready -> Migrating, of a disk that no machine runs with. The target's space has been taken."""
    pools.check_moves()
    source = tx.get_one(Pool, volume.pool_id)
    copy = between(tx, volume, source, target)
    disk_leaves(tx, volume, target)
    tx.refresh(volume)
    return copy


def moved(tx: Session, volume: Volume) -> None:
    disk_moved(tx, volume)


def release(tx: Session, volume: Volume) -> None:
    disk_stays(tx, volume)


def migrate(job: Job, volume_id: int, vm_id: int | None, pool_id: int, offering_id: int | None) -> None:
    """Move a disk to another pool. It lies where it was when this fails."""
    copy = job.write(begin, volume_id, vm_id, pool_id, offering_id, undo=stay)
    if copy.machine:
        job.call(go, copy.host, copy.source, copy.target, copy.machine, undo=unmoved)
    else:
        carry(job, copy)
    job.write(arrived, volume_id, offering_id)
    leave(job, copy)


def go(call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> None:
    """Move it. An answer that got lost is no failure: the host is asked which of the two the machine runs with."""
    try:
        disks.move_disk(call, host, source, target, machine)
    except (Failed, Unavailable) as error:
        there = lies_there(host, source, target, machine)
        if there is None:
            raise Unavailable(
                f"{error}. Nobody can tell where the disk {source.name} of {machine} lies now: it stays Migrating "
                f"until {host.name} tells"
            ) from None
        if not there:
            raise


def unmoved(call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> None:
    """Undo of `go`: what was copied goes, once it is sure that the machine does not run with it."""
    if lies_there(host, source, target, machine) is False:
        uncopied(call, host, source, target)
    else:
        write(doubt, target.pool.uuid, target.name)


def doubt(tx: Session, pool: str, name: str) -> None:
    """Mark that a disk may lie at its target: both files stay, and what is held there, until its host has told."""
    target = select(Pool.id).where(Pool.uuid == pool).scalar_subquery()
    rows = select(Volume).where(Volume.path == name, Volume.target_pool_id == target, Volume.state == "Migrating")
    for volume in tx.scalars(rows.with_for_update()):
        volume.last_pool_id = volume.target_pool_id


def doubted(volume: Volume) -> bool:
    return volume.target_pool_id is not None and volume.last_pool_id == volume.target_pool_id


def begin(tx: Session, volume_id: int, vm_id: int | None, pool_id: int, offering_id: int | None) -> Copy:
    """Hold the space at the target. Raises NoCapacity, InvalidValue for a pool that cannot take the disk."""
    pools.check_moves()
    volume, pool = tx.get_one(Volume, volume_id, with_for_update=True), tx.get_one(Pool, pool_id)
    same_place(volume, vm_id)
    check_state(volume, ("Ready",), "it cannot be moved")
    sites.check_pool(pool, volume)
    if pool.id == volume.pool_id:
        raise InvalidValue(f"The disk {volume.name} is in the pool {pool.name} already: choose another")
    offering = tx.get(DiskOffering, offering_id) if offering_id is not None else sites.offering_of(tx, volume)
    place = place_of(tx, volume)
    if place.machine:
        vm = tx.get_one(Vm, vm_id)
        if vm.state != "Running":
            raise InvalidValue(f"{vm.display_name or vm.name} is {vm.state}: wait until it runs, or is stopped")
        host = tx.get_one(Host, vm.host_id)
        stays = hypervisors.moves_disks(host.hypervisor)
        if stays:
            raise InvalidValue(f"{stays}: stop {vm.display_name or vm.name} first")
        if not pools.reachable(pool, host):
            raise InvalidValue(f"The host {host.name} of the disk's machine does not reach {pool.name}: choose another")
    if vm_id is not None:
        refuse_with_snapshots(tx, vm_id, GUARDED)
    why = pools.why_not(pool, replace(sites.space_of(volume, offering), local=pool.is_local))
    if why or not pools.take(tx, pool.id, volume.size):
        told = f"The disk {volume.name} cannot go to the pool {pool.name}, which {why or 'is full now'}"
        raise NoCapacity(f"No storage can take the disk {volume.name} now", inventory=told)
    if not place.machine:
        return hold(tx, volume, pool)
    disk_leaves(tx, volume, pool)
    tx.refresh(volume)
    return Copy(place.host, place.disk, limited(disk_in(pool, volume), volume, offering), place.machine)


def stay(tx: Session, volume_id: int, vm_id: int | None, pool_id: int, offering_id: int | None) -> None:
    """Undo of `begin`. A disk in doubt is left to whoever looks after those at which nobody works."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True, populate_existing=True)
    if volume.state == "Migrating" and not doubted(volume):
        disk_stays(tx, volume)


def arrived(tx: Session, volume_id: int, offering_id: int | None) -> None:
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    disk_moved(tx, volume)
    if offering_id is not None:
        tx.refresh(volume)
        offering = tx.get_one(DiskOffering, offering_id)
        counted.volumes_go(tx, [volume])
        volume.disk_offering_id, volume.provisioning = offering.id, offering.provisioning
        counted.volumes_come(tx, [volume])
