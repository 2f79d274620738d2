"""Files of secondary storage to which no row leads, and which their store did not give up when it should have.

Their names are never used again. Until a store is deleted, it is asked again and again.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now, write
from mgmt_server.errors import ApiError
from mgmt_server.jobs import Job, enqueue, gives_up
from mgmt_server.model.storage import ImageStore
from mgmt_server.resources.transfer.flows import StoredFile, take_away

log = logging.getLogger("cloudwright.storage")
AGAIN = timedelta(minutes=5)


def remove(call: UUID, file: StoredFile) -> None:
    """Take a file off its store: now, or as soon as that answers."""
    try:
        take_away(call, file)
    except ApiError as error:
        log.warning("%s stays on %s for now: %s", file.path, file.store, error)
        write(queue, file)


def queue(tx: Session, file: StoredFile) -> None:
    enqueue(tx, sweep, (file,), lock=f"file:{file.path.rpartition('/')[2][:90]}", not_before=now() + AGAIN)


@gives_up(queue)
def sweep(job: Job, file: StoredFile) -> None:
    if job.write(is_there, file):
        job.call(take_away, file)


def is_there(tx: Session, file: StoredFile) -> bool:
    """Whether this cloud has the store still."""
    found = select(ImageStore.id).where(ImageStore.url == file.store, ImageStore.removed.is_(None))
    return tx.scalar(found.limit(1)) is not None
