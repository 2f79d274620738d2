"""A running job: steps, replay, undo, fence."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, TypeVarTuple, cast
from uuid import UUID, uuid5

import orjson
from sqlalchemy import bindparam, exists, insert, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import Conflict, after_commit, away, changed, new_uuid, now, reading, write
from mgmt_server.db.prepared import Sent, change
from mgmt_server.errors import ApiError, Failed
from mgmt_server.jobs.moments import reached
from mgmt_server.jobs.queue import Asker, enqueue, free_waiting, function_of, name_of, overslept, wake
from mgmt_server.jobs.rows import OPEN, JobRow, StepRow
from mgmt_server.jobs.values import answer_of, plain, revived
from mgmt_server.protocol.correlation import correlated

Arguments = TypeVarTuple("Arguments")
R = TypeVar("R")
log = logging.getLogger("cloudwright.jobs")

# What the floor above adds to the end of a job, in its last transaction: (tx, row, "done" | "failed") -> JSON answer
Ending = Callable[[Session, JobRow, str], "dict[str, Any] | None"]
endings: list[Ending] = []


# Made once, as in queue: an INSERT of a step that writes nothing for whom the fence keeps out
_NOTED = [c for c in StepRow.__table__.columns if c.key not in ("id", "removed")]
_NOTE = Sent(
    insert(StepRow.__table__).from_select(  # type: ignore[arg-type]
        [c.name for c in _NOTED],
        select(*(bindparam(f"b_{c.key}", type_=c.type) for c in _NOTED)).where(
            JobRow.id == bindparam("job"), JobRow.fence == bindparam("fence")
        ),
        include_defaults=False,
    )
)


def gives_up(work: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have `work(transaction, *arguments of the flow)` run when a job of this flow has failed and all is undone.

    It runs in the transaction that ends the job: for what the call itself wrote, before the first step.
    """

    def register(flow: Callable[..., None]) -> Callable[..., None]:
        flow.gives_up = work  # type: ignore[attr-defined]
        return flow

    return register


CHILDREN = 50  # jobs that one job starts at once


@dataclass(frozen=True)
class Child:
    """A flow that another one starts as a job of its own; `instance`: type and uuid of what it is about."""

    flow: Callable[..., None]
    arguments: tuple[Any, ...]
    lock: str
    instance: tuple[str, str] = ("", "")


class Fenced(Exception):
    """Another worker has taken the job over."""


class _Waiting(Exception):
    """The job has been put aside until another one ends."""


class Job:
    """What a flow is given. See the package's docstring."""

    def __init__(self, row: JobRow, steps: list[StepRow]) -> None:
        self._row, self._fence, self._steps, self._position = row, row.fence, steps, 0
        self._half_done: StepRow | None = None
        self._sure = time.monotonic()  # when the job was known to be this worker's

    @property
    def correlation(self) -> str:
        return self._row.correlation or ""

    @property
    def asker(self) -> Asker:
        """On whose behalf it runs; for jobs that it starts."""
        row = self._row
        return Asker(row.command, row.account_id, row.domain_id, row.user_id, row.correlation or "")

    def run(self) -> None:
        """Bring the job to its end, or to where it waits."""
        with correlated(self.correlation):
            self._run()

    def _run(self) -> None:
        flow = function_of(self._row.flow)
        try:
            if not self._row.undoing:
                flow(self, *revived(flow, self._row.arguments))
                reached(self._row.command)
                write(self._end, "done")
                reached(self._row.command)
        except (Fenced, _Waiting):
            raise
        except Exception as failure:
            if away(failure):
                raise  # nothing is wrong with the job: it goes on from what is noted
            if not isinstance(failure, ApiError):
                log.exception("job %s failed", self._row.uuid)
            write(self._turn_back, *_told(failure))
        if self._row.undoing:
            self._undo()
            write(self._end, "failed")

    def write(
        self,
        work: Callable[[Session, *Arguments], R],
        *args: *Arguments,
        undo: Callable[[Session, *Arguments], Any] | None = None,
    ) -> R:
        """Run `work(transaction, *args)`, once."""

        def both(tx: Session) -> R:
            value = work(tx, *args)
            tx.flush()
            self._note(tx, self._step(work, args, undo, outside=False), value)
            return value

        if self._is_finished():
            return self._finished(work)
        reached(self._row.command)
        before = self._steps
        try:
            value = write(both)
        except BaseException:
            self._steps = before  # what was rolled back, as late as at its commit, is not undone
            raise
        reached(self._row.command)
        return self._next(value)

    def call(
        self,
        work: Callable[[UUID, *Arguments], R],
        *args: *Arguments,
        undo: Callable[[UUID, *Arguments], Any] | None = None,
    ) -> R:
        """Run `work(call id, *args)`, which must give the same when it is run again with the same id."""
        if self._is_finished():
            return self._finished(work)
        reached(self._row.command)
        self._awake()
        try:
            value = work(self._call_id(self._position), *args)
        except Exception:
            self._half_done = self._step(work, args, undo, outside=True)
            raise
        reached(self._row.command)
        write(self._note, self._step(work, args, undo, outside=True), value)
        return self._next(value)

    def wait(
        self,
        flow: Callable[..., None],
        *args: Any,
        lock: str,
        instance: tuple[str, str] = ("", ""),
        shared: bool = False,
    ) -> None:
        """Have `flow` run as a job of its own, and go on when it has ended; raise its error when it failed.

        `shared`: when an unfinished job with this flow and lock is there already, wait for that one.
        """
        child = self.write(
            _start_child, name_of(flow), [plain(a) for a in args], lock, list(instance), shared, self._row.id
        )
        with reading() as session:
            row = session.get_one(JobRow, child)
            if row.state == "failed":
                raise ApiErrorOf(row)
            if row.state == "done":
                return
        write(self._put_aside, child)
        raise _Waiting

    def wait_all(self, children: Sequence[Child]) -> list[str]:
        """Have flows run as jobs of their own, all at once, and go on when every one has ended: what those that failed
        say. Few at a time (`CHILDREN`): others' jobs queue behind them."""
        told = [[name_of(c.flow), [plain(a) for a in c.arguments], c.lock, list(c.instance)] for c in children]
        numbers = self.write(_start_children, told, self._row.id)
        columns = (JobRow.id, JobRow.state, JobRow.error)
        with reading() as session:
            rows = session.execute(select(*columns).where(JobRow.id.in_(numbers)).order_by(JobRow.id)).all()
        unfinished = [number for number, state, _ in rows if state in OPEN]
        if unfinished:
            write(self._put_aside, unfinished[-1])  # they end about in order: seldom is one left when this one has
            raise _Waiting
        return [error or "it failed" for _, state, error in rows if state == "failed"]

    def answer(self, **fields: Any) -> None:
        """Add fields to the object that the job answers with, such as a password that is told once."""
        self.write(_write_note, self._row.id, list(fields.items()))
        self._row.note = orjson.dumps(fields).decode()

    def _is_finished(self) -> bool:
        return self._position < len(self._steps)

    def _finished(self, work: Callable[..., R]) -> R:
        step = self._steps[self._position]
        if step.name != name_of(work):
            raise RuntimeError(
                f"step {self._position} was {step.name} and is now {name_of(work)}: the flow is not pure"
            )
        return self._next(cast(R, answer_of(work).validate_json(step.value)))

    def _next(self, value: R) -> R:
        self._position += 1
        return value

    def _step(self, work: Callable[..., Any], args: Any, undo: Any, *, outside: bool) -> StepRow:
        return StepRow(
            uuid=new_uuid(),
            created=now(),
            job_id=self._row.id,
            position=self._position,
            name=name_of(work),
            arguments=orjson.dumps([plain(a) for a in args]).decode(),
            value="null",
            undo=undo and name_of(undo),
            undone=False,
            outside=outside,
        )

    def _note(self, tx: Session, step: StepRow, value: Any = None) -> None:
        """Write down that a step ran, in one statement that is also the fence: it writes nothing for an old holder."""
        if value is not None:
            step.value = answer_of(function_of(step.name)).dump_json(value).decode()
        values = {f"b_{c.key}": step.__dict__[c.key] for c in _NOTED}
        if _NOTE(tx, values | {"job": self._row.id, "fence": self._fence}).rowcount != 1:
            raise Fenced
        self._steps = [*self._steps[: self._position], step]

    def _put_aside(self, tx: Session, child: int) -> None:
        # locked: the child's end waits for this, or this for it; else it would free nobody, and this wait for good
        child_state = tx.scalar(select(JobRow.state).where(JobRow.id == child).with_for_update(read=True))
        state = "waiting" if child_state in OPEN else "queued"
        self._hold(tx, state=state, waits_for=child)
        if state == "queued":
            after_commit(wake.one)

    def _awake(self) -> None:
        """Who slept past the lease asks first whether the job is still its own: no fence stands outside."""
        if not overslept(self._sure):
            return
        moment = time.monotonic()
        with reading() as session:
            if session.scalar(select(JobRow.fence).where(JobRow.id == self._row.id)) != self._fence:
                raise Fenced
        self._sure = moment

    def _hold(self, tx: Session, **values: Any) -> None:
        if change(tx, JobRow, {"id": self._row.id, "fence": self._fence}, **values) != 1:
            raise Fenced

    def _turn_back(self, tx: Session, error: str, code: int, cs_code: int, inventory: str | None) -> None:
        self._hold(tx, undoing=True, error=error, error_code=code, cs_code=cs_code, inventory=inventory)
        if self._half_done:  # a call that failed may have done something: its undo comes first
            self._note(tx, self._half_done)
        self._half_done = None
        self._row.undoing, self._row.error, self._row.error_code, self._row.cs_code = True, error, code, cs_code

    def _end(self, tx: Session, /, state: str) -> None:
        answer: dict[str, Any] | None = None
        flow = function_of(self._row.flow)
        if state == "failed" and hasattr(flow, "gives_up"):
            flow.gives_up(tx, *revived(flow, self._row.arguments))
        for ending in endings:
            answer = ending(tx, self._row, state) or answer
        result = orjson.dumps(answer).decode() if answer is not None else None
        self._hold(tx, state=state, completed=now(), result=result, note=None)
        if not self._row.command:  # what a caller asked for, no other job waits for
            free_waiting(tx, self._row.id)
        self._row.state = state

    def _undo(self) -> None:
        for step in reversed(self._steps):
            if step.undo is None or step.undone:
                continue
            undo = function_of(step.undo)
            reached(self._row.command)
            args = revived(undo, orjson.loads(step.arguments))
            try:
                if step.outside:
                    self._awake()
                    undo(self._call_id(step.position, "undo"), *args)
                    write(self._note_undone, step.position, None)
                else:
                    write(self._note_undone, step.position, undo, *args)
            except (ApiError, Conflict) as error:
                # one that cannot be undone must not keep the others from it
                log.error(
                    "job %s: %s could not be undone: %s",
                    self._row.uuid,
                    step.name,
                    error,
                    extra={"correlation": self.correlation},
                )

    def _note_undone(self, tx: Session, position: int, undo: Callable[..., Any] | None, *args: Any) -> None:
        if undo:
            undo(tx, *args)
            tx.flush()
        held = exists().where(JobRow.id == self._row.id, JobRow.fence == self._fence)
        step = update(StepRow).where(StepRow.job_id == self._row.id, StepRow.position == position, held)
        if changed(tx.execute(step.values(undone=True).execution_options(synchronize_session=False))) != 1:
            raise Fenced

    def _call_id(self, position: int, word: str = "") -> UUID:
        return uuid5(UUID(self._row.uuid), f"{position}{word}")


class ApiErrorOf(Failed):
    """The failure of a job that this one waited for."""

    def __init__(self, row: JobRow) -> None:
        super().__init__(row.error or "it failed", inventory=row.inventory or "")
        self.code, self.cs_code = row.error_code or 530, row.cs_code or 4250


def _told(failure: Exception) -> tuple[str, int, int, str | None]:
    if isinstance(failure, ApiError):
        return str(failure), failure.code, failure.cs_code, failure.inventory or None
    if isinstance(failure, Conflict):
        return f"{failure}: something else changed it meanwhile; look at its state and try again", 530, 4300, None
    return (
        f"internal error ({type(failure).__name__}); the log has the details under the job's correlation id",
        530,
        4250,
        None,
    )


def _start_child(
    tx: Session, flow: str, arguments: list[Any], lock: str, instance: list[str], shared: bool, parent: int
) -> int:
    if shared:
        same = select(JobRow.id).where(JobRow.lock == lock, JobRow.flow == flow, JobRow.state.in_(OPEN))
        found = tx.scalar(same.where(JobRow.undoing.is_(False), JobRow.command == "").order_by(JobRow.id).limit(1))
        if found is not None:
            return found
    row = tx.get_one(JobRow, parent)
    asker = Asker("", row.account_id, row.domain_id, row.user_id, row.correlation or "")
    return enqueue(
        tx, function_of(flow), tuple(arguments), lock=lock, instance=(instance[0], instance[1]), asker=asker
    ).id


def _start_children(tx: Session, told: list[Any], parent: int) -> list[int]:
    row = tx.get_one(JobRow, parent)
    asker = Asker("", row.account_id, row.domain_id, row.user_id, row.correlation or "")
    return [
        enqueue(tx, function_of(flow), tuple(arguments), lock=lock, instance=(kind, uuid), asker=asker).id
        for flow, arguments, lock, (kind, uuid) in told
    ]


def _write_note(tx: Session, job: int, fields: list[tuple[str, Any]]) -> None:
    tx.execute(update(JobRow).where(JobRow.id == job).values(note=orjson.dumps(dict(fields)).decode()))


def load(row: JobRow) -> Job:
    """A claimed job with what it has done so far."""
    if row.fence == 1:
        return Job(row, [])
    with reading() as session:
        noted = select(StepRow).where(StepRow.job_id == row.id).order_by(StepRow.position)
        return Job(row, list(session.scalars(noted)))


def unfinished_since(moment: datetime) -> Any:
    return select(JobRow).where(JobRow.state.in_(OPEN), JobRow.created < moment)
