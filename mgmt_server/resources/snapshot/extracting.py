"""How the content of a snapshot is put where a link leads."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import new_uuid
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.jobs import Job
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.transfer import ExtractLink
from mgmt_server.protocol.machine import File
from mgmt_server.resources.imagestore.settings import at_host
from mgmt_server.resources.snapshot import files
from mgmt_server.resources.snapshot.rows import usable_in
from mgmt_server.resources.templatemaking.flows import Unfolding, give_room, room_for, take_room, unload
from mgmt_server.resources.transfer.flows import end_link
from mgmt_server.resources.transfer.links import Link, make_link


@dataclass(frozen=True)
class Extract:
    """The file that the link leads to. With `unfolding` it is made first, of all on which the snapshot stands."""

    store_id: int
    file: File
    size: int
    unfolding: Unfolding | None = None
    older: tuple[int, ...] = ()  # links with files of their own, which this one replaces


def extract(job: Job, snapshot_id: int, zone_id: int) -> None:
    plan = job.write(begin, snapshot_id, zone_id)
    size, made = plan.size, plan.unfolding
    if made is not None:
        for link in plan.older:
            job.call(end_link, link)
        job.write(take_room, made, undo=give_room)
        job.call(disks.load_disk, made.host, made.disk, made.chain, undo=unload)
        saved = job.call(disks.save_disk, made.host, made.disk, "", plan.file, "", "", undo=files.unsave)
        job.call(disks.delete_disk, made.host, made.disk)
        size = saved.physical_size
    told = job.write(finished, snapshot_id, plan, size)
    job.answer(url=told.url, extractId=told.uuid, extractMode="HTTP_DOWNLOAD", state="DOWNLOAD_URL_CREATED")


def begin(tx: Session, snapshot_id: int, zone_id: int) -> Extract:
    snapshot = tx.get_one(Snapshot, snapshot_id)
    row = usable_in(tx, snapshot, zone_id)
    store = at_host(tx.get_one(ImageStore, row.store_id))
    if row.parent_id is None:
        return Extract(row.store_id, File(store, row.path), row.physical_size)
    older = select(ExtractLink.id).where(
        ExtractLink.subject == snapshot.uuid, ExtractLink.temporary, ExtractLink.removed.is_(None)
    )
    folder = row.path.rpartition("/")[0]
    return Extract(
        row.store_id, File(store, f"{folder}/{new_uuid()}.qcow2"), 0, room_for(tx, snapshot, zone_id),
        tuple(tx.scalars(older)),
    )  # fmt: skip


def finished(tx: Session, snapshot_id: int, plan: Extract, size: int) -> Link:
    snapshot = tx.get_one(Snapshot, snapshot_id)
    if plan.unfolding is not None:
        give_room(tx, plan.unfolding)
    return make_link(
        tx, snapshot, "Snapshot", snapshot.uuid, f"{snapshot.name}.qcow2", plan.store_id, plan.file.path,
        size=size, temporary=plan.unfolding is not None,
    )  # fmt: skip
