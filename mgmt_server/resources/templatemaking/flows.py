"""How a disk's content becomes a template: hosts write it to secondary storage, whole and flat."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, limits, pools
from mgmt_server.allocation.pools import Space
from mgmt_server.db import new_uuid
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError, InvalidValue, NoCapacity
from mgmt_server.jobs import Job
from mgmt_server.jobs.flow import gives_up
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.protocol.machine import Disk, File, Image, Saved
from mgmt_server.resources.snapshot import files
from mgmt_server.resources.snapshot.files import Copied, OnStore
from mgmt_server.resources.snapshot.rows import at_host, chain_of, usable_in
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template import flows as templates
from mgmt_server.resources.volume import leftovers
from mgmt_server.resources.volume.places import Place, host_of, place_of


@dataclass(frozen=True)
class Unfolding:
    """A snapshot of several files: a disk is made of them first, in a pool that has room."""

    host: HostRef
    disk: Disk
    pool: int
    chain: tuple[Image, ...]


@dataclass(frozen=True)
class Source:
    """What a snapshot's content is taken from: one whole file that is copied, or several."""

    copied: Copied | None
    size: int  # bytes, of the one file
    physical_size: int


def never_made(tx: Session, template_id: int, on_store_id: int, source_id: int) -> None:
    """A template that could not be made is not left behind."""
    template = tx.get_one(Template, template_id)
    tx.execute(
        delete(TemplateOnStore).where(TemplateOnStore.id == on_store_id).execution_options(synchronize_session=False)
    )
    if template.removed is None:
        templates.forget(tx, template, None)


@gives_up(never_made)
def of_volume(job: Job, template_id: int, on_store_id: int, volume_id: int) -> None:
    """Make a template of a disk that no machine runs with."""
    place, file = job.write(begin_volume, on_store_id, volume_id)
    saved = job.call(disks.save_disk, place.host, place.disk, "", file, "", "", undo=files.unsave)
    job.write(made, template_id, on_store_id, saved)


@gives_up(never_made)
def of_snapshot(job: Job, template_id: int, on_store_id: int, snapshot_id: int) -> None:
    """Make a template of a snapshot."""
    source = job.write(begin_snapshot, on_store_id, snapshot_id)
    if source.copied is not None:
        job.call(files.copy, source.copied, undo=files.uncopy)
        job.write(made, template_id, on_store_id, Saved(source.size, source.physical_size))
        return
    unfolding, file = job.write(unfold, on_store_id, snapshot_id)
    job.write(take_room, unfolding, undo=give_room)
    job.call(disks.load_disk, unfolding.host, unfolding.disk, unfolding.chain, undo=unload)
    saved = job.call(disks.save_disk, unfolding.host, unfolding.disk, "", file, "", "", undo=files.unsave)
    job.call(disks.delete_disk, unfolding.host, unfolding.disk)
    job.write(made_by_unfolding, template_id, on_store_id, saved, unfolding)


def check_idle(tx: Session, volume: Volume) -> None:
    """Refuse a disk that a machine is writing to, or that is not there yet."""
    if volume.removed is not None or volume.state != "Ready":
        raise InvalidValue(f"The disk {volume.name} is {volume.state}: a template is made of one that is Ready")
    vm = tx.get(Vm, volume.vm_id) if volume.vm_id is not None else None
    if vm is not None and vm.state not in ("Stopped", "Destroyed", "Error"):
        raise InvalidValue(
            f"The disk {volume.name} is on the machine {vm.display_name or vm.name}, which is {vm.state}: stop it "
            "first, or make a snapshot and the template of that"
        )


def begin_volume(tx: Session, on_store_id: int, volume_id: int) -> tuple[Place, File]:
    volume = tx.get_one(Volume, volume_id)
    check_idle(tx, volume)  # it may have been started since the call
    return place_of(tx, volume), file_of(tx, on_store_id)


def file_of(tx: Session, on_store_id: int) -> File:
    """Where the template's content goes."""
    row = tx.get_one(TemplateOnStore, on_store_id)
    return File(at_host(tx.get_one(ImageStore, row.store_id)), row.path)


def begin_snapshot(tx: Session, on_store_id: int, snapshot_id: int) -> Source:
    row = tx.get_one(TemplateOnStore, on_store_id)
    snapshot = tx.get_one(Snapshot, snapshot_id)
    found = usable_in(tx, snapshot, row.zone_id)
    if found.parent_id is not None:
        return Source(None, 0, 0)
    there = tx.get_one(ImageStore, found.store_id)
    target = tx.get_one(ImageStore, row.store_id)
    copied = Copied(
        OnStore(found.id, snapshot.hypervisor, there.url, found.path),
        OnStore(row.id, snapshot.hypervisor, target.url, row.path),
    )
    return Source(copied, found.size, found.physical_size)


def unfold(tx: Session, on_store_id: int, snapshot_id: int) -> tuple[Unfolding, File]:
    """Where the disk can be put together. Raises NoCapacity."""
    row = tx.get_one(TemplateOnStore, on_store_id)
    return room_for(tx, tx.get_one(Snapshot, snapshot_id), row.zone_id), file_of(tx, on_store_id)


def room_for(tx: Session, snapshot: Snapshot, zone_id: int) -> Unfolding:
    """A pool of the zone in which a snapshot of several files can be put together. Raises NoCapacity."""
    chain = chain_of(tx, usable_in(tx, snapshot, zone_id))
    refused = []
    for pool in pools.usable(tx, zone_id):
        try:
            host = host_of(tx, pool)
        except ApiError as error:
            refused.append(str(error))
            continue
        if host.hypervisor != snapshot.hypervisor:
            continue
        why = pools.why_not(pool, Space(snapshot.size, pool.is_local))
        if not why:
            return Unfolding(storage.ref(host), Disk(new_uuid(), storage.as_seen(pool), snapshot.size), pool.id, chain)
        refused.append(f"pool {pool.name} {why}")
    raise NoCapacity(
        f"The snapshot {snapshot.name} consists of {len(chain)} files and is put together in a pool first; none can: "
        f"{'; '.join(refused) or 'the zone has no pool that is up'}"
    )


def take_room(tx: Session, unfolding: Unfolding) -> None:
    if not pools.take(tx, unfolding.pool, unfolding.disk.size):
        raise NoCapacity("The pool in which the snapshot was to be put together is full by now: try again")


def give_room(tx: Session, unfolding: Unfolding) -> None:
    pools.give_back(tx, unfolding.pool, unfolding.disk.size)


def unload(call: UUID, host: HostRef, disk: Disk, chain: tuple[Image, ...]) -> None:
    """Undo of `load_disk`."""
    leftovers.remove(call, host, disk)


def made_by_unfolding(tx: Session, template_id: int, on_store_id: int, saved: Saved, unfolding: Unfolding) -> None:
    give_room(tx, unfolding)
    made(tx, template_id, on_store_id, saved)


def made(tx: Session, template_id: int, on_store_id: int, saved: Saved) -> None:
    """Note the image as ready. Raises LimitExceeded when its account has no room for it."""
    template = tx.get_one(Template, template_id)
    template.size = saved.size
    ready = update(TemplateOnStore).where(TemplateOnStore.id == on_store_id)
    values = {"state": "Ready", "progress": 100, "size": saved.size, "physical_size": saved.physical_size}
    tx.execute(ready.values(**values).execution_options(synchronize_session=False))
    counted.image_comes(tx, template, saved.physical_size)
    limits.settle(tx)
