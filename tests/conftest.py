"""What all tiers share: a database for each test, SQLite or MariaDB (CLOUDWRIGHT_TEST_DATABASE), and callers."""

from __future__ import annotations

import logging
import os
import shutil

import pytest
from sqlalchemy import delete, literal, select, text

from mgmt_server import db, install
from mgmt_server.config import Config
from mgmt_server.db import Base, engine
from mgmt_server.db.secrets import unlock
from mgmt_server.model import everything
from mgmt_server.resources import load, seeds

KEY = b"k" * 32


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
    with engine().begin() as connection:
        connection.execute(text("SET FOREIGN_KEY_CHECKS=0"))
        for table in Base.metadata.sorted_tables:
            if connection.execute(select(literal(1)).select_from(table).limit(1)).first():
                connection.execute(delete(table))
        connection.execute(text("SET FOREIGN_KEY_CHECKS=1"))


@pytest.fixture
def database(request, tmp_path):
    """A fresh, seeded database."""
    url = os.environ.get("CLOUDWRIGHT_TEST_DATABASE")
    if url:
        request.getfixturevalue("fresh_tables")
        db.connect(url)
        _empty_tables()
        _seeded()
    else:
        shutil.copyfile(request.getfixturevalue("fresh_file"), tmp_path / "cloud.db")
        db.connect(f"sqlite:///{tmp_path}/cloud.db")
        db.forget_rows()
    yield
    db.disconnect()


@pytest.fixture
def config(tmp_path):
    return Config(database=f"sqlite:///{tmp_path}/cloud.db", data=tmp_path, simulator=True)
