"""Old events go after some days."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mgmt_server.db import now, write
from mgmt_server.jobs.worker import every
from mgmt_server.model.event import Event
from mgmt_server.model.settings import Setting

DELAY = Setting("event.purge.delay", "Days for which events are kept; 0 keeps them for ever", least=0)
INTERVAL = Setting("event.purge.interval", "Seconds between two looks for events that are too old", least=1)
AT_ONCE = 1000


@every(INTERVAL.number, "events.purge")
def purge() -> None:
    while DELAY.number() and write(_purge) == AT_ONCE:
        pass


def _purge(tx: Session) -> int:
    # their numbers follow their times: one step along the key instead of a scan of all
    oldest = tx.execute(select(Event.id, Event.created).order_by(Event.id).limit(AT_ONCE)).all()
    before = now() - timedelta(days=DELAY.number())
    ids = [number for number, created in oldest if created < before]
    if ids:
        tx.execute(delete(Event).where(Event.id.in_(ids)))
    return len(ids)
