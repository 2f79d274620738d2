"""What snapshots left behind: where a store or a host did not answer, or what stood on them has gone since."""

from __future__ import annotations

import random

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from mgmt_server.db import reading, write
from mgmt_server.jobs import enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.vm import Volume
from mgmt_server.resources.snapshot.going import followed_in_vain, sweep
from mgmt_server.resources.snapshot.rows import lock_of

AT_ONCE = 50  # disks that one round looks after


@every(300, "snapshot.sweep")
def sweep_all() -> None:
    """Queue a sweep for every disk with something left. Two statements where there is nothing."""
    above = aliased(SnapshotOnStore)
    stands = select(above.id).where(above.parent_id == SnapshotOnStore.id).correlate(SnapshotOnStore).exists()
    left = (
        select(Snapshot.volume_id)
        .join(SnapshotOnStore, SnapshotOnStore.snapshot_id == Snapshot.id)
        .where(or_(SnapshotOnStore.state == "Destroying", (SnapshotOnStore.state == "Hidden") & ~stands))
    )
    with reading() as session:
        found = {*session.scalars(left.distinct()), *session.scalars(followed_in_vain())}
    # any of them: whose host does not answer for long keeps nobody out
    for volume in random.sample(sorted(found), min(AT_ONCE, len(found))):
        write(_queue, volume)


def _queue(tx: Session, volume_id: int) -> None:
    lock = lock_of(tx.get_one(Volume, volume_id))
    busy = select(JobRow.id).where(JobRow.lock == lock, JobRow.state.in_(OPEN)).limit(1)
    if tx.scalar(busy) is None:
        enqueue(tx, sweep, (volume_id,), lock=lock)
