"""What is answered: one mapping from response fields to columns, and the one SELECT that follows from it.

    volume_view = View(
        "volume", Volume, response="VolumeResponse", keyword=(Volume.name,), tagged="Volume",
        joins=((Account, Account.id == Volume.account_id),),
        id=Volume.uuid, name=Volume.name, size=Volume.size, zonename=Zone.name,
        path=only(ADMINS, Volume.path), sizegb=shown(lambda size: ..., Volume.size), nic=many(nic_view, Nic.vm_id),
    )

A table that a field names is joined along its foreign key, or as `joins` say. Values take the JSON type that the
protocol gives the field, whatever the column's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, case, exists, select
from sqlalchemy.orm import Session

from mgmt_server.api.facts import fields_of
from mgmt_server.api.froms import table_of, tables_in
from mgmt_server.api.jsontypes import converter_of, date
from mgmt_server.db.prepared import among
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.event import Tag
from mgmt_server.model.tenancy import ADMIN, Caller


@dataclass(frozen=True)
class _For:
    roles: tuple[str, ...]
    field: Any
    others: Any = None


@dataclass(frozen=True)
class _Shown:
    work: Callable[..., Any]
    columns: tuple[Any, ...]


@dataclass(frozen=True)
class _Many:
    view: View
    parent: Any


@dataclass(frozen=True)
class _Always:
    value: Any


@dataclass(frozen=True)
class PerPage:
    """Fields that are read for a whole page at once: `work(session, caller, row numbers)` gives them by number."""

    names: tuple[str, ...]
    work: Callable[[Session, Caller, list[int]], Mapping[int, Mapping[str, Any]]]


def only(roles: tuple[str, ...] | str, field: Any, others: Any = None) -> Any:
    """A field that other roles do not get to see, or see as `others`."""
    return _For((roles,) if isinstance(roles, str) else tuple(roles), field, others)


def shown(work: Callable[..., Any], *columns: Any) -> Any:
    """A field computed in Python from columns; None leaves it out."""
    return _Shown(work, columns)


def many(view: View, parent: Any) -> Any:
    """A list of nested objects: rows of `view` whose column `parent` holds the outer row's number. One SELECT."""
    return _Many(view, parent)


def always(value: Any) -> Any:
    return _Always(value)


@dataclass
class _Plan:
    """What a role gets: each distinct column once, and which fields are made of which."""

    columns: list[Any]
    plain: list[tuple[str, int]]  # name, position among the columns
    converted: list[tuple[str, int, Callable[[Any], Any]]]
    computed: list[tuple[str, Callable[..., Any], tuple[int, ...]]]
    constants: dict[str, Any]
    nested: list[tuple[str, _Many]]

    def place(self, column: Any) -> int:
        """The position of a column, which is added if it is new."""
        for position, known in enumerate(self.columns):
            if known is column:
                return position
        self.columns.append(column)
        return len(self.columns) - 1


class View:
    """Response fields of a resource. See the module's docstring."""

    def __init__(
        self,
        key: str,
        table: Any,
        *,
        response: str,
        keyword: Sequence[Any] = (),
        joins: Sequence[tuple[Any, Any]] = (),
        tagged: str = "",
        tagged_by: Any = None,
        order: Sequence[Any] = (),
        hides_removed: bool = True,
        more: Sequence[PerPage] = (),
        **fields: Any,
    ) -> None:
        self.key, self.table, self.response, self.tagged = key, table, response, tagged
        self.tagged_by = table.uuid if tagged_by is None else tagged_by  # the uuid that the tags are on
        self.keyword = tuple(keyword)
        self.order = tuple(order) or (table.id,)
        self.hides_removed = hides_removed
        self.more = tuple(more)
        self.types = fields_of(response)
        named = [*fields, *(name for one in self.more for name in one.names)]
        unknown = [name for name in named if name.rstrip("_") not in self.types]
        if unknown:
            raise TypeError(f"{response} has no field {', '.join(unknown)}: clients would not look for it")
        self.fields = {name.rstrip("_"): field for name, field in fields.items()}
        self._joins = {table_of(target): (target, on) for target, on in joins}
        self._plans: dict[str, _Plan] = {}
        self._selects: dict[Any, Select[Any]] = {}
        self.pages: dict[Any, Select[Any]] = {}  # whole statements of lists that nothing narrows

    def extended(
        self, *, response: str = "", joins: Sequence[tuple[Any, Any]] = (), more: Sequence[PerPage] = (), **fields: Any
    ) -> View:
        """Another view of the same rows: with these fields too, answered as another response."""
        return View(
            self.key,
            self.table,
            response=response or self.response,
            keyword=self.keyword,
            joins=(*self._joins.values(), *joins),
            tagged=self.tagged,
            tagged_by=self.tagged_by,
            order=self.order,
            hides_removed=self.hides_removed,
            more=(*self.more, *more),
            **{f"{name}_": field for name, field in self.fields.items()} | fields,  # no field is one of these options
        )

    def without(self, *names: str) -> View:
        """Another view of the same rows, with less told."""
        found = self.extended()
        found.fields = {name: field for name, field in self.fields.items() if name not in names}
        return found

    def plan(self, role: str) -> _Plan:
        if role not in self._plans:
            self._plans[role] = self._compile(role)
        return self._plans[role]

    def _compile(self, role: str) -> _Plan:
        plan = _Plan([], [], [], [], {}, [])
        for name, field in self.fields.items():
            while isinstance(field, _For):
                field = field.field if role in field.roles or role == ADMIN else field.others
            if field is None:
                continue
            if isinstance(field, _Shown):
                work = _then(field.work, date) if self.types[name] == "date" else field.work
                plan.computed.append((name, work, tuple(plan.place(c) for c in field.columns)))
            elif isinstance(field, _Many):
                plan.nested.append((name, field))
            elif isinstance(field, _Always):
                plan.constants[name] = field.value
            else:
                position, converter = plan.place(field), converter_of(self.types[name], field)
                if converter is not None:
                    plan.converted.append((name, position, converter))
                else:
                    plan.plain.append((name, position))
        return plan

    def source(self, mentioned: set[Any]) -> Any:
        """The view's table joined with all that the mentioned tables need."""
        joined = self.table.__table__
        have = {joined}
        for wanted in (*self._joins, *mentioned):
            joined = self._join(joined, have, wanted, mentioned)
        return joined

    def _join(self, joined: Any, have: set[Any], wanted: Any, mentioned: set[Any]) -> Any:
        if wanted in have or (wanted in self._joins and wanted not in self._needed(mentioned)):
            return joined
        if wanted in self._joins:
            target, on = self._joins[wanted]
            for other in tables_in(on) - have - {wanted}:
                joined = self._join(joined, have, other, mentioned | {other})
            joined = joined.outerjoin(target, on)
        else:
            # along the view's own key where it has one: tables that are joined already may have others
            own = [k for k in self.table.__table__.foreign_keys if k.column.table is wanted]
            joined = joined.outerjoin(wanted, own[0].parent == own[0].column if len(own) == 1 else None)
        have.add(wanted)
        return joined

    def _needed(self, mentioned: set[Any]) -> set[Any]:
        """The mentioned tables and those over which they are reached."""
        needed = set(mentioned)
        queue = list(mentioned)
        while queue:
            table = queue.pop()
            if table in self._joins:
                more = tables_in(self._joins[table][1]) - needed
                needed |= more
                queue.extend(more)
        return needed

    def select(self, role: str, *extra: Any) -> Select[Any]:
        """SELECT of every field that the role sees, of all rows."""
        key = (role, frozenset(extra))
        if key not in self._selects:
            self._selects[key] = self._select(role, *extra)
        return self._selects[key]

    def _select(self, role: str, *extra: Any) -> Select[Any]:
        plan = self.plan(role)
        columns = [self.table.id.label("_id"), *(c.label(f"c{n}") for n, c in enumerate(plan.columns))]
        if self.tagged:
            # without a tag of the kind there is nothing to look for: empty spares the statement that would
            there = exists().where(Tag.resource_type == self.tagged)
            columns.insert(1, case((there, self.tagged_by)).label("_uuid"))
        mentioned = set().union(*(tables_in(c) for c in columns)) | set(extra)
        return select(*columns).select_from(self.source(mentioned))

    def one(self, session: Session, caller: Caller, row_id: int) -> dict[str, Any]:
        """The object of one row, as the caller may see it."""
        found = self._one(session, caller, "id", row_id)
        if found is None:
            raise LookupError(f"{self.table.__name__} {row_id} is gone")
        return found

    def by_uuid(self, session: Session, caller: Caller, uuid: str | None) -> dict[str, Any] | None:
        """The object with this id."""
        return self._one(session, caller, "uuid", uuid)

    def _one(self, session: Session, caller: Caller, key: str, value: Any) -> dict[str, Any] | None:
        made = (caller.role, key)
        if made not in self._selects:
            self._selects[made] = self.select(caller.role).where(getattr(self.table, key) == bindparam("_key"))
        rows = session.execute(self._selects[made], {"_key": value}).all()
        return self.objects(session, caller, rows)[0] if rows else None

    def find(self, session: Session, caller: Caller, condition: ColumnElement[bool]) -> dict[str, Any] | None:
        """The object of the row that meets the condition."""
        rows = session.execute(self.select(caller.role).where(condition)).all()
        return self.objects(session, caller, rows)[0] if rows else None

    def usable(self, session: Session, caller: Caller, uuid: str) -> dict[str, Any] | None:
        """The object with this id, if the caller may use it."""
        made = caller.statements.get(self)
        if made is None:
            mine = (self.table.uuid == bindparam("_key")) & self.table.usable_by(caller)
            made = caller.statements[self] = self.select(caller.role).where(mine)
        rows = session.execute(made, {"_key": uuid}).all()
        return self.objects(session, caller, rows)[0] if rows else None

    def objects(self, session: Session, caller: Caller, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Rows of `select` as objects, nested ones and tags filled in."""
        plan = self.plan(caller.role)
        skip = 2 if self.tagged else 1
        plain = [(name, skip + position) for name, position in plan.plain]
        converted = [(name, skip + position, convert) for name, position, convert in plan.converted]
        of_one = [(name, work, skip + places[0]) for name, work, places in plan.computed if len(places) == 1]
        of_more = [
            (name, work, itemgetter(*(skip + p for p in places)))
            for name, work, places in plan.computed
            if len(places) > 1
        ]
        found = []
        for fetched in rows:
            row = tuple(fetched)
            answer = {name: row[position] for name, position in plain if row[position] is not None}
            for name, position, convert in converted:
                if row[position] is not None:
                    answer[name] = convert(row[position])
            for name, work, position in of_one:
                value = work(row[position])
                if value is not None:
                    answer[name] = value
            for name, work, taken in of_more:
                value = work(*taken(row))
                if value is not None:
                    answer[name] = value
            answer.update(plan.constants)
            found.append(answer)
        if found:
            self._fill(session, caller, plan, rows, found)
        return found

    def _fill(
        self, session: Session, caller: Caller, plan: _Plan, rows: Sequence[Any], found: list[dict[str, Any]]
    ) -> None:
        for name, nested in plan.nested:
            children = nested.view.children(session, caller, nested.parent, [row[0] for row in rows])
            for row, answer in zip(rows, found, strict=True):
                answer[name] = children.get(row[0], [])
        for one in self.more:
            known = one.work(session, caller, [row[0] for row in rows])
            for row, answer in zip(rows, found, strict=True):
                answer.update(known.get(row[0], {}))
        if self.tagged:
            tags = _tags(session, self.tagged, [row[1] for row in rows if row[1] is not None])
            for row, answer in zip(rows, found, strict=True):
                answer["tags"] = tags.get(row[1], [])

    def children(
        self, session: Session, caller: Caller, parent: Any, ids: list[int]
    ) -> dict[int, list[dict[str, Any]]]:
        made = (caller.role, "of", parent)
        if made not in self._selects:
            rows = self.select(caller.role, *tables_in(parent)).add_columns(parent.label("_parent"))
            rows = rows.where(among(parent, "_parents"))
            if self.hides_removed:
                rows = rows.where(self.table.removed.is_(None))
            self._selects[made] = rows.order_by(*self.order)
        fetched = session.execute(self._selects[made], {"_parents": ids}).all()
        by_parent: dict[int, list[dict[str, Any]]] = {}
        for row, answer in zip(fetched, self.objects(session, caller, fetched), strict=True):
            by_parent.setdefault(row[-1], []).append(answer)
        return by_parent


def _then(first: Callable[..., Any], second: Callable[[Any], Any]) -> Callable[..., Any]:
    def both(*values: Any) -> Any:
        value = first(*values)
        return None if value is None else second(value)

    return both


def _tags(session: Session, kind: str, uuids: list[str]) -> dict[str, list[dict[str, Any]]]:
    if not uuids:
        return {}
    columns = (Tag.resource_uuid, Tag.key, Tag.value, Tag.customer, Account.name, Domain.uuid, Domain.name)
    rows = session.execute(
        select(*columns)
        .join(Account, Account.id == Tag.account_id)
        .join(Domain, Domain.id == Tag.domain_id)
        .where(Tag.resource_type == kind, Tag.resource_uuid.in_(uuids))
        .order_by(Tag.id)
    )
    tags: dict[str, list[dict[str, Any]]] = {}
    for uuid, key, value, customer, account, domain, domain_name in rows:
        tag = {"key": key, "value": value, "resourcetype": kind, "resourceid": uuid, "account": account}
        tag |= {"domainid": domain, "domain": domain_name} | ({"customer": customer} if customer else {})
        tags.setdefault(uuid, []).append(tag)
    return tags


__all__ = ["PerPage", "View", "always", "date", "many", "only", "shown"]
