"""Domains: what may be asked."""

from __future__ import annotations

from sqlalchemy import ColumnElement

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use
from mgmt_server.model.account import Domain
from mgmt_server.model.tenancy import ADMINS
from mgmt_server.resources.domain.views import domain_view


@command("listDomains", roles=ADMINS, answers=domain_view, unsupported=("tag",))
def list_domains(
    ctx: Context,
    id: Use[Domain] | None = None,
    name: str | None = None,
    level: int | None = None,
    listall: bool = False,
    details: list[str] | None = None,
    showicon: bool = False,
) -> Rows:
    """List domains.

    id: this one alone
    name: those of this name
    level: those so many levels below ROOT
    listall: those below the caller's own too, which root administrators see anyway
    details: accepted; all details are answered
    showicon: accepted; there are no icons
    """
    own = None if listall or id is not None or ctx.caller.is_root else Domain.id == ctx.caller.domain_id
    return Rows(domain_view).where(own, id=id and id.id, name=name, level=level)


@command("listDomainChildren", roles=ADMINS, answers=domain_view)
def list_children(
    ctx: Context,
    id: Use[Domain] | None = None,
    name: str | None = None,
    isrecursive: bool = False,
    listall: bool = False,
    showicon: bool = False,
) -> Rows:
    """List the domains below one.

    id: the domain; the caller's own by default
    name: those of this name
    isrecursive: those below the children too
    listall: the same as isrecursive
    showicon: accepted; there are no icons
    """
    above = id if id is not None else ctx.session.get_one(Domain, ctx.caller.domain_id)
    below: ColumnElement[bool] = Domain.parent_id == above.id
    if isrecursive or listall:
        below = Domain.path.startswith(above.path, autoescape=True) & (Domain.id != above.id)
    return Rows(domain_view).where(below, name=name)
