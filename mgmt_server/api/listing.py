"""Lists: a view, narrowed by what was asked, inside the caller's scope, one page of it.

The scope comes from the table (`usable_by`); account, domainid, isrecursive, listall and projectid only narrow it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Integer, ScalarSelect, Select, bindparam, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import False_, True_

from mgmt_server.api.context import Context
from mgmt_server.api.froms import mentions
from mgmt_server.api.parameters import Parameter, entries, no_entity, parameter
from mgmt_server.api.projects import check_allowed
from mgmt_server.api.view import View
from mgmt_server.db import Base
from mgmt_server.errors import InvalidValue, ParameterError
from mgmt_server.model.account import ACCOUNT_TYPES, Account, Domain, Project
from mgmt_server.model.event import Tag
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import ADMINS, Owned

LARGEST = Setting("default.page.size", "Rows on a page at most, and of a list without pagesize", least=1, most=5000)
COUNT_ALONE = "retrieveonlyresourcecount"
UPWARDS = Setting("sortkey.algorithm", "Whether what has a sort key is listed with the lowest key first")
TEXTS = {
    "page": "number of the page, from 1; needs pagesize",
    "pagesize": "rows on a page",
    "keyword": "part of the name, in any case",
    "listall": "whether to list all that the caller may see instead of the caller's own",
    "isrecursive": "whether domainid means the domains below it too",
    "account": "list what belongs to this account; with domainid, of that domain",
    "domainid": "list what belongs to this domain",
    "projectid": "list what belongs to this project; -1 for all projects of the caller",
    "tags": "list what carries these tags: tags[0].key and tags[0].value",
}
_HINTS: dict[str, Any] = {
    "page": int,
    "pagesize": int,
    "keyword": str,
    "listall": bool,
    "isrecursive": bool,
    "account": str,
    "domainid": str,
    "projectid": str,
    "tags": dict[str, str],
}


def scope_parameters(known: Mapping[str, Any], own: set[str]) -> tuple[Parameter, ...]:
    """The parameters that every list takes as far as the protocol gives it them, `own` ones left out."""
    found = []
    for name, hint in _HINTS.items():
        if name in own or name not in known["params"]:
            continue
        fact = known["params"][name]
        built = parameter(name, hint, False, TEXTS[name], fact)
        found.append(replace(built, type=fact["type"]))
    return tuple(found)


@dataclass(frozen=True)
class Rows:
    """The rows of a list command: a view, narrowed.

    `scope` instead of the table's own rule, where a list has one of its own (templatefilter); `removed` includes rows
    that are gone.
    """

    view: View
    conditions: tuple[ColumnElement[bool], ...] = ()
    scope: ColumnElement[bool] | None = None
    removed: bool = False
    narrow: bool = True  # whether account, domainid, listall and projectid apply
    order: tuple[Any, ...] = ()

    def where(self, *conditions: ColumnElement[bool] | None, **equal: Any) -> Rows:
        """Narrow by what was given: where(state=None) narrows nothing. An entity stands for its number."""
        given = tuple(c for c in conditions if c is not None)
        for name, value in equal.items():
            if value is None:
                continue
            column = getattr(self.view.table, name)
            if isinstance(value, list):
                given += (column.in_([v.id if isinstance(v, Base) else v for v in value]),)
            else:
                given += (column == (value.id if isinstance(value, Base) else value),)
        return replace(self, conditions=self.conditions + given)

    def page(self, ctx: Context, session: Session) -> tuple[int, list[dict[str, Any]]]:
        """How many there are, and those on the page that was asked for. One statement, and one for each nested list.

        Whoever walks the pages of a long list is told one count: it is taken with the first page and stands a while.
        Who asks for the count alone gets no rows, where the command takes that wish.
        """
        view, role = self.view, ctx.caller.role
        conditions = self._conditions(ctx, session)
        number, size = page_of(ctx.sent)
        if _only_counted(ctx):
            return session.scalar(select(_count(view, conditions))) or 0, []
        walk = _Walk(ctx)
        known = walk.count if number > 1 else None
        order = _by_sort_key(self.order or view.order)
        make = partial(_page, view, role, conditions, order, size > 0, known is None)
        if not self.order and len(conditions) == (not self.removed):  # nothing but what always holds: made once
            kind = (role, self.removed, size > 0, known is None, order is view.order)
            rows = view.pages.get(kind)
            if rows is None:
                rows = view.pages[kind] = make()
        else:
            rows = make()
        limits = {"_size": size, "_skip": (max(number, 1) - 1) * size} if size > 0 else {}
        found = session.connection().execute(rows, limits).all()
        if known is None and not found:
            known = (session.scalar(select(_count(view, conditions))) or 0) if number > 1 else 0
        total: int = found[0][-1] if known is None else known
        walk.count = total
        return total, view.objects(session, ctx.caller, found)

    def _conditions(self, ctx: Context, session: Session) -> tuple[ColumnElement[bool], ...]:
        table = self.view.table
        scope = self.scope if self.scope is not None else table.usable_by(ctx.caller)
        found = [c for c in (scope, *self.conditions) if not isinstance(c, True_)]
        if not self.removed:
            found.append(table.removed.is_(None))
        if self.narrow and (issubclass(table, Owned) or getattr(table, "tenant_scoped", False)):
            found.extend(narrowed(ctx, session, table))
        text = ctx.sent.get("keyword")
        if text and self.view.keyword:
            found.append(or_(*(column.icontains(text, autoescape=True) for column in self.view.keyword)))
        if self.view.tagged:
            found.extend(_tagged(ctx.sent, self.view))
        return tuple(found)


def _only_counted(ctx: Context) -> bool:
    asked = ctx.sent.get(COUNT_ALONE, "").lower() == "true"
    return asked and any(p.name == COUNT_ALONE for p in ctx.command.parameters)


def _by_sort_key(order: tuple[Any, ...]) -> tuple[Any, ...]:
    if getattr(order[0], "key", "") != "sort_key" or UPWARDS.flag():
        return order
    return (order[0].desc(), *order[1:])


def _page(
    view: View, role: str, conditions: tuple[ColumnElement[bool], ...], order: tuple[Any, ...], cut: bool, counted: bool
) -> Select[Any]:
    """The page's rows, found by their keys; with the count of all where it is not known."""
    table = view.table
    keys = select(table.id.label("id")).select_from(view.source(mentions((*conditions, *order)))).where(*conditions)
    keys = keys.order_by(*order)
    if cut:
        keys = keys.limit(bindparam("_size", type_=Integer)).offset(bindparam("_skip", type_=Integer))
    chosen = keys.subquery("chosen")
    rows = view.select(role, *mentions(order)).join(chosen, chosen.c.id == table.id).order_by(*order)
    return rows.add_columns(_count(view, conditions).label("_count")) if counted else rows


def _count(view: View, conditions: tuple[ColumnElement[bool], ...]) -> ScalarSelect[int]:
    source = view.source(mentions(conditions)) if conditions else view.table.__table__
    return select(func.count()).select_from(source).where(*conditions).scalar_subquery()


class _Walk:
    """The count of a list that somebody walks page by page: kept for long lists, for seconds, for that caller alone."""

    STANDS, LEAST, MOST = 10.0, 2000, 1000
    _counts: ClassVar[dict[Any, tuple[float, int]]] = {}

    def __init__(self, ctx: Context) -> None:
        asked = frozenset((k, v) for k, v in ctx.sent.items() if k not in _PER_CALL)
        self._key = (ctx.caller.user_id, ctx.command.name, asked)

    @property
    def count(self) -> int | None:
        until, count = self._counts.get(self._key, (0.0, 0))
        return count if until > time.monotonic() else None

    @count.setter
    def count(self, count: int) -> None:
        if count < self.LEAST:
            return
        if len(self._counts) > self.MOST:
            self._counts.clear()
        self._counts.setdefault(self._key, (0.0, 0))
        if self._counts[self._key][0] < time.monotonic():
            self._counts[self._key] = (time.monotonic() + self.STANDS, count)


_PER_CALL = {"page", "signature", "expires", "sessionkey", "apikey", "signatureversion", "response"}


def page_of(sent: Mapping[str, str]) -> tuple[int, int]:
    """Page and size that were asked for. Size -1: all."""
    page, size = sent.get("page") or None, sent.get("pagesize") or None
    try:
        number, rows = int(page or 1), int(size or LARGEST.number())
    except ValueError:
        raise ParameterError("page and pagesize are whole numbers") from None
    if rows == -1 and page is None:
        return 1, -1
    if (page is None) != (size is None):
        raise InvalidValue("page and pagesize go together: send both, or neither for the first rows")
    if number < 0 or number > 2**31 or rows < 1:
        raise InvalidValue("page starts at 1 and pagesize is at least 1")
    if rows > LARGEST.number():
        raise InvalidValue(f"pagesize is at most {LARGEST.number()} (setting {LARGEST.name})")
    return number, rows


def page_of_objects(ctx: Context, key: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of a list whose objects are no rows: those whose name has the keyword, one page of them."""
    text = (ctx.sent.get("keyword") or "").lower()
    found = [one for one in found if text in str(one.get("name", "")).lower()] if text else found
    number, size = page_of(ctx.sent)
    shown = found if size < 0 else found[(max(number, 1) - 1) * size : max(number, 1) * size]
    return ({"count": len(found)} | ({key: shown} if shown else {})) if found else {}


def narrowed(ctx: Context, session: Session, table: Any) -> list[ColumnElement[bool]]:
    """What account, domainid, isrecursive, listall and projectid leave of the caller's scope."""
    sent, caller = ctx.sent, ctx.caller
    account, domain, project = (sent.get(k) or None for k in ("account", "domainid", "projectid"))
    recursive = sent.get("isrecursive", "").lower() == "true"
    if project:
        inside = [_of_project(ctx, session, table, project, account)]
        return [*inside, _of_domain(session, table, domain, recursive, caller)] if domain else inside
    no_projects = table.account_id.not_in(select(Project.account_id))
    if getattr(table, "tenant_scoped", False):  # what has no owner is no project's either
        no_projects |= table.account_id.is_(None)
    if domain:
        if account:
            where = _domain(session, domain, caller)
            return [table.account_id == _account(session, account, where.id, caller)]
        return [_of_domain(session, table, domain, recursive, caller), no_projects]
    if account:
        return [table.account_id == _account(session, account, caller.domain_id, caller)]
    if sent.get("id") or sent.get("ids"):
        return []
    if sent.get("listall", "").lower() == "true":
        return [no_projects]
    own = table.account_id == caller.account_id
    offered = table.offered(caller)
    return [own if isinstance(offered, False_) else own | offered]


def _key(table: Any, text: str, caller: Any) -> ColumnElement[bool]:
    by_uuid: ColumnElement[bool] = table.uuid == text
    return by_uuid | (table.id == int(text)) if caller.is_root and text.isdecimal() and len(text) < 19 else by_uuid


def _domain(session: Session, text: str, caller: Any) -> Domain:
    row = session.scalar(select(Domain).where(_key(Domain, text, caller), Domain.usable_by(caller)))
    if row is None:
        raise no_entity("domainid", text)
    return row


def _of_domain(session: Session, table: Any, text: str, recursive: bool, caller: Any) -> ColumnElement[bool]:
    row = _domain(session, text, caller)
    below = select(Domain.id).where(Domain.path.startswith(row.path, autoescape=True))
    found: ColumnElement[bool] = table.domain_id.in_(below) if recursive else table.domain_id == row.id
    return found


def _account(session: Session, name: str, domain: int, caller: Any) -> int:
    rows = select(Account.id).where(Account.name == name, Account.domain_id == domain, Account.usable_by(caller))
    found = session.scalar(rows.where(Account.removed.is_(None), Account.type != ACCOUNT_TYPES["Project"]))
    if found is None:
        raise InvalidValue(f"Unable to find account {name[:100]} in the given domain: check account and domainid")
    return found


def _of_project(ctx: Context, session: Session, table: Any, project: str, account: str | None) -> ColumnElement[bool]:
    if account:
        raise InvalidValue("account and projectid exclude each other: send one of them")
    if project == "-1":
        everything = ctx.sent.get("listall", "").lower() == "true"
        denied = ctx.caller.forbidden(ctx.command.name)
        mine = select(Project.account_id).where(Project.usable_by(ctx.caller), Project.account_id.not_in(denied))
        owned: ColumnElement[bool] = table.account_id.is_not(None)
        inside: ColumnElement[bool] = table.account_id.in_(mine)
        return owned & table.account_id.not_in(denied) if everything else inside
    of_it: ColumnElement[bool] = table.account_id == project_of(ctx, session, project).account_id
    return of_it


def project_of(ctx: Context, session: Session, text: str) -> Project:
    """The project that projectid names, one of the caller's."""
    row = session.scalar(select(Project).where(_key(Project, text, ctx.caller), Project.usable_by(ctx.caller)))
    if row is None:
        raise no_entity("projectid", text)
    check_allowed(ctx, row)
    return row


def _tagged(sent: Mapping[str, str], view: View) -> list[ColumnElement[bool]]:
    if not any(key.startswith("tags[") for key in sent):
        return []
    found: list[ColumnElement[bool]] = []
    for entry in entries("tags", sent).values():
        carry = select(Tag.resource_uuid).where(Tag.resource_type == view.tagged, Tag.key == entry.get("key", ""))
        if "value" in entry:
            carry = carry.where(Tag.value == entry["value"])
        found.append(view.tagged_by.in_(carry))
    return found


def is_admin(ctx: Context) -> bool:
    return ctx.caller.role in ADMINS
