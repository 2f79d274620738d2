"""Events and alerts: what happened, for tenants and for operators."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_

from mgmt_server.api.command import command, registry
from mgmt_server.api.context import Context
from mgmt_server.api.facts import of_command
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.event import Alert, Event
from mgmt_server.model.tenancy import ADMIN, EVERYONE, RESOURCE_ADMIN
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.event.views import alert_view, event_view

LEVELS, STATES = ("INFO", "WARN", "ERROR"), ("Created", "Scheduled", "Started", "Completed")


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
    duration: with entrytime, those that began their work so many seconds before their last entry
    entrytime: those of the last so many seconds
    resourceid: those about this entity
    resourcetype: with resourceid, what it is, such as VirtualMachine
    archived: archived ones too
    """
    if duration is not None:
        raise InvalidValue("duration is not supported in this version: use startdate and enddate")
    if startdate is not None and enddate is not None and enddate < startdate:
        raise InvalidValue("enddate is before startdate")
    if resourcetype and not resourceid:
        raise InvalidValue("resourcetype goes with resourceid: send both")
    since = now() - timedelta(seconds=entrytime) if entrytime is not None and 0 < entrytime < 10**9 else None
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
        .where(
            begun,
            Event.created >= startdate if startdate is not None else None,
            Event.created <= enddate if enddate is not None else None,
            Event.created >= since if since is not None else None,
            None if archived else ~Event.archived,
        )
    )


@command("listEventTypes", roles=EVERYONE, key="eventtype", reads=True)
def list_types(ctx: Context) -> list[dict[str, Any]]:
    """List the types of events that commands of this server tell."""
    told = {c.event for c in registry.values() if c.event}
    for name in registry:
        known = of_command(name) or {}
        told.update(known.get("events", ()), known.get("actionEvents", ()))
    return [{"name": name} for name in sorted(told)]


@command("listAlerts", roles=(ADMIN, RESOURCE_ADMIN), answers=alert_view)
def list_alerts(ctx: Context, id: Use[Alert] | None = None, name: str | None = None, type: str | None = None) -> Rows:
    """List alerts, the latest first.

    id: this one alone
    name: those of this name
    type: those of this type, a number
    """
    if type is not None and not type.strip().isdecimal():
        raise InvalidValue(f"type={type[:100]} is no number: alerts' types are numbers")
    rows = Rows(alert_view).where(id=id and id.id, name=name, type=int(type) if type else None)
    return rows.where(~Alert.archived)
