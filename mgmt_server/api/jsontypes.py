"""The JSON types that the protocol gives the fields of its answers, and how values of columns become them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any


def date(value: datetime) -> str:
    return value.isoformat(timespec="seconds") + "+0000"  # strftime takes eight times as long


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return date(value)
    return str(value)


# protocol type -> what makes it of values of other Python types than the one in _NATIVE
_TYPES: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "int": int,
    "long": int,
    "short": int,
    "bool": bool,
    "date": date,
    "float": float,
    "double": float,
    "decimal": float,
}
_NATIVE = {
    "string": "str",
    "int": "int",
    "long": "int",
    "short": "int",
    "bool": "bool",
    "float": "float",
    "double": "float",
}


def converter_of(told: str, column: Any) -> Callable[[Any], Any] | None:
    """What makes the values of a column those of a field of this type; None where they are that already."""
    kind = told.split(":")[0]
    if kind.startswith("enum"):
        kind = "string"
    convert = _TYPES.get(kind)
    try:
        python = column.type.python_type.__name__
    except (AttributeError, NotImplementedError):
        python = ""
    return None if convert is None or _NATIVE.get(kind) == python else convert
