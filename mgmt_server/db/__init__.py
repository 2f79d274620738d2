"""The database: what a row is, how a transaction runs, how a state changes. Knows no resource.

Two pools for one database: reads run in autocommit, each statement for itself; writes run in transactions that are
retried here and nowhere else when the database made them a victim. Times are UTC without a zone.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Concatenate, ParamSpec, TypeVar

import orjson
from sqlalchemy import (
    BigInteger,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Text,
    create_engine,
    event,
    make_url,
    update,
)
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, Session, mapped_column
from sqlalchemy.pool import QueuePool

P = ParamSpec("P")
R = TypeVar("R")

Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts rows only in an INTEGER
Moment = DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")
LongText = Text().with_variant(LONGTEXT, "mysql", "mariadb")
Bytes = Annotated[int, mapped_column(BigInteger)]
Long = Annotated[str, mapped_column(LongText)]

ATTEMPTS = 6
RETRIED = (1205, 1213, 1020, 1927, 2006, 2013)  # lock wait, deadlock, changed since read, killed, gone, lost


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def new_uuid() -> str:
    return str(uuid.uuid4())


class Base(DeclarativeBase):
    """A row: a number for joins, a uuid for the outside, and the moments it came and went."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(255), datetime: Moment}
    __table_args__: Any = {
        "mysql_engine": "InnoDB",
        "mysql_charset": "utf8mb4",
        "mysql_collate": "utf8mb4_bin",
    }

    id: Mapped[int] = mapped_column(Number, primary_key=True, sort_order=-4)
    uuid: Mapped[str] = mapped_column(String(40), default=new_uuid, unique=True, sort_order=-3)
    created: Mapped[datetime] = mapped_column(default=now, sort_order=-2)
    removed: Mapped[datetime | None] = mapped_column(default=None, sort_order=-1)


def refers(table: str, *, index: bool = True, **options: Any) -> Mapped[Any]:
    """A column that holds the number of a row of `table`."""
    return mapped_column(Number, ForeignKey(f"{table}.id"), index=index, **options)


def remembers(*, index: bool = True) -> Mapped[Any]:
    """Like `refers`, without a foreign key: for tables that refer to each other, which no order could create."""
    return mapped_column(Number, index=index)


class _Database:
    """The open database of this process."""

    def __init__(self) -> None:
        self.reader: Engine | None = None
        self.writer: Engine | None = None
        self.one_writer: threading.RLock | None = None  # SQLite: writers queue here, fairly, and not in busy loops


_open = _Database()
_after_commit = threading.local()
statements = 0  # executed by this process since it started; for metrics and the bench


def best_driver(url: str) -> str:
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


def connect(url: str, *, pool: int = 16, durable: bool = False) -> Engine:
    """Open the database that every transaction of this process runs in; the engine that writes.

    `pool` bounds the connections of reads and of writes each. `durable`: SQLite waits for the disk at each commit.
    """
    disconnect()
    forget_rows()
    parsed = make_url(best_driver(url))
    options: dict[str, Any] = {
        "pool_reset_on_return": None,
        "pool_recycle": 1800,
        "json_deserializer": orjson.loads,
        "json_serializer": lambda value: orjson.dumps(value).decode(),
    }
    if parsed.get_backend_name() == "sqlite":
        options["connect_args"] = {"check_same_thread": False, "timeout": 30, "cached_statements": 512}
        _open.one_writer = threading.RLock()
    else:
        parsed = parsed.update_query_dict({"charset": "utf8mb4"}, append=False)
        options |= {"pool_size": pool, "max_overflow": 4, "pool_use_lifo": True, "pool_timeout": 60}
        _open.one_writer = None
    _open.reader = create_engine(parsed, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options)
    if parsed.get_backend_name() != "sqlite":
        options["isolation_level"] = "READ COMMITTED"
    _open.writer = create_engine(parsed, **options)
    for engine in (_open.reader, _open.writer):
        event.listen(engine, "before_cursor_execute", _count)
        if parsed.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _durable if durable else _relaxed)
    if parsed.get_backend_name() == "sqlite":
        event.listen(_open.writer, "begin", _take_the_write_lock_at_once)
    return _open.writer


def disconnect() -> None:
    for engine in (_open.reader, _open.writer):
        if engine is not None:
            engine.dispose()
    _open.reader = _open.writer = None


def engine() -> Engine:
    if _open.writer is None:
        raise RuntimeError("no database is open: call db.connect first")
    return _open.writer


def connections() -> int:
    """Connections of this process that are open."""
    pools = [engine.pool for engine in (_open.reader, _open.writer) if engine is not None]
    return sum(p.checkedin() + p.checkedout() for p in pools if isinstance(p, QueuePool))


def _count(*_: Any) -> None:
    global statements
    statements += 1


def _relaxed(connection: Any, _: Any) -> None:
    _prepare_sqlite(connection, "NORMAL")


def _durable(connection: Any, _: Any) -> None:
    _prepare_sqlite(connection, "FULL")


def _prepare_sqlite(connection: Any, synchronous: str) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA cache_size=-32000")


def _take_the_write_lock_at_once(connection: Any) -> None:
    # A lock that is upgraded half-way fails at once where waiting would do: SQLITE_BUSY knows no queue.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def reading() -> Session:
    """A session that only reads; each statement sees the latest committed state."""
    if _open.reader is None:
        raise RuntimeError("no database is open: call db.connect first")
    return Session(_open.reader, expire_on_commit=False)


class Again(Exception):
    """Raised inside `write`: somebody was quicker, what was read is old; run the whole transaction anew."""


def write(work: Callable[Concatenate[Session, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `work` in one transaction, again when the database made it the victim of a deadlock or lost the link.

    What `work` does besides the database must therefore be pure; see `after_commit` for effects.
    """
    for attempt in range(ATTEMPTS):
        try:
            with _turn():
                return _transaction(work, *args, **kwargs)
        except Again as again:
            if attempt == ATTEMPTS - 1:
                raise Conflict(str(again), 0, "free") from again
        except DBAPIError as error:
            if attempt == ATTEMPTS - 1 or not _worth_another_try(error):
                raise
            time.sleep(random.uniform(0, 0.01) * 2**attempt)  # noqa: S311  jitter, no secret
    raise AssertionError("unreachable")


def _transaction(work: Callable[Concatenate[Session, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
    effects: list[Callable[[], None]] = []
    outer = getattr(_after_commit, "effects", None)
    _after_commit.effects = effects
    try:
        with Session(engine(), expire_on_commit=False) as session, session.begin():
            value = work(session, *args, **kwargs)
            for last in session.info.pop("last", ()):
                last(session)
    finally:
        _after_commit.effects = outer
    for effect in effects:
        effect()
    return value


def after_commit(effect: Callable[[], None]) -> None:
    """Call `effect` when the transaction that this thread is in has been committed; never when it is rolled back."""
    effects = getattr(_after_commit, "effects", None)
    if effects is None:
        raise RuntimeError("after_commit is for code inside db.write")
    effects.append(effect)


_caches: list[Callable[[], None]] = []


def cache_of_rows(forget: Callable[[], None]) -> Callable[[], None]:
    """Register (as a decorator) what empties a cache of rows, for whoever opens another database in this process."""
    _caches.append(forget)
    return forget


def forget_rows() -> None:
    for forget in _caches:
        forget()


def before_commit(tx: Session, last: Callable[[Session], None]) -> None:
    """Call `last(tx)` when all else of the transaction is done: for rows that many wait for."""
    tx.info.setdefault("last", []).append(last)


@contextmanager
def _turn() -> Iterator[None]:
    if _open.one_writer is None:
        yield
    else:
        with _open.one_writer:
            yield


def _worth_another_try(error: DBAPIError) -> bool:
    code = error.orig.args[0] if error.orig and error.orig.args else None
    return code in RETRIED or "database is locked" in str(error.orig)


class Conflict(Exception):
    """Somebody else changed the row first."""

    def __init__(self, table: str, row: int, expected: str) -> None:
        super().__init__(f"{table} {row} is no longer {expected}")
        self.table, self.row, self.expected = table, row, expected


class States:
    """The allowed moves of one state column. A move is one UPDATE whose WHERE is the check.

    >>> STATES = States(Volume.state, Allocated=["Ready"], Ready=["Expunging"])
    >>> STATES.move(tx, volume_id, "Allocated", "Ready", path="/pool/7")
    """

    def __init__(self, column: InstrumentedAttribute[str], **moves: list[str]) -> None:
        self.column, self.moves, self.table = column, moves, column.class_

    def move(self, tx: Session, row_id: int, before: str | tuple[str, ...], after: str, **values: Any) -> None:
        """Raises Conflict when the row is in none of the states `before`, ValueError for a move that is not allowed."""
        sources = (before,) if isinstance(before, str) else before
        wrong = [s for s in sources if after not in self.moves.get(s, [])]
        if wrong:
            raise ValueError(f"{self.table.__name__} never goes from {wrong[0]} to {after}")
        changed = tx.execute(
            update(self.table)
            .where(self.table.id == row_id, self.column.in_(sources))
            .values({self.column.key: after, **values})
            .execution_options(synchronize_session=False)
        )
        if changed.rowcount != 1:  # type: ignore[attr-defined]
            raise Conflict(self.table.__name__, row_id, " or ".join(sources))


def changed(result: Any) -> int:
    """How many rows an UPDATE or DELETE met."""
    count: int = result.rowcount
    return count
