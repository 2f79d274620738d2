"""The queue: jobs are rows; claiming one is an UPDATE that raises its fence."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import bindparam, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from mgmt_server.db import after_commit, changed, new_uuid, now, reading, write
from mgmt_server.db.prepared import Sent, put
from mgmt_server.jobs import facts
from mgmt_server.jobs.rows import OPEN, JobRow, Node
from mgmt_server.jobs.values import plain

LEASE = timedelta(seconds=12)  # with a heartbeat and a look of each other node: jobs go on within 20 s
HEARTBEAT = 3.0  # seconds
LOOK = 15.0  # seconds between looks at a node's own figures


# What the floor above adds to the begin of a job, in the transaction in which it is claimed for the first time
Beginning = Callable[[Session, JobRow], None]
beginnings: list[Beginning] = []


@dataclass(frozen=True)
class Accepted:
    """What an asynchronous command answers at once."""

    job: str
    entity: str


@dataclass(frozen=True)
class Asker:
    """On whose behalf a job runs, and what its end is told as."""

    command: str = ""
    account_id: int | None = None
    domain_id: int | None = None
    user_id: int | None = None
    correlation: str = ""
    answers: str = ""
    event: dict[str, Any] | None = None


class Wake:
    """Wakes idle workers of this process when a job becomes free."""

    def __init__(self) -> None:
        self._semaphore = threading.Semaphore(0)

    def one(self) -> None:
        self._semaphore.release()

    def wait(self, seconds: float) -> bool:
        return self._semaphore.acquire(timeout=seconds)


wake = Wake()
joined: Node | None = None  # what this process is registered as
# by this process's own clock: when its last heartbeat was kept, and when one was that came later than its lease
_beaten: float | None = None
_woken = 0.0


class Queued(NamedTuple):
    """A job that was queued: its number and its id."""

    id: int
    uuid: str


def enqueue(
    tx: Session,
    flow: Callable[..., None],
    arguments: tuple[Any, ...],
    *,
    lock: str,
    instance: tuple[str, str] = ("", ""),
    asker: Asker | None = None,
    not_before: datetime | None = None,
    uuid: str | None = None,
) -> Queued:
    """Queue a flow in the transaction that also writes what it is about. `instance`: type and uuid of the entity."""
    asker = asker or Asker()
    uuid = uuid or new_uuid()
    number = put(
        tx,
        JobRow,
        uuid=uuid,
        flow=name_of(flow),
        arguments=[plain(a) for a in arguments],
        lock=lock,
        command=asker.command,
        account_id=asker.account_id,
        domain_id=asker.domain_id,
        user_id=asker.user_id,
        correlation=asker.correlation or None,
        answers=asker.answers or None,
        event=asker.event,
        instance_type=instance[0] or None,
        instance_uuid=instance[1] or None,
        not_before=not_before,
    )
    after_commit(wake.one)
    return Queued(number, uuid)


# Made once: what is executed for each job would otherwise cost more CPU to build than to run
_older = aliased(JobRow)
_FREE = (
    select(JobRow)
    .where(
        JobRow.state == "queued",
        or_(JobRow.not_before.is_(None), JobRow.not_before <= bindparam("moment")),
        ~exists().where(_older.lock == JobRow.lock, _older.state.in_(OPEN), _older.id < JobRow.id),
    )
    .order_by(JobRow.id)
    .limit(1)
    .with_for_update(skip_locked=True, of=JobRow)
)
_OF_OTHERS = _FREE.where(
    or_(JobRow.account_id.is_(None), JobRow.account_id.not_in(bindparam("crowding", expanding=True)))
)
_TAKE = Sent(
    update(JobRow.__table__)  # type: ignore[arg-type]
    .where(JobRow.id == bindparam("job"), JobRow.state == "queued")
    .values(state="running", fence=JobRow.fence + 1, node_id=bindparam("node"), node_epoch=bindparam("epoch"))
)


def claim(tx: Session, node: Node, crowding: Sequence[int] = (), reserved: bool = False) -> JobRow | None:
    """Take the oldest job that is free: queued, due, and no older job with its lock unfinished.

    crowding: accounts whose turn is after all others', because they hold a good part of the workers already
    reserved: take none of theirs at all, because the workers that are left are kept for others
    """
    row = tx.scalar(_OF_OTHERS, {"moment": now(), "crowding": list(crowding)}) if crowding else None
    if row is None and not (crowding and reserved):
        row = tx.scalar(_FREE, {"moment": now()})
    if row is None:
        return None
    if _TAKE(tx, {"job": row.id, "node": node.id, "epoch": node.epoch}).rowcount != 1:
        return None
    if row.fence == 0:
        for begin in beginnings:
            begin(tx, row)
    row.fence += 1
    tx.expunge(row)
    return row


def join_cluster(name: str, address: str = "", version: str = "") -> Node:
    """Register this process as a node, with a new epoch: what its earlier life held becomes free at once."""

    def register(tx: Session) -> Node:
        node = tx.scalar(select(Node).where(Node.name == name).with_for_update())
        if node is None:
            node = Node(name=name, epoch=0)
            tx.add(node)
        node.epoch += 1
        node.stopped, node.removed = node.heartbeat, None
        node.heartbeat = node.started = node.looked = now()
        node.address, node.version, node.facts = address, version, facts.look()
        tx.flush()
        tx.expunge(node)
        return node

    global joined
    joined = write(register)
    return joined


def beat(node: Node, look: bool = False) -> bool:
    """Say that this node lives. False when another process has taken its name: it must stop.

    `look`: tell its facts anew. Who lives is listed, also when somebody had removed it.
    """
    global _beaten, _woken
    began = time.monotonic()
    values: dict[str, Any] = {"facts": facts.look(), "looked": now()} if look else {}

    def say(tx: Session) -> bool:
        mine = update(Node).where(Node.id == node.id, Node.epoch == node.epoch)
        return changed(tx.execute(mine.values(heartbeat=now(), removed=None, **values))) == 1

    late = overslept(began)
    alive = write(say)
    if alive:
        _woken = began if late else _woken
        _beaten = began
    return alive


def overslept(since: float) -> bool:
    """Whether this process gave no sign of life for as long as its jobs are left to it, now or some time since then:
    others may have them."""
    return _woken > since or (_beaten is not None and time.monotonic() - _beaten > LEASE.total_seconds())


def recover() -> int:
    """Free the jobs of nodes that are gone, or of their earlier lives: how many."""

    def free(tx: Session) -> int:
        alive = (
            select(Node.id)
            .where(Node.id == JobRow.node_id, Node.epoch == JobRow.node_epoch, Node.heartbeat > now() - LEASE)
            .exists()
        )
        lost = list(tx.scalars(select(JobRow.id).where(JobRow.state == "running", ~alive)))
        if not lost:
            return 0
        freed = (
            update(JobRow)
            .where(JobRow.id.in_(lost), JobRow.state == "running", ~alive)
            .values(state="queued", fence=JobRow.fence + 1)
            .execution_options(synchronize_session=False)
        )
        return changed(tx.execute(freed))

    count = write(free)
    for _ in range(count):
        wake.one()
    return count


def let_go(node: Node, running: Collection[int], seen: Collection[int]) -> set[int]:
    """Free the jobs that this life of a node holds, that are not `running` in it, and that were `seen` so before: what
    is to be looked at again."""
    mine = (JobRow.state == "running", JobRow.node_id == node.id, JobRow.node_epoch == node.epoch)
    with reading() as session:
        idle = set(session.scalars(select(JobRow.id).where(*mine))).difference(running)
    late = idle.intersection(seen)
    if late:
        freed = update(JobRow).where(JobRow.id.in_(late), *mine).values(state="queued", fence=JobRow.fence + 1)
        count = write(lambda tx: changed(tx.execute(freed.execution_options(synchronize_session=False))))
        for _ in range(count):
            wake.one()
    return idle - late


def free_waiting(tx: Session, finished: int) -> None:
    """Free the jobs that waited for `finished`, in the transaction that ends it."""
    waiting = update(JobRow).where(JobRow.waits_for == finished, JobRow.state == "waiting")
    freed = tx.execute(waiting.values(state="queued").execution_options(synchronize_session=False))
    for _ in range(changed(freed)):
        after_commit(wake.one)


def name_of(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__qualname__}"


@cache
def function_of(name: str) -> Callable[..., Any]:
    module, function = name.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
