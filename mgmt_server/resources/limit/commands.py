"""Limits of accounts, domains and projects, and the counts that are held against them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update

from mgmt_server.allocation import limits
from mgmt_server.allocation.limits import Owner, key_of
from mgmt_server.api.callers import ROLE_OF_TYPE
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue, NotPermitted
from mgmt_server.model.account import ROOT_DOMAIN, Account, Domain, Project, Role
from mgmt_server.model.limit import MOST, SOME_LIMIT, TYPES, UNLIMITED, USED, ResourceCount, most_of, used_of
from mgmt_server.model.tenancy import ADMINS, EVERYONE, USER
from mgmt_server.resources.account.rights import RANKS
from mgmt_server.resources.limit import recount
from mgmt_server.resources.limit.owners import Of, account_of, domain_of, of_caller, project_of

LARGEST = 1 << 31
LIMITS_A_ROW = 100


@command("listResourceLimits", roles=EVERYONE, key="", reads=True)
def list_limits(
    ctx: Context,
    id: int | None = None,
    resourcetype: int | None = None,
    resourcetypename: str | None = None,
    tag: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> dict[str, Any]:
    """List the limits of an account, a domain or a project; the caller's own by default.

    id: one limit that was set, by its number: that of its row, two digits more for the type
    resourcetype: of this type alone: 0 machines, 1 public addresses, 2 volumes, 3 snapshots, 4 templates ...
    resourcetypename: of the type of this name alone, such as user_vm
    tag: what is limited for this tag of hosts or storage
    account: of this account; of the caller's domain, or of domainid
    domainid: of this domain, or with account of an account in it
    projectid: of this project
    """
    types = [_type(resourcetype, resourcetypename)] if resourcetype is not None or resourcetypename else list(TYPES)
    only: tuple[str, str] | None = None
    if id is not None:
        number, of = divmod(id, LIMITS_A_ROW)
        type = next((t for t, (n, _) in TYPES.items() if n == of), "")
        row = ctx.session.scalar(select(ResourceCount).where(ResourceCount.id == number))
        seen = _visible(ctx, row) if row is not None and type in most_of(row) else None
        if row is None or seen is None:
            return {}
        owner, only = seen, (type, row.tag)
    else:
        owner = _owner(ctx, account, domainid, projectid)
    shown = [(t, g) for t in types for g in _tags(t, tag) if only in (None, (t, g))]
    if only and only[0] in types and not shown:
        shown = [only]
    own = _set(ctx, owner)
    answer = [owner.told() | _type_told(t, g) | {"max": own.get((t, g), _default(owner, t, g))} for t, g in shown]
    return _page(ctx, "resourcelimit", answer)


@command("updateResourceLimit", roles=ADMINS, event="RESOURCE.LIMIT.UPDATE", key="resourcelimit")
def update_limit(
    ctx: Context,
    resourcetype: int,
    max: int = UNLIMITED,
    tag: str | None = None,
    account: str | None = None,
    domainid: Operate[Domain] | None = None,
    projectid: Operate[Project] | None = None,
) -> dict[str, Any]:
    """Set a limit of an account, a domain or a project. What is there stays, also when it is more.

    resourcetype: what is limited: 0 machines, 1 public addresses, 2 volumes, 3 snapshots, 4 templates, 5 projects, ...
    max: how many, storage in GiB, memory in MiB; -1 for any number
    tag: limits what is on hosts or storage of this tag
    account: whose limit; with domainid
    domainid: the account's domain, or the domain that is limited
    projectid: the project that is limited
    """
    type = _type(resourcetype, None)
    if not UNLIMITED <= max <= LARGEST:
        raise InvalidValue(f"max={max} is no limit: send -1 for any number, or 0 to {LARGEST}")
    if tag is not None and tag not in _known_tags(type):
        raise InvalidValue(
            f"tag={tag[:100]} is not limited for {type}: name it in the setting resource.limit.host.tags (machines, "
            "cores, memory) or resource.limit.storage.tags (volumes and their size) first"
        )
    if not (account or domainid or projectid):
        raise InvalidValue("account with domainid, domainid or projectid is missing: say whose limit is meant")
    owner = _owner(ctx, account, domainid, projectid)
    _may_limit(ctx, owner, type, max, tag or "")
    place = Owner(owner.key, owner.kind, owner.account_id, owner.limited_domain, owner.depth)
    limits.make_rows(ctx.session, [(place, tag or "")])
    row = update(ResourceCount).where(ResourceCount.key == key_of(owner.key, tag or ""))
    row = row.values({MOST[type]: limits.kept(max, type)}).execution_options(synchronize_session=False)
    ctx.session.execute(row)
    after_commit(limits.forget)
    ctx.describe(f"setting the limit of {type}{f' with tag {tag}' if tag else ''} for {owner.spoken} to {max}")
    return owner.told() | _type_told(type, tag or "") | {"max": max}


@command("updateResourceCount", roles=ADMINS, key="resourcecount", outside=True)
def update_count(
    ctx: Context,
    domainid: Operate[Domain],
    account: str | None = None,
    projectid: Operate[Project] | None = None,
    resourcetype: int | None = None,
    tag: str | None = None,
) -> list[dict[str, Any]]:
    """Count anew what a domain, an account or a project has, and put right what was counted wrong.

    domainid: the domain, with all below it; with account, that account's domain
    account: this account alone
    projectid: this project alone
    resourcetype: this type alone
    tag: what is on hosts or storage of this tag alone
    """
    types = [_type(resourcetype, None)] if resourcetype is not None else list(TYPES)
    if projectid is not None and projectid.domain_id != domainid.id:
        raise InvalidValue(f"the project {projectid.name} is not in the domain {domainid.name}: send its own domainid")
    owner = _owner(ctx, account, None if projectid else domainid, projectid)
    _administers(ctx, owner)
    if owner.account_id is not None:
        recount.repair_all([owner.account_id], [], types, tag)
    else:
        inside = select(Domain.id).where(Domain.path.startswith(domainid.path, autoescape=True))
        domains = list(ctx.session.scalars(inside))
        accounts = ctx.session.scalars(select(Account.id).where(Account.domain_id.in_(domains)))
        recount.repair_all(list(accounts), [d for d in domains if d != ROOT_DOMAIN], types, tag)
    used = _used(ctx, owner)
    shown = [(t, g) for t in types for g in _tags(t, tag)]
    return [owner.told() | _type_told(t, g) | {"resourcecount": used.get((t, g), 0)} for t, g in shown]


def _type(number: int | None, name: str | None) -> str:
    """The type that is meant. Raises InvalidValue."""
    by_number = {n: t for t, (n, _) in TYPES.items()}
    if name is not None:
        if name.lower() not in TYPES:
            raise InvalidValue(f"resourcetypename={name[:50]} is none of {', '.join(TYPES)}")
        if number is not None and by_number.get(number) != name.lower():
            raise InvalidValue("resourcetype and resourcetypename say different things: send one of them")
        return name.lower()
    if number not in by_number:
        known = ", ".join(f"{n} {t}" for n, t in by_number.items())
        raise InvalidValue(f"resourcetype={number} is none of {known}")
    return by_number[number]


def _known_tags(type: str) -> list[str]:
    setting = limits.COUNTED_TAGS.get(type)
    return setting.words() if setting else []


def _tags(type: str, tag: str | None) -> list[str]:
    """What is shown of a type: all of it and what is limited apart, or the tag that was asked for."""
    known = _known_tags(type)
    return ["", *known] if tag is None else [t for t in known if t == tag]


def _owner(ctx: Context, account: str | None, domain: Domain | None, project: Project | None) -> Of:
    if project is not None:
        if account:
            raise InvalidValue("account and projectid exclude each other: send one of them")
        return project_of(ctx.session, project)
    if account:
        return account_of(ctx, account, domain)
    return domain_of(domain) if domain is not None else of_caller(ctx)


def _visible(ctx: Context, row: ResourceCount) -> Of | None:
    """Whose limit a row holds, if the caller may know."""
    if row.domain_id is not None:
        found = ctx.session.scalar(select(Domain).where(Domain.id == row.domain_id, Domain.usable_by(ctx.caller)))
        return domain_of(found) if found is not None else None
    rows = select(Account).where(Account.id == row.account_id, Account.usable_by(ctx.caller))
    account = ctx.session.scalar(rows)
    if account is None:
        return None
    project = ctx.session.scalar(select(Project).where(Project.account_id == account.id))
    return project_of(ctx.session, project) if project else Of.of(ctx.session, account)


def _set(ctx: Context, owner: Of) -> dict[tuple[str, str], int]:
    """Limits that somebody set, for a domain also those of the nearest above it; in the unit of the API."""
    if owner.kind == "free":
        return {}
    rows = ctx.session.scalars(select(ResourceCount).where(owner.rows(), SOME_LIMIT))
    above = limits.inherited(owner.path) if owner.limited_domain is not None else {}
    held = above | {(type, row.tag): most for row in rows for type, most in most_of(row).items()}
    return {(type, tag): limits.spoken(most, type) for (type, tag), most in held.items()}


def _default(owner: Of, type: str, tag: str) -> int:
    return UNLIMITED if tag else limits.default(owner.kind, type)


def _used(ctx: Context, owner: Of) -> dict[tuple[str, str], int]:
    """What is counted; storage in bytes, as the protocol has it."""
    if owner.limited_domain == ROOT_DOMAIN:  # for which nothing is kept
        sums = (func.sum(USED[type]) for type in TYPES)
        rows = select(ResourceCount.tag, *sums).where(ResourceCount.account_id.is_not(None))
        found = ctx.session.execute(rows.group_by(ResourceCount.tag))
        return {(type, tag): int(used) for tag, *all in found for type, used in zip(TYPES, all, strict=True)}
    counts = ctx.session.scalars(select(ResourceCount).where(owner.rows()))
    return {(type, row.tag): used for row in counts for type, used in used_of(row).items()}


def _type_told(type: str, tag: str) -> dict[str, Any]:
    told: dict[str, Any] = {"resourcetype": str(TYPES[type][0]), "resourcetypename": type}
    return told | {"tag": tag} if tag else told


def _page(ctx: Context, key: str, answer: list[dict[str, Any]]) -> dict[str, Any]:
    number, size = page_of(ctx.sent)
    shown = answer if size < 0 else answer[(max(number, 1) - 1) * size : max(number, 1) * size]
    if not answer:
        return {}
    return {"count": len(answer), key: shown} if shown else {"count": len(answer)}


def _administers(ctx: Context, owner: Of) -> None:
    """Being a member of a project elsewhere is not enough: its domain has to be the caller's, or below it."""
    if not ctx.caller.is_root and not owner.path.startswith(ctx.caller.domain_path):
        raise NotPermitted(f"{owner.spoken} belongs to a domain that you do not administer")


def _may_limit(ctx: Context, owner: Of, type: str, max: int, tag: str) -> None:
    """Nobody raises their own, and a domain has no more than the one above it."""
    caller = ctx.caller
    _administers(ctx, owner)
    if owner.limited_domain == ROOT_DOMAIN:
        raise NotPermitted("the domain ROOT has no limits")
    if owner.kind == "free" and (max != UNLIMITED or not caller.is_root):
        raise InvalidValue(f"{owner.spoken} is a root administrator's account, which has no limits: only max=-1 fits")
    mine = owner.account_id == caller.account_id or owner.limited_domain == caller.domain_id
    if mine and not caller.is_root:
        raise NotPermitted("nobody changes the limits of their own account or domain: ask an administrator above you")
    if owner.account_id is not None and owner.kind != "project":
        _check_rank(ctx, ctx.session.get_one(Account, owner.account_id), owner)
    if owner.limited_domain is not None:
        _not_above_parent(ctx, owner, type, max, tag)


def _check_rank(ctx: Context, account: Account, owner: Of) -> None:
    """Nobody limits who may do more than they may."""
    role = ctx.session.get(Role, account.role_id) if account.role_id is not None else None
    if RANKS[role.type if role is not None else ROLE_OF_TYPE.get(account.type, USER)] > RANKS[ctx.caller.role]:
        raise NotPermitted(f"{owner.spoken} may do more than you: ask an administrator of that rank")


def _not_above_parent(ctx: Context, owner: Of, type: str, max: int, tag: str) -> None:
    domain = ctx.session.get_one(Domain, owner.limited_domain)
    if domain.parent_id in (None, ROOT_DOMAIN):
        return
    parent = domain_of(ctx.session.get_one(Domain, domain.parent_id))
    most = _set(ctx, parent).get((type, tag), _default(parent, type, tag))
    if most != UNLIMITED and max > most:
        raise InvalidValue(
            f"max={max} is more than the limit of {parent.spoken} above it, which is {most}: send {most} at most"
        )
