"""A disk's image on secondary storage: of one that was uploaded, until a machine has it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.db import now
from mgmt_server.errors import Unavailable
from mgmt_server.jobs import Job, enqueue, gives_up
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.transfer import VolumeOnStore
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Cluster
from mgmt_server.protocol.machine import Image
from mgmt_server.resources.snapshot.rows import at_host
from mgmt_server.resources.transfer.flows import StoredFile, take_away
from mgmt_server.resources.transfer.links import expire_links
from mgmt_server.resources.volume.locks import lock_of

AGAIN = timedelta(minutes=5)


def is_simulated(tx: Session, zone_id: int) -> bool:
    """Whether a zone has simulated hosts alone: what is on its stores are no files."""
    rows = select(Cluster.hypervisor).where(Cluster.zone_id == zone_id, Cluster.removed.is_(None))
    return set(tx.scalars(rows.distinct())) == {"Simulator"}


def row_of(tx: Session, volume_id: int) -> VolumeOnStore | None:
    rows = select(VolumeOnStore).where(VolumeOnStore.volume_id == volume_id, VolumeOnStore.removed.is_(None))
    return tx.scalar(rows.order_by(VolumeOnStore.id.desc()).limit(1))


def image_of(tx: Session, volume: Volume) -> Image:
    """What a host loads the disk from. Raises Unavailable where it is on no storage that is there."""
    row = row_of(tx, volume.id)
    store = tx.get(ImageStore, row.store_id) if row is not None and row.state == "Ready" else None
    if row is None or store is None or store.removed is not None:
        raise Unavailable(f"The image of the disk {volume.name} is on no secondary storage any more: upload it again")
    return Image(  # without its checksum, which is that of the file as it was sent, packed perhaps
        uuid=volume.uuid,
        store=at_host(store),
        path=row.path,
        format=row.format,
        size=row.physical_size,
        virtual_size=row.size,
    )


def queue(tx: Session, volume_id: int) -> None:
    """Have it tried after a while. Nothing else waits for that: the lock is its own."""
    enqueue(tx, again, (volume_id,), lock=f"image:{volume_id}", not_before=now() + AGAIN)


def again(job: Job, volume_id: int) -> None:
    job.write(due, volume_id)


def due(tx: Session, volume_id: int) -> None:
    """Have the image go, where one is left, behind the jobs on its disk."""
    if row_of(tx, volume_id) is not None:
        enqueue(tx, forget, (volume_id,), lock=lock_of(tx.get_one(Volume, volume_id)))


@gives_up(queue)
def forget(job: Job, volume_id: int) -> None:
    """Take the image off its store, where nobody needs it any more. Its row stays until it is gone."""
    file = job.write(leaving, volume_id)
    if file is not None:
        job.call(take_away, file)
    job.write(left, volume_id)


def leaving(tx: Session, volume_id: int) -> StoredFile | None:
    """The file to take away; None where there is none."""
    row = row_of(tx, volume_id)
    if row is None:
        return None
    row.state = "Destroying"
    store = tx.get_one(ImageStore, row.store_id)
    if store.removed is not None:
        return None
    return StoredFile(store.url, row.path, is_simulated(tx, row.zone_id))


def left(tx: Session, volume_id: int) -> None:
    row = row_of(tx, volume_id)
    volume = tx.get_one(Volume, volume_id)
    if row is not None:
        counted.upload_goes(tx, volume, row.physical_size)
        tx.delete(row)
        expire_links(tx, volume.uuid)
