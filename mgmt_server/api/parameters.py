"""What a parameter may be: from an annotation to a parser and to its line in listApis.

A reference to an entity is always one of two annotations, and is resolved inside the caller's scope:

    volume: Operate[Volume]      the caller may change it
    zone: Use[Zone]              the caller may refer to it

Others: str, int, float, bool, datetime; list[str], list[int], list[Use[X]]; dict[str, str] for maps whose entries are
merged (details) or key/value pairs (tags); list[dict[str, str]] for maps whose entries belong together by index.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from sqlalchemy import Select, bindparam, or_, select

from mgmt_server.errors import MalformedParameter, ParameterError

if TYPE_CHECKING:
    from mgmt_server.api.context import Context
    from mgmt_server.model.tenancy import Caller

T = TypeVar("T")
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
ENTRY = re.compile(r"([^\[\]]+)\[(\d+)\](?:\.(.+))?")
WIDEST = 2**63


@dataclass(frozen=True)
class Access:
    scope: str  # the name of the table's class method that narrows rows to the caller's


Use = Annotated[T, Access("usable_by")]
Operate = Annotated[T, Access("operable_by")]


@dataclass(frozen=True)
class Length:
    """The longest text that a parameter takes, in characters."""

    most: int


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str  # as listApis says it
    required: bool
    description: str
    length: int
    read: Callable[[Context, Any], Any]
    grouped: bool = False  # details[0].key=value
    roles: tuple[str, ...] = ()  # empty: all; for other callers it is as if not sent
    entity: Any = None  # the table that it refers to
    access: str = ""
    argument: str = ""  # the Python name
    kind: str = ""  # the list's item type


def parameter(
    name: str, hint: Any, required: bool, description: str, known: Mapping[str, Any] | None = None
) -> Parameter:
    """Build a parameter from its annotation. Raises TypeError for one that could not be checked.

    `known`: the protocol's facts of it (type, length, since, authorized).
    """
    known = known or {}
    wire = name.rstrip("_")
    kind, extras = _bare(hint)
    access = next((e for e in extras if isinstance(e, Access)), None)
    length = next((e.most for e in extras if isinstance(e, Length)), known.get("length", 255))
    roles = tuple(known.get("authorized", ())) or (("Admin",) if known.get("adminOnly") else ())
    common: dict[str, Any] = {
        "name": wire, "required": required, "description": description, "length": length, "roles": roles,
        "argument": name,
    }  # fmt: skip
    if access:
        return Parameter(
            type="uuid", read=_reference(wire, kind, access, known), entity=kind, access=access.scope, **common
        )
    if get_origin(kind) is list and get_origin(get_args(kind)[0]) is dict:
        return Parameter(type="map", read=_rows, grouped=True, **common)
    if get_origin(kind) is list:
        item = parameter(name, get_args(kind)[0], required, description, known)
        return Parameter(
            type="list", read=_items(item), entity=item.entity, access=item.access, kind=item.type, **common
        )
    if get_origin(kind) is dict:
        return Parameter(type="map", read=_merged, grouped=True, **common)
    if kind not in _SCALARS:
        raise TypeError(f"{name}: {hint} is no parameter; an entity needs Use[...] or Operate[...]")
    api_type, convert = _SCALARS[kind]
    if kind is int and known.get("type") in ("long", "short"):
        api_type = known["type"]
    if kind is str and known.get("type") == "uuid":
        api_type = "uuid"
    return Parameter(type=api_type, read=_scalar(wire, kind, convert, length, required), **common)


def _bare(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Take `| None` and Annotated[...] off: the kind, and what was annotated."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(a for a in get_args(hint) if a is not NoneType)
    if get_origin(hint) is Annotated:
        kind, *extras = get_args(hint)
        return kind, tuple(extras)
    return hint, ()


def _whole(text: str) -> int:
    number = int(text.strip(), 10)
    if not -WIDEST <= number < WIDEST:
        raise ValueError
    return number


def _number(text: str) -> float:
    number = float(text)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError
    return number


def moment(text: str) -> datetime:
    """A date as clients send it, in UTC without a zone."""
    text = text.strip().replace("Z", "+0000")
    for form in ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        try:
            value = datetime.strptime(text, form)
        except ValueError:
            continue
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    value = datetime.fromisoformat(text)
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def end_of_day(name: str, text: str, value: datetime) -> datetime:
    """An end date without a time means the whole of that day."""
    whole_day = re.fullmatch(r"\s*\d{4}-\d{2}-\d{2}\s*", text)
    return value + timedelta(days=1, seconds=-1) if name == "enddate" and whole_day else value


_SCALARS: Mapping[Any, tuple[str, Callable[[str], Any]]] = {
    str: ("string", str),
    int: ("integer", _whole),
    float: ("float", _number),
    bool: ("boolean", lambda text: text.strip().lower() == "true"),
    datetime: ("date", moment),
}


def _scalar(
    name: str, kind: Any, convert: Callable[[str], Any], length: int, required: bool
) -> Callable[[Context, str], Any]:
    def read(ctx: Context, text: str) -> Any:
        if kind is str:
            return check_text(name, text, length)
        if not text.strip() and not required:
            return None
        try:
            value = convert(text)
        except (ValueError, OverflowError):
            raise ParameterError(
                f"Unable to execute API command {ctx.command.name.lower()} due to invalid value. Invalid parameter "
                f"{name} value={text[:100]} due to incorrect {_FORMATS[kind]} format"
            ) from None
        return end_of_day(name, text, value) if kind is datetime else value

    return read


_FORMATS = {
    int: "number",
    float: "number",
    bool: "boolean",
    datetime: "date (use yyyy-MM-dd or yyyy-MM-dd'T'HH:mm:ssZ)",
}


def check_text(name: str, text: str, length: int) -> str:
    if len(text) > length:
        raise ParameterError(f"Value greater than max allowed length {length} for param: {name}")
    if CONTROL.search(text) and name not in ("publickey", "userdata"):
        raise ParameterError(f"{name} holds control characters; only line feeds are allowed")
    return text


def no_entity(name: str, text: str) -> ParameterError:
    """Missing and foreign must look alike."""
    return ParameterError(
        f"Invalid parameter {name} value={text[:100]} due to incorrect long value format, or entity does not "
        f"exist or due to incorrect parameter annotation for the field in api cmd class."
    )


def _reference(name: str, table: Any, access: Access, known: Mapping[str, Any]) -> Callable[[Context, str], Any]:
    if not hasattr(table, access.scope):
        raise TypeError(
            f"{name}: {table.__name__} does not say which rows are {access.scope.replace('_', ' ')} a caller"
        )

    def rows(caller: Caller, by_number: bool, gone: bool) -> Select[Any]:
        key = table.uuid == bindparam("_uuid")
        key = or_(key, table.id == bindparam("_number")) if by_number else key
        found = select(table).where(key, getattr(table, access.scope)(caller))
        return (found if gone else found.where(table.removed.is_(None))).limit(1)

    def read(ctx: Context, text: str) -> Any:
        text = text.strip()
        by_number = text.isdecimal() and len(text) < 19 and ctx.caller.is_root and "since" not in known
        gone = ctx.command.is_list  # a list of what is gone is empty, everything else about it is an error
        made, which = ctx.caller.statements, (table, access.scope, by_number, gone)
        if which not in made:
            made[which] = rows(ctx.caller, by_number, gone)
        sent = {"_uuid": text, "_number": int(text) if by_number else 0}
        row = ctx.session.scalar(made[which], sent) if text else None
        if row is None:
            raise no_entity(name, text)
        return row

    return read


def _items(item: Parameter) -> Callable[[Context, str], Any]:
    def read(ctx: Context, text: str) -> list[Any]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if len(parts) > 1000:
            raise ParameterError(f"{item.name} takes at most 1000 values, not {len(parts)}")
        return [item.read(ctx, part) for part in dict.fromkeys(parts)]

    return read


def entries(name: str, sent: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """name[0].a=1&name[0].b=2&name[1].a=3 -> {0: {a: 1, b: 2}, 1: {a: 3}}"""
    found: dict[int, dict[str, str]] = {}
    for key, value in sent.items():
        if not key.lower().startswith(name + "["):
            continue
        match = ENTRY.fullmatch(key)
        if match is None or match[3] is None:
            raise MalformedParameter(f"The parameter {key[:100]} is malformed: write {name}[0].field=value")
        found.setdefault(int(match[2]), {})[match[3]] = value
    return found


def _rows(_: Context, found: dict[int, dict[str, str]]) -> list[dict[str, str]]:
    return [found[index] for index in sorted(found)]


def _merged(_: Context, found: dict[int, dict[str, str]]) -> dict[str, str]:
    if all("key" in entry and len(entry) <= 2 for entry in found.values()):
        return {entry["key"]: entry.get("value", "") for entry in found.values()}
    return {key: value for index in sorted(found) for key, value in found[index].items()}
