"""Settings that the protocol knows and nothing here uses; and that all others are used."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import mgmt_server
from mgmt_server.db import reading
from mgmt_server.model import settings as declared
from mgmt_server.model.event import SettingValue
from mgmt_server.model.settings import Setting, settings
from tests.cloud import Refused

HERE = Path(mgmt_server.__file__).parent
SPOKEN = ("name", "default", "description", "type")  # to tell of a setting is not to use its value


def kept(name: str) -> str | None:
    with reading() as session:
        return session.scalar(select(SettingValue.value).where(SettingValue.name == name))


def test_a_setting_that_nothing_uses_is_taken_and_not_listed(cloud):
    name = min(set(declared._facts()) - set(settings))
    before = cloud.ask("listConfigurations", listall=True)["count"]
    told = cloud.ask("updateConfiguration", name=name, value="true")["configuration"]
    assert told["name"] == name and "makes no use of it" in told["description"]
    assert kept(name) == "true"
    assert cloud.ask("listConfigurations", name=name) == {}
    assert cloud.ask("listConfigurations", listall=True)["count"] == before and name not in settings
    cloud.ask("resetConfiguration", name=name)
    assert kept(name) is None
    with pytest.raises(Refused, match="doesn't exist"):
        cloud.ask("updateConfiguration", name=f"{name}.x", value="true")


# --- what is declared is read ---


def modules() -> Iterator[tuple[str, ast.Module, str]]:
    for file in HERE.rglob("*.py"):
        parts = file.relative_to(HERE.parent).with_suffix("").parts
        text = file.read_text()
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(text), text


def reads(module: str, tree: ast.Module) -> set[str]:
    """Names of modules' contents that are used here, as MODULE.NAME of where they were imported from."""
    names: dict[str, str] = {}
    told, asked_for, found = set(), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {n.asname or n.name: f"{node.module}.{n.name}" for n in node.names}
    for node in ast.walk(tree):  # breadth first: what stands around a node comes before it
        if isinstance(node, ast.Compare):  # a statement that looks for the value's row
            asked_for |= {id(side) for side in (node.left, *node.comparators)}
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        if isinstance(node, ast.Attribute) and node.attr in SPOKEN and id(node) not in asked_for:
            told.add(id(node.value))
            continue
        if id(node) in told:
            continue
        if isinstance(node, ast.Name):
            found.add(names.get(node.id, f"{module}.{node.id}"))
        elif isinstance(node.value, ast.Name):
            found.add(f"{names.get(node.value.id, node.value.id)}.{node.attr}")
    return found


def held(value: Any) -> Iterator[Setting]:
    if isinstance(value, Setting):
        yield value
    elif isinstance(value, dict):
        yield from () if value is settings else (one for part in (*value, *value.values()) for one in held(part))
    elif isinstance(value, tuple | list):
        yield from (one for part in value for one in held(part))


def test_every_setting_that_is_declared_is_read_somewhere():
    used: set[str] = set()
    for module, tree, text in modules():
        used |= reads(module, tree)
        if "Setting(" in text:
            importlib.import_module(module)
    places: dict[str, set[str]] = {}
    for module, loaded in list(sys.modules.items()):
        if module.startswith("mgmt_server."):
            for name, value in vars(loaded).items():
                for setting in held(value):
                    places.setdefault(setting.name, set()).add(f"{module}.{name}")
    ours = {n: s for n, s in settings.items() if not n.startswith("test.")}
    assert len(ours) > 200
    assert {n: places.get(n) for n in ours if not places.get(n, set()) & used} == {}
