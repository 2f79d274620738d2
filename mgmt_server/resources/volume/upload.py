"""How a disk's image gets to secondary storage."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, limits
from mgmt_server.db import changed, now, write
from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import ApiError, Failed, LimitExceeded
from mgmt_server.jobs import Job
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.transfer import VolumeOnStore
from mgmt_server.model.vm import VOLUME_STATES, Volume
from mgmt_server.protocol.download import Limits, fetch
from mgmt_server.resources.template.bring import FOLLOWED, INSIDE, TELL, Brought
from mgmt_server.resources.template.sound import kept_as, made_sound
from mgmt_server.resources.transfer import leftovers
from mgmt_server.resources.transfer.flows import StoredFile
from mgmt_server.resources.transfer.tickets import Expected, receivers
from mgmt_server.resources.volume import stored
from mgmt_server.resources.volume.sizes import LARGEST

MOST = Setting("storage.max.volume.upload.size", "The largest image of a disk that is taken, in GiB", least=1)
GIB = 1 << 30
SIMULATED_SIZE = GIB  # bytes of a simulated image, of which nothing is known


@dataclass(frozen=True)
class Order:
    """What is to be brought where."""

    volume: int
    uuid: str
    url: str
    format: str
    checksum: str
    store: str  # URL
    path: str  # below the store
    simulated: bool


def upload(job: Job, volume_id: int, row_id: int) -> None:
    """Fetch an image. What was wrong with it is the job's error, and stays with the disk for its owner to see."""
    order = job.write(begin, volume_id, row_id, undo=broke)
    brought = job.call(bring, order, undo=bring_back)
    error = job.write(arrived, order, brought)
    if error:
        job.call(bring_back, order)
        raise Failed(error)


def begin(tx: Session, volume_id: int, row_id: int) -> Order:
    VOLUME_STATES.move(tx, volume_id, "Allocated", "UploadOp", state_changed=now())
    return _order(tx, tx.get_one(Volume, volume_id), tx.get_one(VolumeOnStore, row_id))


def _order(tx: Session, volume: Volume, row: VolumeOnStore) -> Order:
    store = tx.get_one(ImageStore, row.store_id)
    simulated = stored.is_simulated(tx, volume.zone_id)
    return Order(volume.id, volume.uuid, row.url or "", row.format, row.checksum or "", store.url, row.path, simulated)


def broke(tx: Session, volume_id: int, row_id: int) -> None:
    """Undo of `begin`."""
    if tx.get_one(Volume, volume_id).state == "UploadOp":
        fail(tx, volume_id, "the server met an internal error: its log tells which; upload it again")


def fail(tx: Session, volume_id: int, text: str) -> None:
    volume = tx.get_one(Volume, volume_id, populate_existing=True)
    if volume.state in ("UploadOp", "NotUploaded"):
        VOLUME_STATES.move(tx, volume_id, volume.state, "UploadError", state_changed=now())
    mine = update(VolumeOnStore).where(VolumeOnStore.volume_id == volume_id)
    tx.execute(mine.values(state="Failed", error=text[:2000]).execution_options(synchronize_session=False))


def bring(call: UUID, order: Order) -> Brought:
    """Fetch, check, inspect and put an image. What goes wrong is told in the answer, and nothing of it stays."""
    if order.simulated:
        write(simulator.put, order.store, order.path, SIMULATED_SIZE)
        return Brought(SIMULATED_SIZE, SIMULATED_SIZE, order.checksum)
    folder = nfs.large_files() / f"cloudwright-volume-{order.uuid}"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier life of this server
    try:
        folder.mkdir(mode=0o700, parents=True)
        return _bring(order, folder)
    except ApiError as error:
        return Brought(error=str(error))
    except OSError as error:
        return Brought(error=f"the server could not keep the image: {error.strerror or error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bring(order: Order, folder: Path) -> Brought:
    file, most = folder / "image", MOST.number() * GIB
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last < TELL:
            return
        last = time.monotonic()
        if not write(note, order.volume, min(99, done * 100 // total) if total else 0):
            raise Failed("the disk was deleted while its image was fetched")

    fetch(order.url, file, Limits(allowed=tuple(INSIDE.words()), size=most, redirects=FOLLOWED.flag()), tell)
    sound = made_sound(file, folder, order.format, order.checksum, LARGEST.number() * GIB)
    nfs.put(sound.file, order.store, order.path)
    return Brought(sound.seen.virtual_size, sound.seen.physical_size, sound.checksum)


def note(tx: Session, volume_id: int, percent: int) -> bool:
    """How far it is. False when nobody waits for it any more."""
    waits = select(Volume.id).where(Volume.id == volume_id, Volume.state == "UploadOp")
    mine = update(VolumeOnStore).where(VolumeOnStore.volume_id == volume_id, VolumeOnStore.volume_id.in_(waits))
    return changed(tx.execute(mine.values(progress=percent).execution_options(synchronize_session=False))) == 1


def bring_back(call: UUID, order: Order) -> None:
    """Undo of `bring`."""
    leftovers.remove(call, StoredFile(order.store, order.path, order.simulated))


def arrived(tx: Session, order: Order, brought: Brought) -> str:
    """Note the image as there. Why not, or nothing."""
    return settle(tx, order.volume, brought)


def settle(tx: Session, volume_id: int, brought: Brought) -> str:
    """UploadOp -> Uploaded, or UploadError with the reason, which is also the answer."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    row = stored.row_of(tx, volume_id)
    if volume.state != "UploadOp" or row is None:
        return "the disk was deleted while its image came"
    if brought.error:
        fail(tx, volume_id, brought.error)
        return brought.error
    if brought.size > LARGEST.number() * GIB:
        error = (
            f"its disk would have {brought.size // GIB} GiB: at most {LARGEST.number()} are allowed ({LARGEST.name})"
        )
        fail(tx, volume_id, error)
        return error
    try:
        with tx.begin_nested():
            counted.volume_grows(tx, volume, brought.size)
            counted.upload_comes(tx, volume, brought.physical_size)
            limits.settle(tx)
    except LimitExceeded as exceeded:
        fail(tx, volume_id, str(exceeded))
        return str(exceeded)
    row.state, row.progress, row.error = "Ready", 100, None
    row.format = volume.format = kept_as("Simulator" if stored.is_simulated(tx, volume.zone_id) else "KVM", row.format)
    row.size, row.physical_size, row.checksum = brought.size, brought.physical_size, brought.checksum or None
    tx.flush()
    VOLUME_STATES.move(tx, volume_id, "UploadOp", "Uploaded", size=brought.size, state_changed=now())
    return ""


class Form:
    """What becomes of a disk whose image a browser's form sends."""

    def expected(self, tx: Session, subject: str) -> Expected | None:
        volume = _named(tx, subject)
        row = stored.row_of(tx, volume.id) if volume is not None else None
        if volume is None or row is None or volume.state != "NotUploaded":
            return None
        VOLUME_STATES.move(tx, volume.id, "NotUploaded", "UploadOp", state_changed=now())
        order = _order(tx, volume, row)
        return Expected(order.format, order.checksum, order.store, order.path, MOST.number() * GIB, order.simulated)

    def progress(self, tx: Session, subject: str, percent: int) -> None:
        volume = _named(tx, subject)
        if volume is None or not note(tx, volume.id, percent):
            raise Failed("the disk was deleted while its image came")

    def arrived(self, tx: Session, subject: str, brought: Brought) -> bool:
        volume = _named(tx, subject)
        return volume is not None and not settle(tx, volume.id, brought)

    def cut_off(self, tx: Session, subject: str) -> None:
        volume = _named(tx, subject)
        if volume is not None and volume.state == "UploadOp":
            # not a move that others may make: the ticket alone leads back
            waiting = update(Volume).where(Volume.id == volume.id, Volume.state == "UploadOp")
            tx.execute(waiting.values(state="NotUploaded").execution_options(synchronize_session=False))

    def abandoned(self, tx: Session, subject: str) -> None:
        volume = _named(tx, subject)
        if volume is not None and volume.state == "NotUploaded":
            VOLUME_STATES.move(tx, volume.id, "NotUploaded", "UploadAbandoned", state_changed=now())
        elif volume is not None:
            fail(tx, volume.id, "the image did not come while its form was good: ask for new parameters")


def _named(tx: Session, uuid: str) -> Volume | None:
    return tx.scalar(select(Volume).where(Volume.uuid == uuid, Volume.removed.is_(None)))


receivers["Volume"] = Form()
