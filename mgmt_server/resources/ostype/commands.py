"""Guest operating systems: what a template's guest is, so that hypervisors can give it fitting hardware."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import OsCategory, OsType, Template
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import assign, free_name, unused
from mgmt_server.resources.ostype.views import os_category_view, os_type_view


@command("listOsTypes", roles=EVERYONE, answers=os_type_view)
def list_types(
    ctx: Context,
    id: Use[OsType] | None = None,
    ids: list[Use[OsType]] | None = None,
    description: str | None = None,
    oscategoryid: Use[OsCategory] | None = None,
    fordisplay: bool | None = None,
) -> Rows:
    """List guest operating systems.

    id: this one alone
    ids: these alone
    description: those with this in their name
    oscategoryid: those of this category
    fordisplay: those that are shown, or hidden; shown ones by default
    """
    rows = Rows(os_type_view).where(id=id and id.id, category_id=oscategoryid)
    if id is None and not ids:
        rows = rows.where(display=True if fordisplay is None else fordisplay)
    return rows.where(
        OsType.id.in_([t.id for t in ids]) if ids else None,
        OsType.name.icontains(description, autoescape=True) if description else None,
    )


@command("listOsCategories", roles=EVERYONE, answers=os_category_view)
def list_categories(
    ctx: Context,
    id: Use[OsCategory] | None = None,
    name: str | None = None,
    isfeatured: bool | None = None,
    zoneid: Use[Zone] | None = None,
    arch: str | None = None,
    isiso: bool | None = None,
    isvnf: bool | None = None,
    showicon: bool = False,
) -> Rows:
    """List the categories of guest operating systems.

    id: this one alone
    name: the one of this name
    isfeatured: those that are shown first
    zoneid: those with a template or ISO that the caller may use in this zone
    arch: those with one of this architecture
    isiso: those with an ISO, or with a template
    isvnf: those with a template of a network appliance, or with another one
    showicon: accepted; there are no icons
    """
    rows = Rows(os_category_view).where(id=id and id.id, name=name, featured=isfeatured)
    if all(asked is None for asked in (zoneid, arch, isiso, isvnf)):
        return rows
    there = select(OsType.category_id).join(Template, Template.os_type_id == OsType.id)
    there = there.where(Template.usable_by(ctx.caller), Template.removed.is_(None), Template.type != "SYSTEM")
    if zoneid is not None:
        ready = select(TemplateOnStore.template_id).where(TemplateOnStore.zone_id == zoneid.id)
        there = there.where(Template.id.in_(ready.where(TemplateOnStore.state == "Ready")))
    if arch:
        there = there.where(Template.arch == arch)
    if isiso is not None:
        there = there.where(Template.format == "ISO" if isiso else Template.format != "ISO")
    if isvnf is not None:
        there = there.where(Template.type == "VNF" if isvnf else Template.type != "VNF")
    return rows.where(OsCategory.id.in_(there))


@command("addOsCategory", roles=ROOT, answers=os_category_view, event="GUEST.OS.CATEGORY.ADD")
def add_category(ctx: Context, name: str, isfeatured: bool = False) -> OsCategory:
    """Add a category of guest operating systems.

    name: its name
    isfeatured: whether it is shown first
    """
    category = OsCategory(name=free_name(ctx, OsCategory, name), featured=isfeatured)
    ctx.session.add(category)
    ctx.describe(f"adding OS category {name}")
    return category


@command("updateOsCategory", roles=ROOT, answers=os_category_view, event="GUEST.OS.CATEGORY.UPDATE")
def update_category(
    ctx: Context,
    id: Operate[OsCategory],
    name: str | None = None,
    isfeatured: bool | None = None,
    sortkey: int | None = None,
) -> OsCategory:
    """Change a category of guest operating systems.

    id: the category
    name: its new name
    isfeatured: whether it is shown first
    sortkey: its place in lists, the lowest first
    """
    if name is not None and name != id.name:
        free_name(ctx, OsCategory, name)
    assign(id, {"name": name, "featured": isfeatured, "sort_key": sortkey})
    ctx.describe(f"changing OS category {id.name}")
    return id


@command("deleteOsCategory", roles=ROOT, event="GUEST.OS.CATEGORY.DELETE")
def delete_category(ctx: Context, id: Operate[OsCategory]) -> None:
    """Delete a category that has no guest operating systems.

    id: the category
    """
    unused(ctx, f"the OS category {id.name}", (OsType, OsType.category_id == id.id))
    id.removed = now()
    ctx.describe(f"deleting OS category {id.name}")
