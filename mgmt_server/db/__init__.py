"""The database: what a row is, how a transaction runs, how a state changes. Knows no resource.

Two pools for one database: reads run in autocommit, each statement for itself; writes run in transactions that are
retried here and nowhere else when the database made them a victim. Times are UTC without a zone.
"""

from __future__ import annotations

import os
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
    ClauseElement,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Text,
    Update,
    bindparam,
    create_engine,
    event,
    make_url,
    update,
)
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, Session, mapped_column
from sqlalchemy.pool import QueuePool

from mgmt_server.db import driver

P = ParamSpec("P")
R = TypeVar("R")

Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts rows only in an INTEGER
Moment = DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")
LongText = Text().with_variant(LONGTEXT, "mysql", "mariadb")
Bytes = Annotated[int, mapped_column(BigInteger)]
Long = Annotated[str, mapped_column(LongText)]

ATTEMPTS = 6
IDLE = 10  # seconds after which MariaDB ends a transaction that nothing is heard of
UNKNOWN_VARIABLE = 1193
# lock wait, deadlock, changed since read, killed, gone, lost; and a savepoint that went with a deadlock's victim
RETRIED = (1205, 1213, 1020, 1927, 2006, 2013, 1305)
# too many links, shuts down, killed, read-only (1290, 1836), unreachable (2002 to 2005), gone, lost, idle too long
CUT = (1040, 1053, 1927, 1290, 1836, 2002, 2003, 2005, 2006, 2013, 4031)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


_random: list[bytes] = []
os.register_at_fork(after_in_child=_random.clear)


def new_uuid() -> str:
    """A random uuid. Randomness is fetched for many at once: each fetch gives up the interpreter's lock."""
    try:
        taken = _random.pop()
    except IndexError:
        block = os.urandom(4096)
        _random.extend(block[n : n + 16] for n in range(16, len(block), 16))
        taken = block[:16]
    return str(uuid.UUID(bytes=taken, version=4))


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


def connect(url: str, *, pool: int = 16, durable: bool = False) -> Engine:
    """Open the database that every transaction of this process runs in; the engine that writes.

    `pool` bounds the connections of reads and of writes each. `durable`: SQLite waits for the disk at each commit.
    """
    disconnect()
    forget_rows()
    parsed = make_url(driver.best(url))
    options: dict[str, Any] = {
        "pool_reset_on_return": None,
        "pool_recycle": 1800,
        "json_deserializer": orjson.loads,
        "json_serializer": lambda value: orjson.dumps(value).decode(),
    }
    if parsed.get_backend_name() == "sqlite":
        _open.one_writer = threading.RLock()
    else:
        parsed = parsed.update_query_dict({"charset": "utf8mb4"}, append=False)
        options |= {"pool_size": pool, "max_overflow": 4, "pool_use_lifo": True, "pool_timeout": 60}
        options["paramstyle"] = "format"  # PyMySQL's own has names, which `prepared` would have to repeat
        _open.one_writer = None
    options["connect_args"] = driver.arguments(parsed.get_driver_name())
    _open.reader = create_engine(parsed, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options)
    if parsed.get_backend_name() != "sqlite":
        options["isolation_level"] = "READ COMMITTED"
    _open.writer = create_engine(parsed, **options)
    # none that listens to the executions of statements: the ways through SQLAlchemy would be longer for each
    if parsed.get_backend_name() == "sqlite":
        for engine in (_open.reader, _open.writer):
            event.listen(engine, "connect", _durable if durable else _relaxed)
    if parsed.get_backend_name() == "sqlite":
        event.listen(_open.writer, "begin", _take_the_write_lock_at_once)
    else:
        event.listen(_open.writer, "connect", _let_go_when_idle)
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


def statements() -> int:
    """Executed by this process since it started; for metrics and the bench."""
    return driver.statements


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


def _let_go_when_idle(connection: Any, _: Any) -> None:
    """A process that is paused amid a transaction keeps its link, and would keep its row locks from those who take over
    its jobs. MySQL knows no such limit."""
    try:
        connection.query(f"SET SESSION idle_transaction_timeout = {IDLE}")
    except Exception as error:
        if error.args[:1] != (UNKNOWN_VARIABLE,):
            raise


def reading() -> Session:
    """A session that only reads; each statement sees the latest committed state."""
    if _open.reader is None:
        raise RuntimeError("no database is open: call db.connect first")
    return Session(_open.reader, expire_on_commit=False)


class Again(Exception):
    """Raised inside `write`: somebody was quicker, what was read is old; run the whole transaction anew."""


class Uncertain(SQLAlchemyError):
    """The link to the database broke while it was told to commit: whether it did is not known."""


def away(error: BaseException) -> bool:
    """Whether this says that the database does not answer or takes no changes: nothing is wrong with what it was
    asked, and it may be asked again."""
    if isinstance(error, DBAPIError):
        return _is_cut(error) or "database is locked" in str(error.orig)
    return isinstance(error, Uncertain | NoneFree)


def _is_cut(error: DBAPIError) -> bool:
    return error.connection_invalidated or _code(error) in CUT


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
    complete = False
    try:
        with Session(engine(), expire_on_commit=False) as session, session.begin():
            value = work(session, *args, **kwargs)
            for last in session.info.pop("last", ()):
                last(session)
            session.flush()
            complete = True
    except DBAPIError as error:
        if complete and _is_cut(error):  # it must not run again: it may have been committed
            raise Uncertain("the link to the database broke amid a commit") from error
        raise
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
    return _code(error) in RETRIED or "database is locked" in str(error.orig)


def _code(error: DBAPIError) -> Any:
    return error.orig.args[0] if error.orig and error.orig.args else None


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
        self._made: dict[tuple[Any, ...], Update] = {}

    def move(self, tx: Session, row_id: int, before: str | tuple[str, ...], after: str, **values: Any) -> None:
        """Raises Conflict when the row is in none of the states `before`, ValueError for a move that is not allowed."""
        sources = (before,) if isinstance(before, str) else before
        wrong = [s for s in sources if after not in self.moves.get(s, [])]
        if wrong:
            raise ValueError(f"{self.table.__name__} never goes from {wrong[0]} to {after}")
        plain = {k: v for k, v in values.items() if not isinstance(v, ClauseElement)}
        made = self._move(sources, after, tuple(plain))
        if len(plain) != len(values):
            made = made.values({k: v for k, v in values.items() if k not in plain})
        tx.flush()
        if changed(tx.execute(made, {"of_row": row_id, **{f"to_{k}": v for k, v in plain.items()}})) != 1:
            raise Conflict(self.table.__name__, row_id, " or ".join(sources))

    def _move(self, sources: tuple[str, ...], after: str, names: tuple[str, ...]) -> Update:
        """The UPDATE of such a move that also sets these columns, built once."""
        made = self._made.get((sources, after, names))
        if made is None:
            columns = self.table.__mapper__.columns
            state = columns[self.column.key]
            before = state == sources[0] if len(sources) == 1 else state.in_(sources)
            made = update(self.table.__table__).where(columns["id"] == bindparam("of_row"), before)
            made = made.values({state: after} | {columns[n]: bindparam(f"to_{n}") for n in names})
            self._made[sources, after, names] = made
        return made


def changed(result: Any) -> int:
    """How many rows an UPDATE or DELETE met."""
    count: int = result.rowcount
    return count
