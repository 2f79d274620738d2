"""What templates and ISOs have in common when they are changed and deleted."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select

from mgmt_server.api.context import Context
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import flows


def renewed(details: dict[str, str] | None, forgotten: bool) -> dict[str, str] | None:
    """The details from now on; None leaves them."""
    if forgotten and details:
        raise InvalidValue("cleanupdetails forgets what details would set: send one of them")
    return {} if forgotten else details


def machines_with(ctx: Context, uses: ColumnElement[bool], zone: Zone | None) -> str:
    """Machines, in a zone or anywhere, that use it: the caller's by name, a few of them; empty for none."""
    mine = Vm.usable_by(ctx.caller)
    rows = select(Vm.name, mine).where(uses, Vm.removed.is_(None), Vm.state != "Expunging").order_by(mine.desc())
    if zone is not None:
        rows = rows.where(Vm.zone_id == zone.id)
    found = ctx.session.execute(rows.limit(4)).all()
    names = [name if known else "machines of other accounts" for name, known in found[:3]]
    return ", ".join(dict.fromkeys(names)) + (", ..." if len(found) > 3 else "")


def remove(ctx: Context, template: Template, zone: Zone | None) -> Accepted:
    """Out of one zone or all: at once for those who look for it, by a job from secondary storage."""
    place = zone.id if zone is not None else None
    flows.forget(ctx.session, template, place)
    return ctx.start(flows.delete, template, place)
