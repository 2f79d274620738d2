"""Events: what happened, for tenants and for operators."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.event import Event
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.event.types import types
from mgmt_server.resources.event.views import event_view

LEVELS, STATES = ("INFO", "WARN", "ERROR"), ("Created", "Scheduled", "Started", "Completed")
LONGEST = 10**9  # seconds


@command("listEvents", roles=EVERYONE, answers=event_view)
def list_events(
    ctx: Context,
    id: Use[Event] | None = None,
    type: str | None = None,
    level: str | None = None,
    state: str | None = None,
    startid: Use[Event] | None = None,
    startdate: datetime | None = None,
    enddate: datetime | None = None,
    duration: int | None = None,
    entrytime: int | None = None,
    resourceid: str | None = None,
    resourcetype: str | None = None,
    archived: bool = False,
) -> Rows:
    """List events, the latest first.

    id: this one alone
    type: those of this type, such as VM.CREATE
    level: INFO, WARN or ERROR
    state: Created, Scheduled, Started or Completed
    startid: the first event of some work and all that followed
    startdate: those from this moment on
    enddate: those until this moment
    duration: with entrytime, work that began in that time, at least so many seconds ago, and has not ended
    entrytime: those of the last so many seconds
    resourceid: those about this entity
    resourcetype: those about entities of this kind, such as VirtualMachine
    archived: archived ones too
    """
    _in_order(startdate, enddate)
    begun: ColumnElement[bool] | None = None
    if startid is not None:
        begun = or_(Event.id == startid.id, Event.start_id == startid.id)
    return (
        Rows(event_view)
        .where(
            id=id and id.id,
            type=type,
            level=one_of("level", level, LEVELS),
            state=one_of("state", state, STATES),
            resource_uuid=resourceid,
            resource_type=resourcetype,
        )
        .where(begun, *_between(startdate, enddate), *_recent(entrytime, duration))
        .where(None if archived else ~Event.archived)
    )


def _in_order(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and end < start:
        raise InvalidValue("enddate is before startdate")


def _between(start: datetime | None, end: datetime | None) -> list[ColumnElement[bool]]:
    found = [Event.created >= start] if start is not None else []
    return [*found, Event.created <= end] if end is not None else found


def _recent(entrytime: int | None, duration: int | None) -> list[ColumnElement[bool]]:
    """Those of the last so many seconds; with a duration, the first ones of work that lasts longer and goes on."""
    for name, seconds in (("entrytime", entrytime), ("duration", duration)):
        if seconds is not None and not 0 < seconds < LONGEST:
            raise InvalidValue(f"{name}={seconds} is no number of seconds: send one from 1 on")
    if entrytime is None:
        if duration is not None:
            raise InvalidValue("duration goes with entrytime: send both")
        return []
    since = Event.created >= now() - timedelta(seconds=entrytime)
    if duration is None:
        return [since]
    if duration >= entrytime:
        raise InvalidValue("duration must be less than entrytime: work of that time can be no older")
    later = aliased(Event)
    over = exists().where(later.start_id == Event.id, later.state == "Completed")
    return [
        since,
        Event.created <= now() - timedelta(seconds=duration),
        Event.start_id.is_(None),
        Event.state != "Completed",
        ~over.correlate(Event),
    ]


@command("archiveEvents", roles=EVERYONE)
def archive(
    ctx: Context,
    ids: list[Operate[Event]] | None = None,
    type: str | None = None,
    startdate: datetime | None = None,
    enddate: datetime | None = None,
) -> None:
    """Put events of the caller's away: lists show them no longer unless they are asked for archived ones.

    ids: these
    type: those of this type
    startdate: those from this moment on
    enddate: those until this moment
    """
    meant = _meant(ctx, ids, type, startdate, enddate)
    ctx.session.execute(update(Event).where(*meant).values(archived=True).execution_options(synchronize_session=False))


@command("deleteEvents", roles=EVERYONE)
def remove(
    ctx: Context,
    ids: list[Operate[Event]] | None = None,
    type: str | None = None,
    startdate: datetime | None = None,
    enddate: datetime | None = None,
) -> None:
    """Delete events of the caller's for good.

    ids: these
    type: those of this type
    startdate: those from this moment on
    enddate: those until this moment
    """
    meant = _meant(ctx, ids, type, startdate, enddate)
    ctx.session.execute(delete(Event).where(*meant).execution_options(synchronize_session=False))


def _meant(
    ctx: Context, ids: list[Event] | None, type: str | None, start: datetime | None, end: datetime | None
) -> list[ColumnElement[bool]]:
    """Which events a call is about, inside what the caller may change. At least one limit must be given."""
    if not ids and type is None and start is None and end is None:
        raise InvalidValue("say which events: send ids, type, startdate or enddate")
    _in_order(start, end)
    found = [Event.operable_by(ctx.caller), *_between(start, end)]
    if type is not None:
        found.append(Event.type == type)
    if ids:
        found.append(Event.id.in_([e.id for e in ids]))
    if not ctx.session.scalar(select(func.count()).select_from(Event).where(*found)):
        raise InvalidValue("there are no such events: listEvents tells which there are")
    return found


@command("listEventTypes", roles=EVERYONE, key="eventtype", reads=True)
def list_types(ctx: Context) -> list[dict[str, Any]]:
    """List the types of events that this server tells."""
    return [{"name": name} for name in types()]
