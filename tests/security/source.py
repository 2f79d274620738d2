"""What the tests of published faults look at: the source, and what accounts of the world own."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from sqlalchemy import select

import mgmt_server
from mgmt_server.db import reading

SOURCE = Path(mgmt_server.__file__).parent


@cache
def modules():
    return {path: ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


def calls(tree):
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def called(node):
    return ast.unparse(node.func)


def own(world, table, name):
    with reading() as session:
        rows = session.scalars(select(table).where(table.account_id == world.users[name].account_id))
        return rows.first()
