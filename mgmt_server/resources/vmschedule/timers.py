"""The clock of schedules."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.db import now, reading, write
from mgmt_server.errors import ApiError
from mgmt_server.jobs.worker import every
from mgmt_server.model.vm import VmSchedule
from mgmt_server.resources.vmschedule import flows

LOOK = 10  # seconds: a schedule means minutes
AT_ONCE = 200  # schedules that one round acts upon


@every(LOOK, "schedules of machines")
def due() -> None:
    with reading() as session:
        rows = select(VmSchedule.id).where(VmSchedule.next_run <= now(), VmSchedule.removed.is_(None))
        found = list(session.scalars(rows.order_by(VmSchedule.next_run, VmSchedule.id).limit(AT_ONCE)))
    for schedule in found:
        try:
            write(flows.run, schedule)
        except ApiError as error:
            write(flows.miss, schedule, str(error))
