"""How the content of a disk is put where a link leads."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import new_uuid, now
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.transfer import ExtractLink
from mgmt_server.model.vm import VOLUME_STATES, Volume
from mgmt_server.protocol.machine import File, Saved
from mgmt_server.resources.snapshot.rows import at_host
from mgmt_server.resources.template.flows import stores_of
from mgmt_server.resources.transfer import leftovers
from mgmt_server.resources.transfer.flows import StoredFile, end_link
from mgmt_server.resources.transfer.links import Link, make_link
from mgmt_server.resources.volume import stored
from mgmt_server.resources.volume.locks import check_state, same_place
from mgmt_server.resources.volume.places import Place, place_of


@dataclass(frozen=True)
class Extract:
    """What is saved where. Without `place` the file is there already."""

    store_id: int
    file: File
    place: Place | None = None
    older: tuple[int, ...] = ()  # links with files of their own, which this one replaces


def extract(job: Job, volume_id: int, vm_id: int | None) -> None:
    """Save a disk to secondary storage and make a link to the file, which goes with the link."""
    plan = job.write(begin, volume_id, vm_id, undo=released)
    size = 0
    if plan.place is not None:
        for link in plan.older:
            job.call(end_link, link)
        size = job.call(save, plan, undo=unsave).physical_size
    link = job.write(finished, volume_id, plan, size)
    job.answer(url=link.url, extractId=link.uuid, extractMode="HTTP_DOWNLOAD", state="DOWNLOAD_URL_CREATED")


def begin(tx: Session, volume_id: int, vm_id: int | None) -> Extract:
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    same_place(volume, vm_id)
    check_state(volume, ("Ready", "Uploaded"), "there is nothing to download of it")
    row = stored.row_of(tx, volume_id)
    if volume.state == "Uploaded" and row is not None:
        return Extract(row.store_id, File(at_host(tx.get_one(ImageStore, row.store_id)), row.path, row.format))
    stores = stores_of(tx, volume.zone_id)
    if not stores:
        raise Unavailable("The zone has no secondary storage with room: an administrator adds one with addImageStore")
    place = place_of(tx, volume)
    older = select(ExtractLink.id).where(
        ExtractLink.subject == volume.uuid, ExtractLink.temporary, ExtractLink.removed.is_(None)
    )
    VOLUME_STATES.move(tx, volume_id, "Ready", "Snapshotting", state_changed=now())
    path = f"volumes/{volume.account_id}/{volume.id}/{new_uuid()}.qcow2"
    return Extract(stores[0].id, File(at_host(stores[0]), path), place, tuple(tx.scalars(older)))


def released(tx: Session, volume_id: int, vm_id: int | None) -> None:
    """Undo of `begin`."""
    if tx.get_one(Volume, volume_id).state == "Snapshotting":
        VOLUME_STATES.move(tx, volume_id, "Snapshotting", "Ready", state_changed=now())


def save(call: UUID, plan: Extract) -> Saved:
    assert plan.place is not None  # noqa: S101  else nothing is saved
    return disks.save_disk(call, plan.place.host, plan.place.disk, plan.place.machine, plan.file, "", "")


def unsave(call: UUID, plan: Extract) -> None:
    assert plan.place is not None  # noqa: S101  else nothing was saved
    simulated = plan.place.host.hypervisor == "Simulator"
    leftovers.remove(call, StoredFile(plan.file.store.url, plan.file.path, simulated))


def finished(tx: Session, volume_id: int, plan: Extract, size: int) -> Link:
    volume = tx.get_one(Volume, volume_id)
    suffix = plan.file.path.rpartition(".")[2]
    kept = plan.place is None
    link = make_link(
        tx, volume, "Volume", volume.uuid, f"{volume.name}.{suffix}", plan.store_id, plan.file.path,
        size=size, temporary=not kept,
    )  # fmt: skip
    if not kept:
        VOLUME_STATES.move(tx, volume_id, "Snapshotting", "Ready", state_changed=now())
    return link
