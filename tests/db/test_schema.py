"""Models, migrations and fresh installations are one schema, on every database."""

import subprocess
import sys

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from mgmt_server.config import Config, written
from mgmt_server.db import Base, engine
from mgmt_server.db.schema import SchemaError, alembic, create, current, head, migrate
from tests.db.conftest import clear

REMEDY = "the models changed: run tools/make_migration.py (--initial before the first release)"


def upgrade():
    config = alembic()
    with engine().begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def described():
    """What the database says of its tables, in an order of our own."""
    look = inspect(engine())
    found = {}
    for table in sorted(set(look.get_table_names()) - {"alembic_version"}):
        columns = [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in look.get_columns(table)]
        keys = [(k["name"], k["constrained_columns"], k["referred_table"]) for k in look.get_foreign_keys(table)]
        unique = [(u["name"], u["column_names"]) for u in look.get_unique_constraints(table)]
        indexes = [(i["name"], i["column_names"], bool(i["unique"])) for i in look.get_indexes(table)]
        options = {k: v for k, v in look.get_table_options(table).items() if "auto_increment" not in k}
        found[table] = (*map(sorted, (columns, keys, unique, indexes)), look.get_pk_constraint(table), options)
    return found


def empty_again(kind):
    if kind == "mariadb":
        clear()
        return
    with engine().begin() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
    with engine().begin() as connection:
        connection.execute(text("PRAGMA defer_foreign_keys=ON"))
        for table in inspect(connection).get_table_names():
            connection.execute(text(f'DROP TABLE "{table}"'))


def test_the_migrations_make_what_the_models_say(empty):
    upgrade()
    with engine().connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    assert not differences, (REMEDY, differences)


def test_a_fresh_installation_is_a_migrated_one(empty):
    assert migrate() and current() == head() == "0001"
    fresh = described()
    assert len(fresh) == len(Base.metadata.tables)
    empty_again(empty)
    upgrade()
    migrated = described()
    assert current() == head()
    assert migrated.keys() == fresh.keys(), REMEDY
    for table, told in fresh.items():
        assert migrated[table] == told, (REMEDY, table)


def test_migrating_twice_changes_nothing(empty):
    assert migrate() is True
    before = described()
    assert migrate() is False
    assert described() == before


def test_a_first_setup_that_was_cut_off_is_finished(empty):
    for table in Base.metadata.sorted_tables[:20]:
        table.create(engine())
    assert migrate() is True
    assert len(described()) == len(Base.metadata.tables) and current() == head()


def test_a_database_of_somebody_else_is_left_alone(empty):
    with engine().begin() as connection:
        connection.execute(text("CREATE TABLE shopping (item INTEGER)"))
    with pytest.raises(SchemaError, match="shopping"):
        migrate()
    assert inspect(engine()).get_table_names() == ["shopping"]


def test_a_schema_of_a_newer_version_is_refused(empty):
    create()
    with engine().begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="newer"):
        migrate()


def test_no_name_is_longer_than_databases_allow(loaded):
    names = {t.name for t in Base.metadata.sorted_tables}
    for table in Base.metadata.sorted_tables:
        names |= {str(c.name) for c in (*table.indexes, *table.constraints) if c.name}
    assert not [n for n in names if len(n) > 64]


def test_the_commands_say_whether_they_changed_something(tmp_path):
    """setup, migrate and migrate again; serve refuses a database that was not migrated."""
    file = tmp_path / "cloudwright.toml"

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "mgmt_server.cli", *arguments, "--config", str(file)], capture_output=True, text=True
        )
        return done.returncode, done.stdout.strip(), done.stderr

    database = f"sqlite:///{tmp_path}/cloud.db"
    assert run("setup", "--database", database, "--data", str(tmp_path))[:2] == (0, '{"changed": true}')
    assert run("migrate")[:2] == (0, '{"changed": false}')
    other = Config(database=f"sqlite:///{tmp_path}/other.db", data=tmp_path, key=f"file:{tmp_path}/secret.key")
    file.write_text(written(other))
    code, _, told = run("serve")
    assert code == 2 and "cloudwright migrate" in told
    assert run("migrate")[:2] == (0, '{"changed": true}')
