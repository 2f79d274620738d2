"""What our cursors and prepared statements send is what comes back, on each driver."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server import db
from mgmt_server.db import driver, write
from mgmt_server.db.prepared import Sent, among, sent_as, to_send

META = MetaData()
THINGS = Table(
    "driver_thing",
    META,
    Column("id", Integer, primary_key=True),
    Column("text", Text),
    Column("name", String(40), unique=True),
    Column("number", BigInteger),
    Column("ratio", Float(53)),
    Column("on", Boolean),
    Column("at", DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")),
    Column("more", JSON),
)
ROWS: list[dict[str, Any]] = [
    {"text": 'it\'s \\ "%s" 100 % \x00\n\r\x1a ; -- 名 🐙', "name": "a", "number": -(2**62), "ratio": 0.1, "on": True},
    {"text": "", "name": "b", "number": 0, "ratio": -1e300, "on": False},
    {"text": None, "name": None, "number": None, "ratio": None, "on": None},
]


@pytest.fixture(params=["sqlite", *(pytest.param(d, marks=pytest.mark.mariadb) for d in ("mysqldb", "pymysql"))])
def table(request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "sqlite":
        db.connect(f"sqlite:///{tmp_path}/cloud.db")
    else:
        if request.param == "pymysql":
            monkeypatch.setitem(sys.modules, "MySQLdb", None)
        db.connect(request.getfixturevalue("mariadb_url"))
        assert db.engine().dialect.driver == request.param
    META.drop_all(db.engine())
    META.create_all(db.engine())
    yield request.param
    META.drop_all(db.engine())
    db.disconnect()


def full(row: dict[str, Any], n: int) -> dict[str, Any]:
    more = {"at": datetime(2026, 1, 2, 3, 4, 5, n * 999999 // 2), "more": {"a": ["%", "'", n], "b": None}}
    return row | (more if row["name"] else {"at": None, "more": None})


def test_values_come_back_as_they_were_sent(table: str) -> None:
    rows = [full(row, n) for n, row in enumerate(ROWS)]
    put = Sent(insert(THINGS).values(to_send(THINGS.c, rows[0])).inline())
    numbers = [write(lambda tx, r=row: put(tx, sent_as(r)).lastrowid) for row in rows]
    assert numbers == [1, 2, 3]
    with db.reading() as session:
        found = [dict(r) for r in session.execute(select(THINGS).order_by(THINGS.c.id)).mappings()]
        assert found == [{"id": n, **row} for n, row in zip(numbers, rows, strict=True)]
        for row in rows:  # and in a condition, by SQLAlchemy's own way
            for column in ("text", "number", "on", "at"):
                same = THINGS.c[column] == row[column]
                assert row["name"] in session.scalars(select(THINGS.c.name).where(same)).all(), (column, row)
        assert session.scalars(select(THINGS.c.id).where(THINGS.c.id == 99)).all() == []
        assert session.scalar(select(func.count()).select_from(THINGS)) == 3


def test_rows_changed_are_counted_by_those_that_match(table: str) -> None:
    def fill(tx: Session) -> None:
        tx.execute(insert(THINGS), [{"name": f"n{n}", "number": n} for n in range(5)])

    write(fill)
    more = Sent(
        update(THINGS)
        .where(THINGS.c.number >= bindparam("least"), THINGS.c.name != "n4")
        .values(number=THINGS.c.number + bindparam("more", type_=BigInteger))
    )
    before = db.statements()
    assert write(lambda tx: more(tx, {"least": 2, "more": 10}).rowcount) == 2
    assert db.statements() - before == (2 if table == "sqlite" else 1)  # SQLite is told to begin
    assert write(lambda tx: more(tx, {"least": 2, "more": 0}).rowcount) == 2, "matched, though nothing is another"
    with db.reading() as session:
        assert session.scalars(select(THINGS.c.number).order_by(THINGS.c.id)).all() == [0, 1, 12, 13, 4]
    with pytest.raises(KeyError, match="more"):
        write(lambda tx: more(tx, {"least": 2}))


def test_an_error_is_told_as_ever_and_the_connection_goes_on(table: str) -> None:
    put = Sent(insert(THINGS).values(to_send(THINGS.c, ("name",))).inline())
    assert write(lambda tx: put(tx, sent_as({"name": "once"})).rowcount) == 1
    for _ in range(2):
        with pytest.raises(IntegrityError):
            write(lambda tx: put(tx, sent_as({"name": "once"})))
    with pytest.raises(Exception, match="surrogates"):
        write(lambda tx: put(tx, sent_as({"name": "\ud800"})))
    assert write(lambda tx: put(tx, sent_as({"name": "twice"})).lastrowid) > 1
    with db.reading() as session:
        assert session.scalars(select(THINGS.c.name).order_by(THINGS.c.id)).all() == ["once", "twice"]


def test_a_list_cannot_be_sent(table: str) -> None:
    some = Sent(update(THINGS).where(THINGS.c.id.in_(bindparam("ids", expanding=True))).values(number=1))
    with pytest.raises(TypeError, match="cannot be made into text once"):
        write(lambda tx: some(tx, {"ids": [1]}))


@pytest.mark.parametrize("wanted", [[], [2], [9], [1, 2, 3], [3, 2, 2], [1, 3], [0, 1, 99], [-3, -2, -1, 0, 1]])
def test_rows_among_numbers(table: str, wanted: list[int]) -> None:
    write(lambda tx: tx.execute(insert(THINGS), [{"name": f"n{n}", "number": -n} for n in range(5)]))
    once = select(THINGS.c.number).where(among(THINGS.c.number, "wanted"), THINGS.c.name != "n0")
    expected = sorted({n for n in wanted if -5 < n < 0})
    with db.reading() as session:
        negative = [-n for n in wanted]
        assert sorted(session.scalars(once, {"wanted": wanted}).all()) == expected
        there = select(THINGS.c.number).where(among(-THINGS.c.number, negative) | (THINGS.c.name == "none"))
        assert sorted(session.scalars(there).all()) == sorted({n for n in wanted if -5 < n <= 0})


def test_the_c_driver_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    assert driver.best("mariadb://u@h/d") == "mysql+pymysql://u@h/d"
    assert driver.best("sqlite:////x") == "sqlite:////x"
