"""Which templates and ISOs a list shows: who may see them, and what its filters leave."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select

from mgmt_server.api.context import Context
from mgmt_server.api.listing import narrowed
from mgmt_server.errors import InvalidValue
from mgmt_server.model.storage import ImageStore, Pool, TemplateOnPool, TemplateOnStore
from mgmt_server.model.template import Template, TemplateInZone
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import one_of

FILTERS = ("featured", "self", "selfexecutable", "shared", "sharedexecutable", "executable", "community", "all")


def chosen_by(
    ctx: Context,
    parameter: str,
    text: str,
    *,
    isready: bool | None,
    store: ImageStore | None,
    pool: Pool | None,
    once: bool,
) -> list[ColumnElement[bool]]:
    """The conditions of a list's filters. `once`: each template once, not once for each zone."""
    chosen = one_of(parameter, text, FILTERS) or ""
    conditions = filtered(ctx, parameter, chosen)
    if chosen.endswith("executable") and isready is None and parameter == "templatefilter":
        isready = True
    if isready:  # false asks for no more than it does when it is left out: clients send it with all they look for
        conditions.append(on_store("Ready"))
    if store is not None:
        conditions.append(on_store(None, store.id))
    if pool is not None:
        cached = select(TemplateOnPool.template_id).where(TemplateOnPool.pool_id == pool.id)
        conditions.append(Template.id.in_(cached))
    if once:
        first = select(func.min(TemplateInZone.id)).where(TemplateInZone.removed.is_(None), scope(ctx))
        first = first.join(Template, Template.id == TemplateInZone.template_id)
        conditions.append(TemplateInZone.id.in_(first.group_by(TemplateInZone.template_id)))
    return conditions


def scope(ctx: Context) -> ColumnElement[bool]:
    """What the caller may see at all: templates, and of those the entries of zones that the caller may see."""
    mine = Template.usable_by(ctx.caller)
    if ctx.caller.is_root:
        return mine
    return mine & TemplateInZone.zone_id.in_(select(Zone.id).where(Zone.usable_by(ctx.caller)))


def filtered(ctx: Context, parameter: str, chosen: str) -> list[ColumnElement[bool]]:
    """What a filter leaves of what the caller may see."""
    caller = ctx.caller
    if chosen == "featured":
        return [Template.featured.is_(True), Template.public.is_(True)]
    if chosen == "community":
        return [Template.public.is_(True), ~Template.featured, Template.type != "SYSTEM"]
    if chosen.startswith("shared"):
        return [Template.shared_with(caller)]
    if chosen == "all":
        if not caller.is_root:
            raise InvalidValue(f"{parameter}=all is for root administrators: use executable or self")
        asked = any(ctx.sent.get(k) for k in ("account", "domainid", "projectid"))
        return list(narrowed(ctx, ctx.session, TemplateInZone)) if asked else []
    own: list[ColumnElement[bool]] = narrowed(ctx, ctx.session, TemplateInZone)
    if chosen.startswith("self"):
        return [*own, Template.operable_by(caller)] if not caller.is_root else own
    together = Template.offered(caller)
    for condition in own[:1]:
        together = together | condition
    return [together, Template.type != "SYSTEM"] if own else [Template.type != "SYSTEM"]


def on_store(state: str | None, store: int | None = None) -> ColumnElement[bool]:
    rows = select(TemplateOnStore.id).where(
        TemplateOnStore.template_id == TemplateInZone.template_id, TemplateOnStore.zone_id == TemplateInZone.zone_id
    )
    if state is not None:
        rows = rows.where(TemplateOnStore.state == state)
    if store is not None:
        rows = rows.where(TemplateOnStore.store_id == store)
    return rows.where(TemplateOnStore.reachable()).correlate(TemplateInZone).exists()
