"""What all tiers share: a database for each test, SQLite or MariaDB (CLOUDWRIGHT_TEST_DATABASE), and callers."""

from __future__ import annotations

import logging
import os
import shutil

import pytest
from sqlalchemy import delete, literal, select, text
from sqlalchemy.util import LRUCache
from xdist.scheduler import LoadScopeScheduling

from mgmt_server import db, install
from mgmt_server.agents import ca
from mgmt_server.config import Config
from mgmt_server.db import Base, engine
from mgmt_server.db.secrets import unlock
from mgmt_server.model import everything
from mgmt_server.resources import load, seeds

KEY = b"k" * 32


# What has the machine's hosts, guests and bridges to itself: one after the other, beside all that needs only processes.
MACHINES = {"agent", "e2e", "lab", "systemvm"}
APART = {"molecule"}  # machines of its own and no guests: last on the other worker, which has less to do
TOGETHER = {"collection"} | APART  # one simulated cloud, or one set of machines, for the whole folder
LONGEST = ("tests/api/test_on_mariadb.py", "tests/crash", "tests/collection")  # first: none is left alone at the end
TOLD = "told"


class SideBySide(LoadScopeScheduling):
    """With `-n 2` a file stays on one worker (its fixtures are made once), and so do all tests on real machines."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        folder = file.split("/")[1]
        return "machines" if folder in MACHINES else folder if folder in TOGETHER else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return SideBySide(config, log)


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
        items.sort(key=lambda item: item.nodeid.split("/")[1] in APART)
        items.sort(key=lambda item: item.nodeid.split("/")[1] not in MACHINES)


@pytest.fixture
def tell(record_property):
    """Writes a line of figures that stands before the run's summary, on whichever worker it was found."""
    return lambda line: record_property(TOLD, line)


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, line in report.user_properties if report.when == "call" else ():
            if name == TOLD:
                terminalreporter.line(line)


@pytest.fixture(autouse=True)
def log_stays():
    """What a command of `cloudwright` sets up for its own process is over with its test."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    root.handlers[:] = [h for h in root.handlers if type(h).__module__.startswith("_pytest")]


@pytest.fixture(scope="session")
def loaded():
    """All tables, commands and settings; a key for secrets."""
    import mgmt_server.jobs.rows  # noqa: F401

    everything()
    load()
    unlock(KEY)


def _seeded() -> None:
    db.forget_rows()
    for seed in seeds():
        db.write(seed)
    ca.create()
    install.give_keys()


@pytest.fixture(scope="session")
def fresh_file(loaded, tmp_path_factory):
    """A seeded SQLite database, made once and copied for each test."""
    path = tmp_path_factory.mktemp("fresh") / "cloud.db"
    db.connect(f"sqlite:///{path}")
    Base.metadata.create_all(engine())
    _seeded()
    with db.reading() as session:  # the writer would begin a transaction, inside which nothing can be checkpointed
        session.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    db.disconnect()
    return path


@pytest.fixture(scope="session")
def fresh_tables(loaded):
    """The tables on the MariaDB server that the run was given, made once."""
    db.connect(os.environ["CLOUDWRIGHT_TEST_DATABASE"])
    with engine().begin() as connection:
        connection.execute(text("SET FOREIGN_KEY_CHECKS=0"))
        for table in Base.metadata.sorted_tables:
            connection.execute(text(f"DROP TABLE IF EXISTS `{table.name}`"))
        connection.execute(text("SET FOREIGN_KEY_CHECKS=1"))
        Base.metadata.create_all(connection)
    db.disconnect()


def _empty_tables() -> None:
    # each statement for itself: a transaction that a crowded machine held up would be ended as idle
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET FOREIGN_KEY_CHECKS=0"))
        for table in Base.metadata.sorted_tables:
            if connection.execute(select(literal(1)).select_from(table).limit(1)).first():
                connection.execute(delete(table))
        connection.execute(text("SET FOREIGN_KEY_CHECKS=1"))


_compiled = {}


def _keep_compiled():
    """What one test had compiled serves the next: half of a test's time otherwise. As in a server, which runs for long.

    Compiled statements are kept by dialect, so the engines of all tests get that of the first one.
    """
    for name in ("reader", "writer"):
        fresh = getattr(db._open, name)
        dialect, cache = _compiled.setdefault((name, fresh.name), (fresh.dialect, LRUCache(6000)))
        fresh.dialect = dialect
        fresh.update_execution_options(compiled_cache=cache)


@pytest.fixture
def database(request, tmp_path):
    """A fresh, seeded database."""
    url = os.environ.get("CLOUDWRIGHT_TEST_DATABASE")
    if url:
        request.getfixturevalue("fresh_tables")
        db.connect(url)
        _keep_compiled()
        _empty_tables()
        _seeded()
    else:
        shutil.copyfile(request.getfixturevalue("fresh_file"), tmp_path / "cloud.db")
        db.connect(f"sqlite:///{tmp_path}/cloud.db")
        _keep_compiled()
        db.forget_rows()
    yield
    db.disconnect()


@pytest.fixture
def config(tmp_path):
    return Config(database=f"sqlite:///{tmp_path}/cloud.db", data=tmp_path, simulator=True)
