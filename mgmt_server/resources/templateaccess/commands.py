"""Which templates somebody may use: the list of them, and who may."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import IntegrityError

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, narrowed
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.storage import ImageStore, Pool, TemplateOnPool, TemplateOnStore
from mgmt_server.model.template import LaunchPermission, OsCategory, OsType, Template, TemplateInZone
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.offering.rules import absent
from mgmt_server.resources.template.commands import account_named
from mgmt_server.resources.template.rules import check_visibility
from mgmt_server.resources.template.views import template_view

FILTERS = ("featured", "self", "selfexecutable", "shared", "sharedexecutable", "executable", "community", "all")


@command(
    "listTemplates",
    roles=EVERYONE,
    answers=template_view,
    unsupported=("extensionid", "parenttemplateid"),
)
def list_templates(
    ctx: Context,
    templatefilter: str,
    id: Use[Template] | None = None,
    ids: list[Use[Template]] | None = None,
    name: str | None = None,
    hypervisor: str | None = None,
    zoneid: Use[Zone] | None = None,
    isready: bool | None = None,
    arch: str | None = None,
    templatetype: str | None = None,
    oscategoryid: Use[OsCategory] | None = None,
    imagestoreid: Use[ImageStore] | None = None,
    storageid: Use[Pool] | None = None,
    showunique: bool = False,
    showremoved: bool = False,
    details: list[str] | None = None,
    showicon: bool = False,
    isvnf: bool = False,
    forcks: bool = False,
) -> Rows:
    """List templates, once for each zone that they are in.

    templatefilter: featured, self, selfexecutable, shared, sharedexecutable, executable, community or all
    id: this one alone
    ids: these alone
    name: those of this name
    hypervisor: those for this hypervisor
    zoneid: those in this zone
    isready: those whose image is, or is not, on secondary storage
    arch: x86_64 or aarch64
    templatetype: USER, BUILTIN or SYSTEM
    oscategoryid: those with an operating system of this category
    imagestoreid: those on this secondary storage
    storageid: those cached on this primary storage
    showunique: each template once, not once for each zone
    showremoved: deleted ones too
    details: accepted; all details are answered
    showicon: accepted; there are no icons
    isvnf: not supported; false is accepted
    forcks: not supported; false is accepted
    """
    absent(isvnf=isvnf, forcks=forcks)
    chosen = one_of("templatefilter", templatefilter, FILTERS) or ""
    conditions = _filtered(ctx, chosen)
    if ids:
        conditions.append(Template.id.in_([t.id for t in ids]))
    if chosen.endswith("executable"):
        isready = True if isready is None else isready
    if isready is not None:
        conditions.append(_on_store("Ready") if isready else ~_on_store("Ready"))
    if imagestoreid is not None:
        conditions.append(_on_store(None, imagestoreid.id))
    if storageid is not None:
        cached = select(TemplateOnPool.template_id).where(TemplateOnPool.pool_id == storageid.id)
        conditions.append(Template.id.in_(cached))
    if showunique:
        first = select(func.min(TemplateInZone.id)).where(TemplateInZone.removed.is_(None))
        conditions.append(TemplateInZone.id.in_(first.group_by(TemplateInZone.template_id)))
    equal = (
        (Template.id, id and id.id),
        (Template.name, name),
        (Template.hypervisor, hypervisor),
        (Template.arch, arch),
        (Template.type, templatetype and templatetype.upper()),
        (TemplateInZone.zone_id, zoneid and zoneid.id),
        (OsType.category_id, oscategoryid and oscategoryid.id),
    )
    conditions += [column == value for column, value in equal if value is not None]
    return Rows(template_view, scope=_scope(ctx), narrow=False, removed=showremoved).where(*conditions)


def _scope(ctx: Context) -> ColumnElement[bool]:
    """What the caller may see at all: templates, and of those the entries of zones that the caller may see."""
    mine = Template.usable_by(ctx.caller)
    if ctx.caller.is_root:
        return mine
    return mine & TemplateInZone.zone_id.in_(select(Zone.id).where(Zone.usable_by(ctx.caller)))


def _filtered(ctx: Context, chosen: str) -> list[ColumnElement[bool]]:
    caller = ctx.caller
    if chosen == "featured":
        return [Template.featured.is_(True), Template.public.is_(True)]
    if chosen == "community":
        return [Template.public.is_(True), ~Template.featured, Template.type != "SYSTEM"]
    if chosen.startswith("shared"):
        return [Template.shared_with(caller)]
    if chosen == "all":
        if not caller.is_root:
            raise InvalidValue("templatefilter=all is for root administrators: use executable or self")
        asked = any(ctx.sent.get(k) for k in ("account", "domainid", "projectid"))
        return list(narrowed(ctx, ctx.session, TemplateInZone)) if asked else []
    own: list[ColumnElement[bool]] = narrowed(ctx, ctx.session, TemplateInZone)
    if chosen.startswith("self"):
        return [*own, Template.operable_by(caller)] if not caller.is_root else own
    together = Template.offered(caller)
    for condition in own[:1]:
        together = together | condition
    return [together, Template.type != "SYSTEM"] if own else [Template.type != "SYSTEM"]


def _on_store(state: str | None, store: int | None = None) -> ColumnElement[bool]:
    rows = select(TemplateOnStore.id).where(
        TemplateOnStore.template_id == TemplateInZone.template_id, TemplateOnStore.zone_id == TemplateInZone.zone_id
    )
    if state is not None:
        rows = rows.where(TemplateOnStore.state == state)
    if store is not None:
        rows = rows.where(TemplateOnStore.store_id == store)
    there = select(ImageStore.id).where(ImageStore.removed.is_(None))
    return rows.where(TemplateOnStore.store_id.in_(there)).correlate(TemplateInZone).exists()


@command("listTemplatePermissions", roles=EVERYONE, key="templatepermission", reads=True)
def list_permissions(ctx: Context, id: Operate[Template]) -> dict[str, Any]:
    """Tell which accounts and projects may use a template.

    id: the template
    """
    domain = ctx.session.get_one(Domain, id.domain_id)
    accounts = select(Account).join(LaunchPermission, LaunchPermission.account_id == Account.id)
    found = list(ctx.session.scalars(accounts.where(LaunchPermission.template_id == id.id).order_by(Account.name)))
    known = select(Project.account_id, Project.uuid).where(Project.account_id.in_([a.id for a in found]))
    projects = {number: uuid for number, uuid in ctx.session.execute(known)}  # noqa: C416  rows are no pairs to mypy
    answer: dict[str, Any] = {"id": id.uuid, "ispublic": id.public, "domainid": domain.uuid}
    names = [a.name for a in found if a.id not in projects]
    return (
        answer | ({"account": names} if names else {}) | ({"projectids": list(projects.values())} if projects else {})
    )


@command("updateTemplatePermissions", roles=EVERYONE)
def update_permissions(
    ctx: Context,
    id: Operate[Template],
    op: str | None = None,
    accounts: list[str] | None = None,
    projectids: list[Use[Project]] | None = None,
    ispublic: bool | None = None,
    isfeatured: bool | None = None,
    isextractable: bool | None = None,
) -> None:
    """Change who may use a template.

    id: the template
    op: add, remove or reset; reset makes it private
    accounts: names of accounts in the template's domain
    projectids: projects
    ispublic: whether everybody may use it
    isfeatured: whether it is shown first
    isextractable: whether it may be downloaded
    """
    check_visibility(ctx, ctx.session.get_one(Account, id.account_id), ispublic, isfeatured)
    named = bool(accounts or projectids)
    if op is not None and op not in ("add", "remove", "reset"):
        raise InvalidValue(
            f"Given operation is '{op[:100]}': it is add or remove with accounts or projectids, or reset"
        )
    if named and op not in ("add", "remove"):
        raise InvalidValue("accounts and projectids need op=add or op=remove")
    if not named and op in ("add", "remove"):
        raise InvalidValue(f"op={op} needs accounts or projectids")
    if op == "reset":
        ctx.session.execute(delete(LaunchPermission).where(LaunchPermission.template_id == id.id))
        id.public = id.featured = False
    whom = [account_named(ctx, id, name).id for name in accounts or []] + [p.account_id for p in projectids or []]
    for number in whom:
        _permit(ctx, id.id, number, allowed=op == "add")
    for column, value in (("public", ispublic), ("featured", isfeatured), ("extractable", isextractable)):
        if value is not None:
            setattr(id, column, value)
    ctx.describe(f"changing who may use template {id.name}")
    ctx.event("TEMPLATE.UPDATE", id)


def _permit(ctx: Context, template: int, account: int, *, allowed: bool) -> None:
    if allowed:
        try:
            with ctx.session.begin_nested():
                ctx.session.add(LaunchPermission(template_id=template, account_id=account))
        except IntegrityError:
            return  # it may already
    else:
        mine = LaunchPermission.template_id == template, LaunchPermission.account_id == account
        ctx.session.execute(delete(LaunchPermission).where(*mine))
