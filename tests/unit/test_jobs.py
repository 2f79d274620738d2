"""The job engine: exactly once, at least once with one id, undo backwards, children, fences, locks."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pymysql
import pytest
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from mgmt_server.db import Uncertain, before_commit, engine, new_uuid, now, reading, write
from mgmt_server.errors import Failed
from mgmt_server.jobs import Job, enqueue, gives_up
from mgmt_server.jobs import queue as jobs_queue
from mgmt_server.jobs.flow import Child, Fenced, load
from mgmt_server.jobs.queue import LEASE, Asker, beat, claim, join_cluster, let_go, recover
from mgmt_server.jobs.rows import JobRow, Node, StepRow
from mgmt_server.jobs.worker import Shares, run_next
from mgmt_server.model.event import Alert

told: list[Any] = []
broken: set[str] = set()


def note(tx: Session, text: str) -> str:
    tx.add(Alert(type=0, name="test", subject=text))
    if text in broken:
        raise Failed(f"{text} is broken")
    return text.upper()


def unnote(tx: Session, text: str) -> None:
    tx.add(Alert(type=0, name="test", subject=f"not {text}"))


def outside(call: UUID, text: str) -> str:
    told.append((text, call))
    if text in broken:
        raise Failed(f"{text} is broken")
    return f"{text} done"


def undo_outside(call: UUID, text: str) -> None:
    told.append((f"not {text}", call))


def plain_flow(job: Job, name: str) -> None:
    job.write(note, f"{name} a", undo=unnote)
    job.call(outside, f"{name} b", undo=undo_outside)
    job.write(note, f"{name} c")


def parent(job: Job, name: str) -> None:
    job.write(note, f"{name} before", undo=unnote)
    job.wait(plain_flow, name, lock=f"child {name}", shared=True)
    job.write(note, f"{name} after")


def crowd(job: Job, name: str) -> None:
    children = [Child(plain_flow, (f"{name}{n}",), f"child {name}{n}") for n in range(3)]
    failed = job.wait_all(children)
    job.write(note, f"{name}: {'; '.join(failed) or 'all well'}")


def mind(tx: Session, name: str) -> None:
    tx.add(Alert(type=0, name="test", subject=f"{name} gave up"))


def refused_at_the_commit(tx: Session, name: str) -> None:
    tx.add(Alert(type=0, name="test", subject=name))
    before_commit(tx, _refuse)


def _refuse(_tx: Session) -> None:
    raise Failed("too late")


def late(job: Job, name: str) -> None:
    job.write(note, f"{name} a", undo=unnote)
    job.write(refused_at_the_commit, f"{name} b", undo=unnote)


@gives_up(mind)
def hopeless(job: Job, name: str) -> None:
    job.write(note, "broken")


@pytest.fixture
def node(database):
    told.clear()
    broken.clear()
    return join_cluster("test")


def queue(flow: Any, name: str, lock: str = "") -> int:
    return write(lambda tx: enqueue(tx, flow, (name,), lock=lock or name).id)


def subjects() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Alert.subject).order_by(Alert.id)))


def job(number: int) -> JobRow:
    with reading() as session:
        return session.get_one(JobRow, number)


def test_steps_run_in_order_and_once(node):
    number = queue(plain_flow, "x")
    assert run_next(node) and not run_next(node)
    assert subjects() == ["x a", "x c"] and [t for t, _ in told] == ["x b"]
    assert job(number).state == "done"


def test_a_failure_undoes_what_was_done_last_first(node):
    broken.add("x c")
    number = queue(plain_flow, "x")
    run_next(node)
    assert subjects() == ["x a", "not x a"], "what failed has left nothing, and was not undone"
    assert [t for t, _ in told] == ["x b", "not x b"]
    assert (job(number).state, job(number).error, job(number).error_code) == ("failed", "x c is broken", 530)


def test_a_step_that_is_refused_as_late_as_at_its_commit_is_not_undone(node):
    number = queue(late, "r")
    while run_next(node):
        pass
    assert (job(number).state, job(number).error) == ("failed", "too late")
    assert subjects() == ["r a", "not r a"]


def test_a_call_that_failed_half_way_is_undone_too(node):
    broken.add("x b")
    queue(plain_flow, "x")
    run_next(node)
    assert [t for t, _ in told] == ["x b", "not x b"] and subjects() == ["x a", "not x a"]


def test_after_a_crash_finished_steps_are_not_run_again(node, monkeypatch):
    number = queue(plain_flow, "x")
    row = write(claim, node)
    lost = load(row)
    lost.write(note, "x a", undo=unnote)
    outside(lost._call_id(1), "x b")  # it happened, and the note of it was lost
    write(lambda tx: tx.execute(update(Node).values(epoch=Node.epoch + 1)))
    assert recover() == 1
    again = join_cluster("test")
    assert run_next(again)
    assert subjects() == ["x a", "x c"] and job(number).state == "done"
    assert told[0] == told[1], "the call was repeated under the same id"


def test_who_was_overtaken_writes_nothing(node):
    number = queue(plain_flow, "x")
    slow = load(write(claim, node))
    write(lambda tx: tx.execute(update(Node).values(epoch=Node.epoch + 1)))
    recover()
    assert run_next(join_cluster("test"))
    with pytest.raises(Fenced):
        slow.run()
    assert subjects() == ["x a", "x c"] and job(number).state == "done"


def test_a_parent_waits_without_a_thread_and_goes_on(node):
    number = queue(parent, "p")
    assert run_next(node)
    assert job(number).state == "waiting"
    while run_next(node):
        pass
    assert job(number).state == "done"
    assert subjects() == ["p before", "p a", "p c", "p after"]


def test_a_child_that_fails_fails_its_parent_with_its_words(node):
    broken.add("p c")
    number = queue(parent, "p")
    while run_next(node):
        pass
    assert (job(number).state, job(number).error) == ("failed", "p c is broken")
    assert subjects()[-1] == "not p before"


def test_two_parents_share_a_child(node):
    first, second = queue(parent, "p", "one"), queue(parent, "p", "two")
    while run_next(node):
        pass
    assert {job(first).state, job(second).state} == {"done"}
    assert subjects().count("p a") == 1


def test_a_parent_of_many_goes_on_when_all_have_ended(node):
    broken.add("p1 c")
    number = queue(crowd, "p")
    assert run_next(node) and job(number).state == "waiting"
    assert run_next(node) and run_next(node) and job(number).state == "waiting"
    while run_next(node):
        pass
    assert job(number).state == "done"
    assert subjects()[-1] == "p: p1 c is broken", "those that failed are told, and the others were let finish"
    assert {"p0 c", "p2 c"} <= set(subjects()) and subjects().count("p0 a") == 1


def test_jobs_of_one_lock_run_one_after_the_other(node):
    queue(plain_flow, "x", "same")
    queue(plain_flow, "y", "same")
    held = write(claim, node)
    assert write(claim, node) is None, "the second waits for the first"
    load(held).run()
    assert write(claim, node) is not None


def test_what_the_call_wrote_is_taken_back_when_the_job_fails(node):
    broken.add("broken")
    queue(hopeless, "x")
    run_next(node)
    assert subjects() == ["x gave up"]


def test_a_flow_that_changed_its_steps_is_found_out(node):
    number = queue(plain_flow, "x")
    load(write(claim, node)).write(unnote, "x")
    write(lambda tx: tx.execute(update(JobRow).values(state="queued", fence=JobRow.fence + 1)))
    run_next(node)
    assert job(number).state == "failed"


def test_steps_are_sealed(node):
    queue(plain_flow, "visible-secret")
    run_next(node)
    with reading() as session:
        raw = session.connection().exec_driver_sql("SELECT arguments, value FROM job_step").all()
        assert raw and "visible-secret" not in str(raw)
        assert "visible-secret" in session.scalar(select(StepRow.arguments).limit(1))


def test_an_unknown_failure_tells_nothing_of_the_inside(node, monkeypatch):
    def explode(call: UUID, text: str) -> str:
        raise RuntimeError("/secret/path")

    explode.__module__, explode.__qualname__ = outside.__module__, outside.__qualname__
    monkeypatch.setattr("tests.unit.test_jobs.outside", explode)
    number = queue(plain_flow, new_uuid())
    run_next(node)
    assert job(number).state == "failed" and "/secret/path" not in job(number).error


def test_the_jobs_of_one_account_do_not_keep_others_waiting(database):
    node = join_cluster("fair")
    for name, account in (("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("none", None)):
        asker = Asker(account_id=account)
        write(lambda tx, n=name, a=asker: enqueue(tx, plain_flow, (n,), lock=f"fair {n}", asker=a))
    shares = Shares(4)
    one, two, nobodys = JobRow(id=901, account_id=1), JobRow(id=902, account_id=1), JobRow(id=903)
    with shares.held(one):
        assert shares.crowding() == []
        with shares.held(two), shares.held(nobodys):
            assert shares.jobs == {901, 902, 903}
            assert shares.crowding() == [1]
            taken = [write(claim, node, shares.crowding()).arguments[0] for _ in range(5)]
            assert taken == ["b1", "none", "a1", "a2", "a3"]  # the others' first, then all the same
            assert shares.reserved() and not Shares(4).reserved(), "the last of four is kept for others"
    assert shares.crowding() == [] and not shares.jobs and write(claim, node, [1]) is None
    for name, account in (("a4", 1), ("b2", 2)):
        asker = Asker(account_id=account)
        write(lambda tx, n=name, a=asker: enqueue(tx, plain_flow, (n,), lock=f"fair {n}", asker=a))
    assert write(claim, node, [1], True).arguments[0] == "b2" and write(claim, node, [1], True) is None
    assert write(claim, node, [1]).arguments[0] == "a4"


def gone(*_: Any) -> Any:
    raise OperationalError("UPDATE job", {}, pymysql.err.OperationalError(2003, "no server"))


def test_a_database_that_goes_away_fails_no_job(node, monkeypatch):
    """What is noted stays, nothing is undone, and the node itself takes the job up again."""
    number = queue(plain_flow, "x")
    with monkeypatch.context() as away:
        away.setitem(globals(), "outside", gone)
        with pytest.raises(OperationalError):
            run_next(node)
    assert subjects() == ["x a"] and job(number).state == "running"
    seen = let_go(node, {number}, set())
    assert not seen, "a thread has it"
    seen = let_go(node, (), seen)
    assert seen == {number} and job(number).state == "running", "it may just have been claimed"
    assert not let_go(node, (), seen) and job(number).state == "queued"
    assert run_next(node) and job(number).state == "done"
    assert subjects() == ["x a", "x c"] and [t for t, _ in told] == ["x b"]


@pytest.mark.parametrize("outcome", ["COMMIT", "ROLLBACK"])
def test_a_job_whose_end_may_have_been_kept_is_not_turned_back(node, outcome):
    """The link is cut amid the last commit: whether the job is over, its row says, and nobody undoes it meanwhile."""
    number = queue(plain_flow, "x")

    def cut(connection: Any) -> None:
        if connection.info.get("ends"):
            connection.info.clear()
            connection.connection.cursor().execute(outcome)
            raise OperationalError("COMMIT", {}, pymysql.err.OperationalError(2013, "lost"))

    def watch(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("UPDATE job SET state") and "done" in parameters:
            connection.info["ends"] = True

    event.listen(engine(), "commit", cut)
    event.listen(engine(), "before_cursor_execute", watch)
    with pytest.raises(Uncertain):
        run_next(node)
    event.remove(engine(), "commit", cut)
    event.remove(engine(), "before_cursor_execute", watch)
    assert subjects() == ["x a", "x c"] and not job(number).undoing
    assert job(number).state == ("done" if outcome == "COMMIT" else "running")
    let_go(node, (), let_go(node, (), ()))
    assert run_next(node) == (outcome == "ROLLBACK") and job(number).state == "done" and subjects() == ["x a", "x c"]


def test_who_slept_past_the_lease_asks_before_it_does_anything_outside(node, monkeypatch):
    number = queue(plain_flow, "x")
    lost = load(write(claim, node))
    write(lambda tx: tx.execute(update(Node).values(heartbeat=now() - 2 * LEASE)))
    assert recover() == 1
    monkeypatch.setattr(jobs_queue, "_beaten", time.monotonic() - 2 * LEASE.total_seconds())
    monkeypatch.setattr(jobs_queue, "_woken", 0.0)
    with pytest.raises(Fenced):
        lost.call(outside, "x a")
    assert beat(node), "it lives again, and its threads still have to ask"
    with pytest.raises(Fenced):
        lost.call(outside, "x a")
    assert told == []
    assert run_next(node) and job(number).state == "done" and [t for t, _ in told] == ["x b"]
