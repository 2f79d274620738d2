"""Values of steps, as JSON and back. Frozen dataclasses, numbers, texts, lists and dicts of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def plain(value: Any) -> Any:
    """A value as JSON can say it."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json")


def typed(hint: Any, value: Any) -> Any:
    return _adapter(hint).validate_python(value)


@cache
def answer_of(work: Callable[..., Any]) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(work)["return"])


@cache
def arguments_of(work: Callable[..., Any]) -> list[Any]:
    """The annotations of a function's parameters, in order."""
    hints = get_type_hints(work)
    return [hints[name] for name in inspect.signature(work).parameters]


def revived(work: Callable[..., Any], arguments: list[Any], skip: int = 1) -> list[Any]:
    """Noted arguments as `work` takes them; the first `skip` parameters are not among them."""
    hints = arguments_of(work)[skip:]
    return [typed(h, a) for h, a in zip(hints, arguments, strict=False)]
