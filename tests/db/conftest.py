"""Databases for these tests: SQLite always, and a MariaDB server that the run starts for itself."""

import pytest
from sqlalchemy import text

from mgmt_server import db
from mgmt_server.api import callers
from mgmt_server.db import engine
from mgmt_server.model import settings
from tests import mariadb
from tests.conftest import KEY


@pytest.fixture(scope="session")
def mariadb_url():
    if not mariadb.available():
        pytest.skip("MariaDB is not installed")
    with mariadb.server() as url:
        yield url


def clear() -> None:
    with engine().begin() as connection:
        connection.execute(text("SET FOREIGN_KEY_CHECKS=0"))
        for (name,) in connection.execute(text("SHOW TABLES")).all():
            connection.execute(text(f"DROP TABLE `{name}`"))
        connection.execute(text("SET FOREIGN_KEY_CHECKS=1"))


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def empty(request, loaded, tmp_path):
    """An open database without tables."""
    if request.param == "sqlite":
        db.connect(f"sqlite:///{tmp_path}/cloud.db")
    else:
        db.connect(request.getfixturevalue("mariadb_url"), pool=32)
        clear()
    yield request.param
    db.disconnect()


@pytest.fixture(scope="module")
def prepared_mariadb(loaded, mariadb_url):
    """MariaDB with all tables and seeds, made once for a file of tests."""
    from mgmt_server.db.secrets import unlock
    from mgmt_server.install import prepare

    unlock(KEY)
    callers.forget()
    settings.forget()
    db.connect(mariadb_url, pool=32)
    clear()
    prepare()
    db.disconnect()
    return mariadb_url


@pytest.fixture
def on_mariadb(prepared_mariadb):
    callers.forget()
    settings.forget()
    db.connect(prepared_mariadb, pool=32)
    yield
    db.disconnect()


@pytest.fixture
def fresh_mariadb(prepared_mariadb):
    """As on_mariadb, without what earlier tests left: for those that recount the whole cloud."""
    from tests.conftest import _empty_tables, _seeded

    db.connect(prepared_mariadb, pool=32)
    _empty_tables()
    _seeded()
    yield
    db.disconnect()
