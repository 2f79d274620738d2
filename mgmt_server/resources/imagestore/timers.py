"""How full secondary storage is, and whether the system VM image came onto it since."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import reading, write
from mgmt_server.drivers.image import nfs, system
from mgmt_server.errors import ApiError
from mgmt_server.jobs.worker import every
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import ImageStore
from mgmt_server.resources.imagestore.rows import note_system_image
from mgmt_server.resources.imagestore.settings import TOLD

log = logging.getLogger("cloudwright.storage")
INTERVAL = Setting(
    "storage.stats.interval",
    "Milliseconds between two looks at how full secondary storage is",
    type="Integer",
    least=1000,
)
_looking = threading.Lock()


@every(lambda: INTERVAL.number() / 1000, "imagestores")
def look() -> None:
    """In a thread of its own: a store that hangs must not keep the other timers waiting."""
    with reading() as session:
        known = list(session.scalars(select(ImageStore).where(ImageStore.removed.is_(None), ImageStore.capacity > 0)))
    if known:
        threading.Thread(target=measure, args=(known,), name="imagestores", daemon=True).start()


def measure(stores: list[ImageStore]) -> None:
    if not _looking.acquire(blocking=False):
        return
    try:
        for store in stores:
            try:
                used, there = nfs.space(store.url)
                write(_note, store.id, used, there, system.find(store.url))
            except ApiError as error:
                log.warning("secondary storage %s: %s", store.name, error)
    finally:
        _looking.release()


def _note(tx: Session, store_id: int, used: int, there: int, image: system.SystemImage | None) -> None:
    store = tx.get_one(ImageStore, store_id)
    mine = update(ImageStore).where(ImageStore.id == store_id)
    capacity = int(store.details.get(TOLD) or there)
    tx.execute(mine.values(used=used, capacity=capacity).execution_options(synchronize_session=False))
    note_system_image(tx, store, image)
