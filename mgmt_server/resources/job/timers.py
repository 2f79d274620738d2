"""Old jobs go: what they answered has been fetched long ago."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mgmt_server.db import now, write
from mgmt_server.jobs.rows import OPEN, JobRow, StepRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.settings import Setting

KEPT = Setting("job.expire.minutes", "Minutes for which an ended job and its answer are kept", least=1)
AT_ONCE = 500


@every(300, "forget old jobs")
def forget_old() -> None:
    while _forget():
        pass


def _forget() -> bool:
    return write(_delete_some) == AT_ONCE


def _delete_some(tx: Session) -> int:
    before = now() - timedelta(minutes=KEPT.number() or 1440)
    waited = select(JobRow.waits_for).where(JobRow.waits_for.is_not(None))
    old = select(JobRow.id).where(JobRow.state.not_in(OPEN), JobRow.completed < before, JobRow.id.not_in(waited))
    ids = list(tx.scalars(old.limit(AT_ONCE)))
    if ids:
        tx.execute(delete(StepRow).where(StepRow.job_id.in_(ids)))
        tx.execute(delete(JobRow).where(JobRow.id.in_(ids)))
    return len(ids)
