"""Files of disks that could not be removed when they should have been, for their host did not answer: they go later.

Nothing is removed that a disk is by then, or was let go as. Until a pool is deleted, it is tried again and again.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from mgmt_server.db import new_uuid, now, write
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError
from mgmt_server.jobs import Job, enqueue, gives_up
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Volume
from mgmt_server.protocol.machine import Disk
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.volume.locks import lock_of
from mgmt_server.resources.volume.places import Place, host_of

log = logging.getLogger("cloudwright.storage")
AGAIN = timedelta(seconds=10)


def remove(call: UUID, host: HostRef, disk: Disk) -> None:
    """Delete a file that nothing refers to any more: now, or as soon as a host that reaches its pool can."""
    try:
        disks.delete_disk(call, host, disk)
    except ApiError as error:
        log.warning("the disk %s stays in the pool %s for now: %s", disk.name, disk.pool.uuid, error)
        write(queue, disk.pool.uuid, disk.name)


def queue(tx: Session, pool: str, name: str) -> None:
    """Have it tried after a while. Nothing else waits for that: the lock is its own."""
    enqueue(tx, again, (pool, name), lock=f"leftover:{name}", not_before=now() + AGAIN)


def queue_begun(tx: Session, vm_id: int) -> None:
    """As `queue`, of all that a start may have made whose host is gone."""
    rows = select(Pool.uuid, Volume.path).join(Pool, Pool.id == Volume.pool_id).where(Volume.vm_id == vm_id)
    for pool, name in tx.execute(rows.where(Volume.state == "Creating", Volume.path.is_not(None))).all():
        queue(tx, pool, name)


def again(job: Job, pool: str, name: str) -> None:
    job.write(due, pool, name)


def due(tx: Session, pool: str, name: str) -> None:
    """Try it now, behind the jobs on the disk that it was to be."""
    volume = tx.scalar(select(Volume).where(Volume.removed.is_(None), _called(name)).limit(1))
    lock = lock_of(volume) if volume is not None else f"disk:{name}"
    enqueue(tx, sweep, (pool, name), lock=lock)


@gives_up(queue)
def sweep(job: Job, pool: str, name: str) -> None:
    place = job.write(left, pool, name)
    if place is not None:
        job.call(disks.delete_disk, place.host, place.disk)


def left(tx: Session, pool: str, name: str) -> Place | None:
    """The file, and a host that reaches it; None where it is a disk's again, or its owner's. Raises Unavailable.

    A disk that is on no pool gets another name for its next start: its file of now is never that one.
    """
    row = tx.scalar(select(Pool).where(Pool.uuid == pool, Pool.removed.is_(None)))
    if row is None:
        return None
    for volume in tx.scalars(select(Volume).where(Volume.removed.is_(None), _called(name)).with_for_update()):
        if row.id in (volume.pool_id, volume.target_pool_id):
            return None
        if volume.pool_id is None:
            volume.path = new_uuid()
    last = tx.scalar(select(Volume).where(_called(name)).order_by(Volume.id.desc()).limit(1))
    if last is not None and last.removed is not None and last.pool_id == row.id:
        return None  # one that was let go there left its file to its owner; one that was expunged took it along
    return Place(storage.ref(host_of(tx, row)), Disk(name, storage.as_seen(row), 0))


def _called(name: str) -> ColumnElement[bool]:
    return or_(Volume.path == name, Volume.path.is_(None) & (Volume.uuid == name))
