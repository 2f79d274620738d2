"""What pools promise, counted from the disks and templates that they promised it to; and put right by it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import reading, write
from mgmt_server.jobs.queue import name_of
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.storage import Pool, TemplateOnPool
from mgmt_server.model.vm import Volume
from mgmt_server.resources.snapshot import extracting
from mgmt_server.resources.templatemaking.flows import of_snapshot

UNFOLDING = (name_of(of_snapshot), name_of(extracting.extract))  # put snapshots of several files together in a pool


@dataclass(frozen=True)
class Repair:
    """A pool that did not promise what it had promised: bytes."""

    name: str
    told: int
    real: int


def held(session: Session, pool: int | None = None) -> dict[int, int]:
    """What disks and templates hold of each pool: where they lie, and where they are moving to."""
    found: dict[int, int] = {}
    for column, size, there in (
        (Volume.pool_id, Volume.size, Volume.removed.is_(None)),
        (Volume.target_pool_id, Volume.size, Volume.removed.is_(None)),
        (TemplateOnPool.pool_id, TemplateOnPool.size, TemplateOnPool.removed.is_(None)),
    ):
        rows = select(column, func.sum(size)).where(column.is_not(None), there).group_by(column)
        for number, taken in session.execute(rows if pool is None else rows.where(column == pool)):
            found[number] = found.get(number, 0) + int(taken or 0)
    return found


def wrong() -> list[int]:
    """Pools whose promise does not seem right. Work that goes on meanwhile may make some seem so."""
    with reading() as session:
        real = held(session)
        rows = session.execute(select(Pool.id, Pool.allocated).where(Pool.removed.is_(None)))
        return [number for number, told in rows if told != real.get(number, 0)]


def repair(tx: Session, number: int) -> Repair | None:
    """Count one pool anew and put it right; None where it is right, or holds for a moment what is no disk yet.

    Whoever takes or gives space writes the pool in the transaction that writes the disk: see allocation.recount.
    """
    pool = tx.scalar(select(Pool).where(Pool.id == number, Pool.removed.is_(None)).with_for_update())
    if pool is None or _in_between(tx, number):
        return None
    real = held(tx, number).get(number, 0)
    if pool.allocated == real:
        return None
    found = Repair(pool.name, pool.allocated, real)
    right = update(Pool).where(Pool.id == number).values(allocated=real)
    tx.execute(right.execution_options(synchronize_session=False))
    return found


def _in_between(tx: Session, number: int) -> bool:
    """Whether a disk is growing there, or a snapshot of several files may be put together: no row tells how much."""
    growing = select(Volume.id).where(Volume.pool_id == number, Volume.state == "Resizing", Volume.removed.is_(None))
    making = select(JobRow.id).where(JobRow.flow.in_(UNFOLDING), JobRow.state.in_(OPEN))
    return tx.scalar(growing.limit(1)) is not None or tx.scalar(making.limit(1)) is not None


def repair_all() -> list[Repair]:
    """Look without locks; count only those anew, locked, that seem wrong."""
    repairs = [write(repair, number) for number in wrong()]
    return [r for r in repairs if r is not None]
