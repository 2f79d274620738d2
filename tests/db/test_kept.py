"""What is read again and again is read once in a moment, and anew when it was changed."""

import threading

import pytest

from mgmt_server import db
from mgmt_server.db.kept import Kept


@pytest.fixture
def reads(database):
    """Something kept, what it reads, and how often it did."""
    told = {"value": ["a"], "reads": 0}

    def read(_):
        told["reads"] += 1
        return list(told["value"])

    return Kept(read), told


def test_it_is_read_once_until_it_is_forgotten(reads):
    kept, told = reads
    first = kept()
    told["value"] = ["b"]
    assert kept() is first and told["reads"] == 1
    kept.forget()
    assert kept() == ["b"] and told["reads"] == 2


def test_what_is_equal_stays_the_same_object(reads):
    kept, told = reads
    first = kept()
    kept.forget()
    assert kept() is first and told["reads"] == 2


def test_another_database_has_nothing_of_it(reads):
    kept, told = reads
    first = kept()
    db.forget_rows()
    assert kept() == first and kept() is not first


def test_a_change_while_it_is_read_is_not_lost(database):
    asked, go = threading.Event(), threading.Event()
    value = ["old"]

    def read(_):
        found = list(value)
        if not go.is_set():
            asked.set()
            assert go.wait(10)
        return found

    kept = Kept(read)
    thread = threading.Thread(target=kept)
    thread.start()
    assert asked.wait(10)
    value[0] = "new"
    kept.forget()
    go.set()
    thread.join(30)
    assert kept() == ["new"]
