"""Alerts: what operators should know."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import ColumnElement, func, select, update

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account
from mgmt_server.model.event import Alert
from mgmt_server.model.tenancy import ADMIN, RESOURCE_ADMIN, ROOT
from mgmt_server.model.zone import Pod, Zone
from mgmt_server.resources.alert import flows
from mgmt_server.resources.alert.kinds import TYPES
from mgmt_server.resources.alert.views import alert_view

Text = Annotated[str, Length(999)]
LAST_TYPE = 32767


def _number(type: str | None) -> int | None:
    if type is None:
        return None
    if not type.strip().isdecimal():
        raise InvalidValue(f"type={type[:100]} is no number: alerts' types are numbers, listAlertTypes names them")
    return int(type)


@command("listAlerts", roles=(ADMIN, RESOURCE_ADMIN), answers=alert_view)
def list_alerts(ctx: Context, id: Use[Alert] | None = None, name: str | None = None, type: str | None = None) -> Rows:
    """List alerts, the latest first.

    id: this one alone
    name: those of this name
    type: those of this type, a number
    """
    return Rows(alert_view).where(id=id and id.id, name=name, type=_number(type)).where(~Alert.archived)


@command("archiveAlerts", roles=ROOT)
def archive(
    ctx: Context,
    ids: list[Operate[Alert]] | None = None,
    type: str | None = None,
    startdate: datetime | None = None,
    enddate: datetime | None = None,
) -> None:
    """Put alerts away: lists show them no longer. What lasts is not told again.

    ids: these
    type: those of this type, a number
    startdate: those from this moment on
    enddate: those until this moment
    """
    _change(ctx, _meant(ctx, ids, type, startdate, enddate), archived=True)


@command("deleteAlerts", roles=ROOT)
def remove(
    ctx: Context,
    ids: list[Operate[Alert]] | None = None,
    type: str | None = None,
    startdate: datetime | None = None,
    enddate: datetime | None = None,
) -> None:
    """Delete alerts. What lasts is not told again.

    ids: these
    type: those of this type, a number
    startdate: those from this moment on
    enddate: those until this moment
    """
    _change(ctx, _meant(ctx, ids, type, startdate, enddate), removed=now())


def _change(ctx: Context, meant: list[ColumnElement[bool]], **values: Any) -> None:
    ctx.session.execute(update(Alert).where(*meant).values(**values).execution_options(synchronize_session=False))


def _meant(
    ctx: Context, ids: list[Alert] | None, type: str | None, start: datetime | None, end: datetime | None
) -> list[ColumnElement[bool]]:
    """Which alerts a call is about. At least one limit must be given."""
    if not ids and type is None and start is None and end is None:
        raise InvalidValue("say which alerts: send ids, type, startdate or enddate")
    if start is not None and end is not None and end < start:
        raise InvalidValue("enddate is before startdate")
    found: list[ColumnElement[bool]] = [Alert.removed.is_(None)]
    if ids:
        found.append(Alert.id.in_([a.id for a in ids]))
    if type is not None:
        found.append(Alert.type == _number(type))
    found += [Alert.created >= start] if start is not None else []
    found += [Alert.created <= end] if end is not None else []
    if not ctx.session.scalar(select(func.count()).select_from(Alert).where(*found)):
        raise InvalidValue("there are no such alerts: listAlerts tells which there are")
    return found


@command("listAlertTypes", roles=ROOT, key="alerttype", reads=True)
def list_types(ctx: Context) -> list[dict[str, Any]]:
    """List the types of alerts, by number."""
    return [{"alerttypeid": number, "name": name} for name, number in TYPES.items()]


@command("generateAlert", roles=ROOT, event="ALERT.GENERATE")
def generate(
    ctx: Context,
    type: int,
    name: str,
    description: Text,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
) -> Accepted:
    """Raise an alert: operators read it in the list, and in their mail where that is set up.

    type: its type, a number; with one of listAlertTypes, the name must be that type's
    name: its name
    description: what it says
    zoneid: the zone that it is about
    podid: the pod that it is about
    """
    if not 0 <= type <= LAST_TYPE:
        raise InvalidValue(f"type={type} is no type of an alert: send a number from 0 to {LAST_TYPE}")
    names = [n for n, number in TYPES.items() if number == type]
    if names and name not in names:
        raise InvalidValue(f"There is a default alert having type {type} and name {names[0]}: send that name")
    if podid is not None and zoneid is not None and podid.zone_id != zoneid.id:
        raise InvalidValue(f"the pod {podid.name} is not in the zone {zoneid.name}")
    ctx.describe(f"raising the alert {name}")
    me = ctx.session.get_one(Account, ctx.caller.account_id)
    zone = zoneid.id if zoneid else podid.zone_id if podid else None
    return ctx.start(flows.generate, me, type, name, description, zone, podid.id if podid else None, lock="alerts")
