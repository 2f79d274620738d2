"""Dataclasses to JSON and back: typed, checked, and quick enough for every message of thousands of hosts.

A message from a newer version may carry fields that we do not know: they are ignored. A field that is missing must
have a default; a value of the wrong shape is refused with the path to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

T = TypeVar("T")
Reader = Callable[[Any, str], Any]  # (value, where it stands) -> what it means


class BadMessage(ValueError):
    """What came over the wire is not what it claims to be; the text says where."""


def dump(value: Any) -> bytes:
    """JSON of a dataclass or of plain values."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def plain(value: Any) -> Any:
    """The same value as dicts, lists, text and numbers."""
    return orjson.loads(dump(value))


def parse(data: str | bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"not JSON: {error}") from None


def build(kind: type[T], value: Any, where: str = "") -> T:
    """`value` (of JSON) as a `kind`: a dataclass, list[X], tuple[X, ...], dict[str, X], or a plain type."""
    reader: Reader = _reader(kind)  # type: ignore[arg-type]  # a type is hashable
    result: T = reader(value, where or getattr(kind, "__name__", "value"))
    return result


@cache
def _reader(kind: Any) -> Reader:
    if kind is Any:
        return lambda value, where: value
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _optional_reader(arguments)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return _fixed_tuple_reader(arguments)
    if origin in (tuple, list):
        return _sequence_reader(origin, _reader(arguments[0]))
    if origin is dict:
        return _dict_reader(_reader(arguments[1]))
    return _plain_reader(kind)


def _plain_reader(kind: Any) -> Reader:
    def read(value: Any, where: str) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise BadMessage(f"{where} is {type(value).__name__}, not {getattr(kind, '__name__', kind)}")

    return read


def _optional_reader(arguments: tuple[Any, ...]) -> Reader:
    inner = [_reader(a) for a in arguments if a is not NoneType]
    if len(inner) != 1 or len(arguments) != 2:
        raise TypeError(f"only X | None can be read from JSON, not {arguments}")
    only = inner[0]
    return lambda value, where: None if value is None else only(value, where)


def _sequence_reader(origin: type, item: Reader) -> Reader:
    def read(value: Any, where: str) -> Any:
        if type(value) is not list:
            raise BadMessage(f"{where} is {type(value).__name__}, not a list")
        return origin(item(one, where) for one in value)

    return read


def _fixed_tuple_reader(arguments: tuple[Any, ...]) -> Reader:
    readers = [_reader(a) for a in arguments]

    def read(value: Any, where: str) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise BadMessage(f"{where} is not a list of {len(readers)}")
        return tuple(one(v, where) for one, v in zip(readers, value, strict=True))

    return read


def _dict_reader(item: Reader) -> Reader:
    def read(value: Any, where: str) -> Any:
        if type(value) is not dict:
            raise BadMessage(f"{where} is {type(value).__name__}, not an object")
        return {key: item(one, f"{where}.{key}") for key, one in value.items()}

    return read


def _dataclass_reader(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    known = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(kind)}
    needed = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]

    def read(value: Any, where: str) -> Any:
        if type(value) is not dict:
            raise BadMessage(f"{where} is {type(value).__name__}, not an object")
        for name in needed:
            if name not in value:
                raise BadMessage(f"{where} has no {name}")
        return kind(**{k: known[k](v, f"{where}.{k}") for k, v in value.items() if k in known})

    return read
