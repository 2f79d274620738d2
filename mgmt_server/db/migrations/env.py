"""Alembic's entry: runs inside the connection that db.schema gives it."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import BigInteger, DateTime, Text

from mgmt_server.db import Base, engine
from mgmt_server.db.secrets import Secret


def rendered(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Our own column types by the names that script.py.mako gives them; everything else as Alembic has it."""
    if kind != "type":
        return False
    if isinstance(item, Secret):
        return "LONG"
    variants = getattr(item, "_variant_mapping", {})
    for known, name in ((BigInteger, "NUMBER"), (DateTime, "MOMENT"), (Text, "LONG")):
        if variants and isinstance(item, known):
            return name
    return False


connection = context.config.attributes.get("connection")
if connection is None:
    connection = engine().connect()
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=context.config.attributes.get("batch", connection.dialect.name == "sqlite"),
    compare_type=True,
    render_item=rendered,
)
with context.begin_transaction():
    context.run_migrations()
