"""Transactions: run again when the database made them a victim, and never half."""

import threading

import pymysql
import pytest
from sqlalchemy import delete, event, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from mgmt_server import db
from mgmt_server.db import Again, Conflict, after_commit, engine, reading, write
from mgmt_server.model.event import Tag


def tag(key):
    return Tag(resource_type="UserVm", resource_uuid="r", key=key, value="v", account_id=2, domain_id=1)


def keys():
    with reading() as session:
        return sorted(session.scalars(select(Tag.key)))


class Injected:
    """Makes the nth statement that holds `word` fail with a code of MariaDB's, `times` times."""

    def __init__(self, code, word="INSERT INTO tag", times=1, at="before_cursor_execute"):
        self.code, self.word, self.left, self.at = code, word, times, at

    def __enter__(self):
        event.listen(engine(), self.at, self.meet)
        return self

    def __exit__(self, *_):
        event.remove(engine(), self.at, self.meet)

    def meet(self, *arguments):
        statement = arguments[2] if len(arguments) > 2 else self.word
        if self.left and self.word in statement.replace('"', "").replace("`", ""):
            self.left -= 1
            raise OperationalError(statement, {}, pymysql.err.OperationalError(self.code, "injected"))


@pytest.mark.parametrize("code", [1205, 1213, 1020, 1927, 2006, 2013])
def test_a_victim_is_run_again_once_and_whole(database, code):
    runs, effects = [], []

    def work(tx):
        runs.append(1)
        after_commit(lambda: effects.append(1))
        tx.add(tag(f"first-{len(runs)}"))
        tx.flush()
        tx.add(tag("second"))

    with Injected(code, times=2):
        write(work)
    assert len(runs) == 3 and effects == [1] and keys() == ["first-3", "second"]


@pytest.mark.mariadb
def test_a_victim_inside_a_savepoint_is_run_again(on_mariadb):
    """Two take each other's rows, in savepoints: MariaDB undoes one of them whole, its savepoint with it."""
    write(lambda tx: tx.add_all([tag("a"), tag("b")]))
    both, runs = threading.Barrier(2), []

    def cross(tx, first, second):
        runs.append(first)
        tx.execute(update(Tag).where(Tag.key == first).values(value=Tag.value + first))
        if len(runs) <= 2:
            both.wait(10)
        with tx.begin_nested():
            tx.execute(update(Tag).where(Tag.key == second).values(value=Tag.value + second))

    threads = [threading.Thread(target=write, args=(cross, *keys)) for keys in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with reading() as session:
        assert sorted(session.scalars(select(Tag.value))) == ["vaa", "vbb"], "both did all of theirs, once"
    assert len(runs) == 3
    write(lambda tx: tx.execute(delete(Tag)))


def test_a_lasting_fault_is_told_and_leaves_nothing(database, monkeypatch):
    monkeypatch.setattr(db.time, "sleep", lambda _: None)
    with Injected(1213, times=100) as fault, pytest.raises(DBAPIError):
        write(lambda tx: tx.add(tag("x")))
    assert fault.left == 100 - db.ATTEMPTS and keys() == []


def test_other_errors_are_not_repeated(database):
    with Injected(1062) as fault, pytest.raises(DBAPIError):
        write(lambda tx: tx.add(tag("x")))
    assert fault.left == 0 and keys() == []


def test_again_runs_again_and_ends_as_a_conflict(database):
    runs = []

    def work(tx):
        runs.append(1)
        tx.add(tag(f"k{len(runs)}"))
        tx.flush()
        if len(runs) < 3:
            raise Again("the last address")

    write(work)
    assert len(runs) == 3 and keys() == ["k3"]

    def never(tx):
        raise Again("the last address")

    with pytest.raises(Conflict, match="the last address"):
        write(never)


@pytest.mark.mariadb
def test_a_real_deadlock_has_one_victim_and_both_succeed(on_mariadb):
    write(lambda tx: [tx.add(tag(k)) for k in ("a", "b")])
    meet, runs = threading.Barrier(2, timeout=20), []

    def work(tx, first, second):
        runs.append(first)
        for key in (first, second):
            tx.execute(text("UPDATE tag SET value = CONCAT(value, '+') WHERE `key` = :k"), {"k": key})
            if key == first and runs.count(first) == 1:
                meet.wait()  # each holds one row and wants the other's

    threads = [threading.Thread(target=write, args=(work, *pair)) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with reading() as session:
        assert sorted(session.scalars(select(Tag.value))) == ["v++", "v++"]
    assert len(runs) == 3
    write(lambda tx: tx.execute(text("DELETE FROM tag")))


@pytest.mark.mariadb
def test_a_link_that_is_cut_in_a_transaction(on_mariadb):
    runs = []

    def work(tx):
        runs.append(1)
        tx.add(tag(f"cut-{len(runs)}"))
        tx.flush()
        if len(runs) == 1:
            number = tx.scalar(text("SELECT CONNECTION_ID()"))
            with reading() as other:
                other.execute(text(f"KILL {number}"))
        tx.add(tag("after"))
        tx.flush()

    write(work)
    assert len(runs) == 2 and keys() == ["after", "cut-2"]
    write(lambda tx: tx.execute(text("DELETE FROM tag")))


@pytest.mark.mariadb
def test_who_is_paused_amid_a_transaction_keeps_nobody_from_its_rows(on_mariadb):
    write(lambda tx: tx.add(tag("a")))
    taken, done, runs = threading.Event(), threading.Event(), []

    def change(tx):
        tx.execute(text("UPDATE tag SET value = CONCAT(value, '+') WHERE `key` = 'a'"))

    def paused(tx):
        runs.append(1)
        if len(runs) == 1:
            assert tx.scalar(text("SELECT @@idle_transaction_timeout")) == db.IDLE
            tx.execute(text("SET SESSION idle_transaction_timeout = 1"))
        change(tx)
        taken.set()
        assert done.wait(20)
        change(tx)

    thread = threading.Thread(target=write, args=(paused,))
    thread.start()
    assert taken.wait(20)
    write(change)
    done.set()
    thread.join(30)
    with reading() as session:
        assert session.scalar(select(Tag.value)) == "v+++"
    assert len(runs) == 2
    write(lambda tx: tx.execute(text("DELETE FROM tag")))
