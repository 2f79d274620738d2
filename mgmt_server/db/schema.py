"""The schema: created from the models on a fresh database, migrated on every other."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from mgmt_server.db import Base, engine


class SchemaError(Exception):
    """The database's tables are not what a migration could start from; the text says what to do."""


def alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head() -> str | None:
    return ScriptDirectory.from_config(alembic()).get_current_head()


def current() -> str | None:
    with engine().connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate() -> bool:
    """Bring the schema to this version: whether there was something to do. All tables must have been imported."""
    before = current()
    if before == head():
        return False
    if before is None:
        _must_be_empty()
        create()
        return True
    config = alembic()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before not in known:
        raise SchemaError(
            f"the database has the schema {before}, which this version does not know: it was used by a newer one. "
            "Install that version again, or restore the backup that was made before"
        )
    with engine().begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return True


def _must_be_empty() -> None:
    """Tables of ours without a row are what a first setup left that was cut off: it is finished."""
    with engine().connect() as connection:
        there = set(inspect(connection).get_table_names()) - {"alembic_version"}
        ours = {name: table for name, table in Base.metadata.tables.items() if name in there}
        foreign = sorted(there - ours.keys())
        foreign += sorted(name for name, table in ours.items() if connection.execute(table.select().limit(1)).first())
    if foreign:
        raise SchemaError(
            "the database has no schema version, and tables that are another program's or hold rows: "
            f"{', '.join(foreign[:5])}. Nothing was changed: name an empty database, or restore a backup of this one"
        )


def create() -> None:
    """All tables of this version on an empty database, and its version."""
    config = alembic()
    with engine().begin() as connection:
        Base.metadata.create_all(connection)
        config.attributes["connection"] = connection
        command.stamp(config, "head")
