"""Who may use a template or an ISO that is not public: told, and changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from mgmt_server.api.context import Context
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.template import LaunchPermission, Template
from mgmt_server.resources.checks import assign
from mgmt_server.resources.template import appliance
from mgmt_server.resources.template.commands import account_named
from mgmt_server.resources.template.rules import check_visibility


def told(ctx: Context, template: Template) -> dict[str, Any]:
    """Which accounts and projects may use it."""
    domain = ctx.session.get_one(Domain, template.domain_id)
    accounts = select(Account).join(LaunchPermission, LaunchPermission.account_id == Account.id)
    found = list(
        ctx.session.scalars(accounts.where(LaunchPermission.template_id == template.id).order_by(Account.name))
    )
    known = select(Project.account_id, Project.uuid).where(Project.account_id.in_([a.id for a in found]))
    projects = {number: uuid for number, uuid in ctx.session.execute(known)}  # noqa: C416  rows are no pairs to mypy
    answer: dict[str, Any] = {"id": template.uuid, "ispublic": template.public, "domainid": domain.uuid}
    names = [a.name for a in found if a.id not in projects]
    return (
        answer | ({"account": names} if names else {}) | ({"projectids": list(projects.values())} if projects else {})
    )


def change(
    ctx: Context,
    template: Template,
    op: str | None,
    accounts: Sequence[str] | None,
    projects: Sequence[Project] | None,
    *,
    public: bool | None,
    featured: bool | None,
    extractable: bool | None,
) -> None:
    """Add or remove accounts and projects, or make it private again; and its flags."""
    check_visibility(ctx, ctx.session.get_one(Account, template.account_id), public, featured)
    named = bool(accounts or projects)
    if op is not None and op not in ("add", "remove", "reset"):
        raise InvalidValue(
            f"Given operation is '{op[:100]}': it is add or remove with accounts or projectids, or reset"
        )
    if named and op not in ("add", "remove"):
        raise InvalidValue("accounts and projectids need op=add or op=remove")
    if not named and op in ("add", "remove"):
        raise InvalidValue(f"op={op} needs accounts or projectids")
    whom = [account_named(ctx, template, name).id for name in accounts or []]
    whom += [p.account_id for p in projects or []]
    for each in appliance.family(ctx.session, template):
        if op == "reset":
            mine = LaunchPermission.template_id == each.id
            ctx.session.execute(delete(LaunchPermission).where(mine).execution_options(synchronize_session=False))
            each.public = each.featured = False
        for number in whom:
            _permit(ctx, each.id, number, allowed=op == "add")
        assign(each, {"public": public, "featured": featured, "extractable": extractable})


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
