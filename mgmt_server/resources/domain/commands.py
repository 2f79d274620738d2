"""Domains: what may be asked."""

from __future__ import annotations

from sqlalchemy import ColumnElement

from mgmt_server.allocation import limits
from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import ROOT_DOMAIN, Domain
from mgmt_server.model.tenancy import ADMIN, ADMINS, DOMAIN_ADMIN, ROOT
from mgmt_server.resources.account.totals import rows
from mgmt_server.resources.checks import domain_name
from mgmt_server.resources.domain import counts, flows, tree
from mgmt_server.resources.domain.views import brief_view, domain_view
from mgmt_server.resources.user.rows import given_uuid, hold_domain


@command(
    "listDomains",
    roles=ADMINS,
    answers=domain_view,
)
def list_domains(
    ctx: Context,
    id: Use[Domain] | None = None,
    name: str | None = None,
    level: int | None = None,
    listall: bool = False,
    details: list[str] | None = None,
    tag: str | None = None,
    showicon: bool = False,
) -> Rows:
    """List domains.

    id: this one alone
    name: those of this name
    level: those so many levels below ROOT
    listall: those below the caller's own too, which root administrators see anyway
    details: all, resource or min; min leaves out what a domain has and may have
    tag: of what is counted apart by tags of hosts and storage, tell this tag alone
    showicon: accepted; there are no icons
    """
    own = None if listall or id is not None or ctx.caller.is_root else Domain.id == ctx.caller.domain_id
    return rows(domain_view, brief_view, details, tag).where(own, id=id and id.id, name=name, level=level)


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


@command("createDomain", roles=(ADMIN, DOMAIN_ADMIN), answers=domain_view, event="DOMAIN.CREATE")
def create(
    ctx: Context,
    name: str,
    parentdomainid: Operate[Domain] | None = None,
    networkdomain: str | None = None,
    domainid: str | None = None,
) -> Domain:
    """Make a domain below another.

    name: its name, without a slash; below one domain there is one of it
    parentdomainid: the domain above; the caller's own by default
    networkdomain: network domain of the networks of its accounts, and of those below, that have none of their own
    domainid: a UUID to have, as another region knows the domain
    """
    above = hold_domain(ctx.session, parentdomainid.id if parentdomainid is not None else ctx.caller.domain_id)
    made = Domain(
        name=tree.free_name(ctx.session, above, name),
        path=tree.checked_path(f"{above.path}{name}/"),
        level=above.level + 1,
        parent_id=above.id,
        network_domain=domain_name("networkdomain", networkdomain),
    )
    if domainid is not None:
        made.uuid = given_uuid(ctx.session, Domain, "domainid", domainid)
    ctx.session.add(made)
    ctx.session.flush()
    ctx.describe(f"creating domain {made.path}")
    return made


@command("updateDomain", roles=ROOT, answers=domain_view, event="DOMAIN.UPDATE")
def update(ctx: Context, id: Operate[Domain], name: str | None = None, networkdomain: str | None = None) -> Domain:
    """Rename a domain; the paths of all below it follow.

    id: the domain
    name: the new name
    networkdomain: network domain of networks that are made from now on; empty: that of the domain above
    """
    if name is not None and name != id.name:
        _not_root(id, "renamed")
        above = hold_domain(ctx.session, id.parent_id)
        tree.free_name(ctx.session, above, name, but=id)
        tree.carry(ctx.session, id, f"{above.path}{name}/", above.level + 1)
        id.name = name
    if networkdomain is not None or ctx.emptied("networkdomain"):
        id.network_domain = domain_name("networkdomain", networkdomain)
    _forget()
    ctx.describe(f"changing domain {id.path}")
    return id


@command("moveDomain", roles=ROOT, answers=domain_view, event="DOMAIN.MOVE")
def move(ctx: Context, domainid: Operate[Domain], parentdomainid: Operate[Domain]) -> Domain:
    """Move a domain with all that is in it below another. What it has counts for the new domains above it then.

    domainid: the domain
    parentdomainid: the domain that it shall be below
    """
    _not_root(domainid, "moved")
    ctx.session.refresh(domainid, with_for_update=True)
    above = hold_domain(ctx.session, parentdomainid.id)
    if above.path.startswith(domainid.path):
        raise InvalidValue(f"the domain {domainid.name} cannot be moved below itself: choose another parentdomainid")
    if above.id == domainid.parent_id:
        raise InvalidValue(f"the domain {domainid.name} is below {above.name} already")
    tree.free_name(ctx.session, above, domainid.name)
    tree.check_networks(ctx.session, domainid, above)
    counts.follow(ctx.session, domainid, above)
    told = f"moving domain {domainid.path} to {above.path}"
    tree.carry(ctx.session, domainid, f"{above.path}{domainid.name}/", above.level + 1)
    domainid.parent_id = above.id
    _forget()
    ctx.describe(told)
    return domainid


@command("deleteDomain", roles=(ADMIN, DOMAIN_ADMIN), event="DOMAIN.DELETE")
def delete(ctx: Context, id: Operate[Domain], cleanup: bool = False) -> Accepted:
    """Delete a domain, if nothing is in it.

    id: the domain
    cleanup: whether to delete the accounts and domains in it too, with all that they own
    """
    _not_root(id, "deleted")
    if ctx.caller.domain_path.startswith(id.path):
        raise InvalidValue(f"the domain {id.name} is your own, or above it: ask an administrator of a domain above")
    if cleanup:
        flows.check_accounts(ctx.session, ctx.caller, id)
    ctx.describe(f"deleting domain {id.path}")
    return ctx.start(flows.delete, id, cleanup)


def _not_root(domain: Domain, verb: str) -> None:
    if domain.id == ROOT_DOMAIN:
        raise InvalidValue(f"the ROOT domain cannot be {verb}: everything is in it")


def _forget() -> None:
    after_commit(callers.forget)
    after_commit(limits.forget)
