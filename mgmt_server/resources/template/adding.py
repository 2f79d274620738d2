"""A template or ISO comes to be known: however its image will come, its row is made here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from mgmt_server.allocation import counted
from mgmt_server.api.context import Context
from mgmt_server.api.view import View
from mgmt_server.db import new_uuid
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.template import Template, TemplateInZone
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import flows

NO_ROOM = (
    "the zone has no secondary storage that can be written to and has room: add one with addImageStore, or make room"
)


def add(ctx: Context, whose: Account, **columns: Any) -> Template:
    """A new template of an account, counted and not in any zone yet."""
    uuid = new_uuid()
    columns = {name: value for name, value in columns.items() if value is not None}
    template = Template(
        uuid=uuid,
        account_id=whose.id,
        domain_id=whose.domain_id,
        unique_name=f"{whose.id}-{uuid}",
        **({"display_text": columns["name"], "details": {}} | columns),
    )
    ctx.session.add(template)
    ctx.session.flush()
    counted.template_comes(ctx.session, template)
    return template


def fetched(ctx: Context, template: Template, zones: Sequence[Zone], store: ImageStore | None, view: View) -> list[Any]:
    """Have its image fetched into zones, as far as it has to be: what a list would show of each."""
    for zone in zones:
        flows.start_download(ctx.session, template, zone.id, store)
    ctx.session.flush()
    return in_zones(ctx, template, view)


def in_zones(ctx: Context, template: Template, view: View) -> list[Any]:
    rows = select(TemplateInZone.id).where(TemplateInZone.template_id == template.id, TemplateInZone.removed.is_(None))
    numbers = ctx.session.scalars(rows.order_by(TemplateInZone.id)).all()
    return [view.one(ctx.session, ctx.caller, number) for number in numbers]


def store_for(ctx: Context, zone: Zone) -> ImageStore:
    """Where a new image of the zone shall go. Raises InvalidValue where there is no room."""
    found = flows.stores_of(ctx.session, zone.id)
    if not found:
        raise InvalidValue(NO_ROOM)
    return found[0]
