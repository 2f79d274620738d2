"""The drivers of MySQL, and what of them we do in a quicker way."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any


def best(url: str) -> str:
    """The URL with the C driver where that is importable: it takes a quarter of PyMySQL's CPU."""
    if url.startswith(("mysql://", "mysql+pymysql://", "mariadb://", "mariadb+pymysql://")):
        try:
            import MySQLdb  # noqa: F401
        except ImportError:
            driver = "mysql+pymysql"
        else:
            driver = "mysql+mysqldb"
        return driver + url[url.index("://") :]
    return url


statements = 0  # executed by this process since it started: each has a cursor of its own


def arguments(driver: str) -> dict[str, Any]:
    """What a connection of this driver (`pysqlite`, `mysqldb` or `pymysql`) is made with."""
    if driver == "pysqlite":
        return {"check_same_thread": False, "timeout": 30, "cached_statements": 512, "factory": _Counting}
    name = "MySQLdb" if driver == "mysqldb" else "pymysql"
    types = importlib.import_module(f"{name}.constants").FIELD_TYPE
    own: dict[Any, Any] = importlib.import_module(f"{name}.converters").conversions
    # both drivers take moments apart in Python, in nine times as long
    conversions = own | {types.DATETIME: datetime.fromisoformat, types.TIMESTAMP: datetime.fromisoformat}
    cursor = _one_result() if driver == "mysqldb" else _counted(importlib.import_module("pymysql.cursors").Cursor)
    return {"conv": conversions, "cursorclass": cursor}


class _Counting(sqlite3.Connection):
    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        global statements
        statements += 1
        return super().cursor(*args, **kwargs)


def _counted(cursor: Any) -> Any:
    class Counted(cursor):  # type: ignore[misc]
        def __init__(self, connection: Any) -> None:
            global statements
            statements += 1
            super().__init__(connection)

    return Counted


@cache
def _one_result() -> Any:
    """The C driver's cursor, for statements with one result at most, which is fetched at once.

    Its own asks for a result, and three times for another one, whether there is any or not. Each time the
    interpreter's lock is given up: where many threads want it, that costs more than the statement.
    """
    from MySQLdb.cursors import Cursor

    class OneResult(_counted(Cursor)):  # type: ignore[misc]
        def execute(self, query: str | bytes, args: Any = None) -> Any:
            text = query.encode() if isinstance(query, str) else query
            if isinstance(args, tuple | list):
                literal = _literals(self.connection)
                text %= tuple([literal(a) for a in args])
            elif args is not None:
                return super().execute(query, args)
            return self._query(text)

        def _query(self, text: bytes) -> Any:
            connection = self.connection
            self.description, self.rownumber, self._executed = None, 0, text
            self._rows: Any = ()
            connection.query(text)
            if connection.field_count():
                result = connection.store_result()
                self.description, self._rows = result.describe(), result.fetch_row(0)
            self.rowcount, self.lastrowid = connection.affected_rows(), connection.insert_id()
            return self.rowcount

        def _discard(self) -> None:
            self.description = self._rows = None

    return OneResult


def _literals(connection: Any) -> Callable[[Any], bytes]:
    """The most common types in a quicker way than the driver's, the others in its own."""
    quoted, others = connection.string_literal, connection.literal

    def literal(value: Any) -> bytes:
        kind = type(value)
        if kind is str:
            made: bytes = quoted(value.encode())
        elif kind is int:
            made = b"%d" % value
        elif value is None:
            made = b"NULL"
        else:
            made = others(value)
        return made

    return literal
