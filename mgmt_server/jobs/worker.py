"""The workers of a node: threads that claim jobs, a ticker that looks after leases, lost jobs and timers."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mgmt_server.db import away, changed, now, reading, write
from mgmt_server.jobs.flow import Fenced, _Waiting, load
from mgmt_server.jobs.queue import HEARTBEAT, LOOK, beat, claim, join_cluster, let_go, recover, wake
from mgmt_server.jobs.rows import JobRow, Node, Timer

log = logging.getLogger("cloudwright.jobs")


@dataclass(frozen=True)
class Periodic:
    """A function that runs on one node every so often; 0 seconds: not at all."""

    name: str
    seconds: float | Callable[[], float]  # a setting's value may change while it runs
    work: Callable[[], None]

    @property
    def period(self) -> float:
        return self.seconds() if callable(self.seconds) else self.seconds


periodic: dict[str, Periodic] = {}


def every(seconds: float | Callable[[], float], name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Have a function run every so many seconds, on whichever node gets to it first."""

    def register(work: Callable[[], None]) -> Callable[[], None]:
        periodic[name] = Periodic(name, seconds, work)
        return work

    return register


class Shares:
    """Which jobs this process runs now, and whose, so that a thousand jobs of one do not keep the others waiting."""

    def __init__(self, threads: int) -> None:
        self.most = max(2, threads // 2)
        self.common = threads - max(1, threads // 6)  # of the threads; the others are kept for who holds few
        self.jobs: set[int] = set()
        self._held: Counter[int | None] = Counter()
        self._lock = threading.Lock()

    def crowding(self) -> list[int]:
        with self._lock:
            return [account for account, jobs in self._held.items() if account is not None and jobs >= self.most]

    def reserved(self) -> bool:
        """Whether the threads that are left are kept from accounts that hold many: theirs may all be stuck."""
        with self._lock:
            return len(self.jobs) >= self.common

    @contextmanager
    def held(self, job: JobRow) -> Iterator[None]:
        number, account = job.id, job.account_id
        with self._lock:
            self.jobs.add(number)
            self._held[account] += 1
        try:
            yield
        finally:
            with self._lock:
                self.jobs.discard(number)
                self._held[account] -= 1
                if not self._held[account]:
                    del self._held[account]


def run_next(node: Node, shares: Shares | None = None) -> bool:
    """Claim a job and bring it to its end, or to where it waits. False when there is none."""
    shares = shares or Shares(1)
    row = write(claim, node, shares.crowding(), shares.reserved())
    if row is None:
        return False
    with shares.held(row), suppress(Fenced, _Waiting):
        load(row).run()
    return True


class Workers:
    """All that works in this process. `on_lost` is called when another process has taken this node's name."""

    def __init__(self, name: str, *, threads: int = 12, address: str = "", version: str = "") -> None:
        self.node = join_cluster(name, address, version)
        self.busy = 0
        self._shares = Shares(threads)
        self._dropped: set[int] = set()  # jobs that this node holds and no thread of it was seen to run
        self.on_lost: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"job-{n}", daemon=True) for n in range(threads)]
        self._threads.append(threading.Thread(target=self._tick, name="ticker", daemon=True))

    def start(self) -> None:
        recover()
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            wake.one()

    def stop(self, seconds: float = 10) -> None:
        """Take no more jobs; wait so long for those that run. What is cut off goes on at the next start."""
        self._stopping.set()
        for _ in self._threads:
            wake.one()
        for thread in self._threads:
            thread.join(seconds / 2)

    def _work(self) -> None:
        while not self._stopping.is_set():
            if not wake.wait(60):
                continue
            try:
                while not self._stopping.is_set() and self._one():
                    pass
            except SQLAlchemyError as error:
                _tell("the database failed a worker; it goes on in a second", error)
                self._stopping.wait(1)
                wake.one()
            except Exception:
                log.exception("a worker met an internal error")

    def _one(self) -> bool:
        self.busy += 1
        try:
            return run_next(self.node, self._shares)
        finally:
            self.busy -= 1

    def _tick(self) -> None:
        last_beat = last_look = 0.0
        elapsed = 0.0
        while not self._stopping.wait(1):
            elapsed += 1
            try:
                if elapsed - last_beat >= HEARTBEAT:
                    last_beat, look = elapsed, elapsed - last_look >= LOOK
                    last_look = elapsed if look else last_look
                    if not beat(self.node, look):
                        log.critical("another process runs as node %s: this one stops working", self.node.name)
                        self._stopping.set()
                        self.on_lost()
                        return
                    recover()
                    self._let_go()
                self._wake_for_what_is_due()
                run_due_timers()
            except SQLAlchemyError as error:
                _tell("the database failed the ticker; it tries again", error)
            except Exception:
                log.exception("a timer met an internal error")

    def _let_go(self) -> None:
        """Free what this node holds and nobody here runs: the database went away amid it, or before it could tell that
        it had been claimed. Seen so twice, because a claim is known to the database first; who is slower is fenced."""
        self._dropped = let_go(self.node, self._shares.jobs, self._dropped)

    def _wake_for_what_is_due(self) -> None:
        """The safety net: jobs that another node queued, and those whose time has come."""
        due = or_(JobRow.not_before.is_(None), JobRow.not_before <= now())
        with reading() as session:
            free = session.scalar(select(func.count()).select_from(JobRow).where(JobRow.state == "queued", due))
        for _ in range(min(free or 0, len(self._threads))):
            wake.one()


def _tell(text: str, error: Exception) -> None:
    """In the log; a database that is away is no fault of ours, of which a trace could say more."""
    if away(error):
        log.error("%s: %s", text, str(error).splitlines()[0])
    else:
        log.error(text, exc_info=error)


def run_due_timers() -> None:
    if not periodic:
        return
    with reading() as session:
        due = {t.name: t.due for t in session.scalars(select(Timer))}
    for task in list(periodic.values()):
        period = task.period
        if period <= 0 or (task.name in due and now() < due[task.name] <= now() + timedelta(seconds=period)):
            continue
        if write(_take_timer, task.name, period, task.name in due):
            try:
                task.work()
            except Exception as error:
                _tell(f"timer {task.name} failed; it runs again in {period} s", error)


def _take_timer(tx: Session, name: str, seconds: float, known: bool) -> bool:
    due = now() + timedelta(seconds=seconds)
    if not known:
        if tx.scalar(select(Timer.id).where(Timer.name == name)) is None:
            tx.add(Timer(name=name, due=due))
        return False
    # one that is further away than its period was put there by a setting that has since been lowered
    taken = update(Timer).where(Timer.name == name, or_(Timer.due <= now(), Timer.due > due)).values(due=due)
    return changed(tx.execute(taken)) == 1
