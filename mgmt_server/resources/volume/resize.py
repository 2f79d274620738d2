"""How a disk changes its size, its offering, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, pools, tags
from mgmt_server.db import now
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue, NoCapacity
from mgmt_server.jobs import Job
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.resources.vmsnapshot.rows import refuse_with_snapshots
from mgmt_server.resources.volume import moving, sites
from mgmt_server.resources.volume.locks import check_state, same_place
from mgmt_server.resources.volume.places import Place, place_of
from mgmt_server.resources.volume.qos import limited

MATCHED = Setting(
    "match.storage.pool.tags.with.disk.offering",
    "Whether a disk gets another offering only where its storage has the offering's tags",
)


@dataclass(frozen=True)
class Change:
    """What a disk shall be."""

    size: int  # bytes
    offering_id: int | None
    min_iops: int | None = None
    max_iops: int | None = None
    migrate: bool = False  # whether it may move to a pool that fits


@dataclass(frozen=True)
class Resize:
    """Where it is done; without `place` nothing but the row changes."""

    place: Place | None = None
    resize: bool = False
    limit: bool = False


def resize(job: Job, volume_id: int, vm_id: int | None, change: Change) -> None:
    target = job.write(pool_for, volume_id, change)
    if target is not None:
        moving.migrate(job, volume_id, vm_id, target, change.offering_id)
    plan = job.write(begin, volume_id, vm_id, change, undo=restored)
    place = plan.place
    if place is not None and plan.resize:
        job.call(disks.resize_disk, place.host, place.disk, change.size, place.machine)
    if place is not None and plan.limit:
        job.call(disks.limit_disk, place.host, place.disk, place.machine)
    job.write(resized, volume_id, change)


def check(tx: Session, volume: Volume, change: Change) -> None:
    """Raises InvalidValue for what cannot be done with the disk."""
    vm = tx.get(Vm, volume.vm_id) if volume.vm_id is not None else None
    if vm is not None and vm.state not in ("Running", "Stopped"):
        raise InvalidValue(f"{vm.display_name or vm.name} is {vm.state}: wait until it runs, or is stopped")
    if change.size < volume.size:
        if volume.kind == "ROOT":
            raise InvalidValue("A root disk does not become smaller: deploy a machine with a smaller one")
        if vm is not None and vm.state == "Running":
            raise InvalidValue(f"The disk {volume.name} becomes smaller only while no machine runs with it: detach it")
    if change.size != volume.size and vm is not None and volume.state == "Ready":
        refuse_with_snapshots(tx, vm.id, "its disks keep their size")


def pool_for(tx: Session, volume_id: int, change: Change) -> int | None:
    """The pool that the disk has to move to, since its own lacks the offering's tags; None where it may stay."""
    volume = tx.get_one(Volume, volume_id)
    offering = tx.get(DiskOffering, change.offering_id) if change.offering_id is not None else None
    if volume.pool_id is None or offering is None or offering.id == volume.disk_offering_id:
        return None
    pool, space = tx.get_one(Pool, volume.pool_id), sites.space_of(volume, offering)
    tagged = not MATCHED.flag(Scope("Zone", volume.zone_id)) or not tags.lacking(pool, space.tags)
    if tagged and pool.is_local == space.local:
        return None
    if not change.migrate:
        raise InvalidValue(
            f"The storage of the disk {volume.name} is not such as the offering {offering.name} asks for: send "
            "automigrate=true, so that it moves"
        )
    vm = tx.get(Vm, volume.vm_id) if volume.vm_id is not None else None
    hosts = sites.hosts_for(tx, vm) if vm is not None else sites.hosts_in(tx, volume.zone_id, pool.hypervisor)
    space = replace(space, size=change.size)
    usable = pools.usable(tx, volume.zone_id, volume.account_id)
    for candidate in usable:
        if not pools.why_not(candidate, space) and any(pools.reachable(candidate, h) for h in hosts):
            return candidate.id
    raise sites.no_room(volume, pools.with_closed(tx, volume.zone_id, usable, [space]), space, bool(hosts))


def begin(tx: Session, volume_id: int, vm_id: int | None, change: Change) -> Resize:
    """Ready -> Resizing: hold what it grows by, on its pool and in its owner's limits."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    same_place(volume, vm_id)
    check_state(volume, ("Allocated", "Ready"), "it cannot be resized")
    check(tx, volume, change)
    more = change.size - volume.size
    if more > 0:
        counted.volume_grows(tx, volume, more)
    if volume.state == "Allocated":
        return Resize()
    if more > 0 and not pools.take(tx, volume.pool_id or 0, more, growing=True):
        pool = tx.get_one(Pool, volume.pool_id)
        lacks = f"lacks room for {more // 2**20} MiB more"
        raise NoCapacity(
            f"The storage of the disk {volume.name} {lacks}",
            inventory=f"The pool {pool.name} of the disk {volume.name} {lacks}",
        )
    place = place_of(tx, volume)
    VOLUME_STATES.move(tx, volume_id, "Ready", "Resizing", state_changed=now())
    offering = tx.get(DiskOffering, change.offering_id) if change.offering_id is not None else None
    wanted = limited(place.disk, volume, offering)
    if offering is not None and offering.customized_iops:
        wanted = replace(wanted, operations_per_second=change.max_iops or 0)
    return Resize(replace(place, disk=wanted), bool(more), bool(place.machine))


def restored(tx: Session, volume_id: int, vm_id: int | None, change: Change) -> None:
    """Undo of `begin`."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    more = change.size - volume.size
    if more > 0:
        counted.volume_grows(tx, volume, -more)
    if volume.state != "Resizing":
        return
    if more > 0 and volume.pool_id is not None:
        pools.give_back(tx, volume.pool_id, more)
    VOLUME_STATES.move(tx, volume_id, "Resizing", "Ready", state_changed=now())


def resized(tx: Session, volume_id: int, change: Change) -> None:
    """It is what it shall be; what it became smaller by is free."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    less = volume.size - change.size
    if less > 0:
        counted.volume_grows(tx, volume, -less)
        if volume.pool_id is not None:
            pools.give_back(tx, volume.pool_id, less)
    volume.size = change.size
    if change.offering_id is not None and change.offering_id != volume.disk_offering_id:
        counted.volumes_go(tx, [volume])
        offering = tx.get_one(DiskOffering, change.offering_id)
        volume.disk_offering_id, volume.provisioning = offering.id, offering.provisioning
        counted.volumes_come(tx, [volume])
    volume.min_iops, volume.max_iops = change.min_iops, change.max_iops
    tx.flush()
    if volume.state == "Resizing":
        VOLUME_STATES.move(tx, volume_id, "Resizing", "Ready", state_changed=now())
