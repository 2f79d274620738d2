"""Statements that are built once: to build one takes several times as long as to send it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Delete, Dialect, Insert, Update, bindparam, insert, update
from sqlalchemy.orm import Session
from sqlalchemy.types import UserDefinedType


class _Numbers(UserDefinedType[list[int]]):
    """What a number is compared with, written in one go: each that is asked for, or their ends where none is missing
    between them, as on most pages. A list of 500 costs the database a third more than its ends."""

    cache_ok = True

    def literal_processor(self, dialect: Dialect) -> Callable[[Iterable[int]], str]:
        return _in_words


def _in_words(given: Iterable[int]) -> str:
    numbers = list(map(int, given))
    if len(numbers) > 1 and max(numbers) - min(numbers) + 1 == len(set(numbers)):
        return f"BETWEEN {min(numbers)} AND {max(numbers)}"
    return f"IN ({','.join(map(str, numbers)) or 'NULL'})"


def among(column: Any, numbers: Iterable[int] | str) -> ColumnElement[bool]:
    """Whether a number is among these, or among those sent under a name. They stand in the statement's text: hundreds
    of parameters take longer."""
    if isinstance(numbers, str):
        given = bindparam(numbers, type_=_Numbers(), literal_execute=True)
    else:
        given = bindparam(None, list(numbers), type_=_Numbers(), literal_execute=True)
    return column.op("", is_comparison=True)(given)  # type: ignore[no-any-return]


class Sent:
    """An INSERT, UPDATE or DELETE that is made into text once for each driver, and sent as it is from then on: to look
    through it for each execution takes longer than to send it. Its parameters have names, and none of them is a list.
    """

    def __init__(self, statement: Insert | Update | Delete) -> None:
        self.statement = statement
        self._texts: dict[str, tuple[str, tuple[_Slot, ...]]] = {}

    def __call__(self, tx: Session, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Raises KeyError where a parameter has no value. What the session has yet to write is not written first."""
        connection = tx.connection()
        made = self._texts.get(connection.dialect.driver)
        if made is None:
            made = self._texts[connection.dialect.driver] = _text(self.statement, connection.dialect)
        text, slots = made
        sent = [fixed if key is None else to(values[key]) if to else values[key] for key, to, fixed in slots]
        return connection.exec_driver_sql(text, tuple(sent))


_Slot = tuple[str | None, Callable[[Any], Any] | None, Any]  # the parameter's name, how it is sent; or what is sent


def _text(statement: Any, dialect: Dialect) -> tuple[str, tuple[_Slot, ...]]:
    compiled = statement.compile(dialect=dialect)
    if compiled.post_compile_params or compiled.literal_execute_params or compiled.positiontup is None:
        raise TypeError(f"this cannot be made into text once: {compiled}")
    slots: list[_Slot] = []
    for name in compiled.positiontup:
        bound = compiled.binds[name]
        to = bound.type.dialect_impl(dialect).bind_processor(dialect)
        if bound.required:
            slots.append((bound.key, to, None))
        else:
            slots.append((None, None, to(bound.effective_value) if to else bound.effective_value))
    return compiled.string, tuple(slots)


def to_send(columns: Any, names: Iterable[str]) -> dict[Any, Any]:
    """For `values` of a statement: these columns, set to what `sent_as` gives."""
    return {columns[n]: bindparam(f"to_{n}", type_=columns[n].type) for n in names}


def sent_as(row: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a statement that was made with `to_send`."""
    return {f"to_{k}": v for k, v in row.items()}


def change(tx: Session, model: Any, where: Mapping[str, Any], **values: Any) -> int:
    """Set columns to values in the rows whose columns have the values of `where`: how many rows that were.

    Objects of these rows that the session has keep what they had.
    """
    tx.flush()
    sent = {f"of_{k}": v for k, v in where.items()} | sent_as(values)
    return _changing(model, tuple(where), tuple(values))(tx, sent).rowcount


@cache
def _changing(model: Any, keys: tuple[str, ...], names: tuple[str, ...]) -> Sent:
    columns = model.__mapper__.columns
    rows = update(model.__table__).where(*(columns[k] == bindparam(f"of_{k}") for k in keys))
    return Sent(rows.values(to_send(columns, names)))


def put(tx: Session, model: Any, **values: Any) -> int:
    """Add a row that no object is needed of: its number. What is not given has its default."""
    tx.flush()
    added, defaults = _adding(model, tuple(values))
    return int(added(tx, sent_as(values | {k: make() for k, make in defaults})).lastrowid)


@cache
def _adding(model: Any, names: tuple[str, ...]) -> tuple[Sent, list[tuple[str, Callable[[], Any]]]]:
    columns = model.__table__.columns
    defaults = [(c.key, _default(c.default)) for c in columns if c.default is not None and c.key not in names]
    row = to_send(columns, (*names, *(k for k, _ in defaults)))
    return Sent(insert(model.__table__).values(row).inline()), defaults


def _default(default: Any) -> Callable[[], Any]:
    if default.is_callable:
        return lambda: default.arg(None)  # as SQLAlchemy calls it, without a context
    if not default.is_scalar:
        raise TypeError(f"a row with this default cannot be put: {default}")
    return lambda: default.arg
