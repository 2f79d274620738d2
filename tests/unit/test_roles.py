"""What a role says it takes (meta/argument_specs.yml) is what it takes (defaults/main.yml)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).parents[2] / "roles"


class Loader(yaml.SafeLoader):
    """YAML of Ansible: a vault or unsafe text is its text."""


Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))


def load(path: Path):
    return yaml.load(path.read_text(), Loader=Loader)  # noqa: S506


def roles() -> list[Path]:
    return sorted(folder for folder in ROLES.iterdir() if folder.is_dir())


def differences(defaults: dict, spec: dict) -> list[str]:
    """Sentences on what the two files of a role say differently."""
    entries = spec["argument_specs"]
    main = entries["main"].get("options", {})
    found = [f"{name}: in defaults, not in the specification" for name in sorted(defaults.keys() - main.keys())]
    for entry, told in entries.items():
        for name, option in told.get("options", {}).items():
            found += [f"{entry}: {sentence}" for sentence in about(name, option, defaults)]
    return found


def about(name: str, option: dict, defaults: dict) -> list[str]:
    said = []
    if not option.get("description"):
        said.append(f"{name} has no description")
    if option.get("required"):
        if name in defaults:
            said.append(f"{name} is required, but has a default")
    elif name not in defaults:
        said.append(f"{name} is neither required nor in defaults")
    elif "default" not in option:
        said.append(f"{name} has the default {defaults[name]!r}, the specification none")
    elif option["default"] != defaults[name] or type(option["default"]) is not type(defaults[name]):
        said.append(f"{name} is {defaults[name]!r} by default, {option['default']!r} in the specification")
    return said


@pytest.mark.parametrize("role", roles(), ids=lambda role: role.name)
def test_defaults_equal_argument_specs(role: Path) -> None:
    spec = role / "meta/argument_specs.yml"
    assert spec.is_file(), f"{role.name} has no meta/argument_specs.yml"
    defaults = role / "defaults/main.yml"
    found = differences((load(defaults) if defaults.is_file() else None) or {}, load(spec))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("role", roles(), ids=lambda role: role.name)
def test_every_default_carries_the_name_of_its_role(role: Path) -> None:
    defaults = role / "defaults/main.yml"
    names = (load(defaults) if defaults.is_file() else None) or {}
    assert [name for name in names if not name.startswith(f"{role.name}_")] == []


@pytest.mark.parametrize(
    ("defaults", "option", "expected"),
    [
        ({"r_a": 1}, {"description": "a", "default": 1}, []),
        ({"r_a": 1}, {"description": "a", "default": True}, ["main: r_a is 1 by default, True in the specification"]),
        ({"r_a": 1}, {"description": "a"}, ["main: r_a has the default 1, the specification none"]),
        ({"r_a": 1}, {"default": 1}, ["main: r_a has no description"]),
        ({}, {"description": "a", "required": True}, []),
        ({"r_a": 1}, {"description": "a", "required": True}, ["main: r_a is required, but has a default"]),
        ({}, {"description": "a", "default": 1}, ["main: r_a is neither required nor in defaults"]),
    ],
)
def test_what_counts_as_a_difference(defaults: dict, option: dict, expected: list[str]) -> None:
    assert differences(defaults, {"argument_specs": {"main": {"options": {"r_a": option}}}}) == expected


def test_a_default_outside_the_specification_is_a_difference() -> None:
    told = differences({"r_b": 1}, {"argument_specs": {"main": {"options": {}}}})
    assert told == ["r_b: in defaults, not in the specification"]
