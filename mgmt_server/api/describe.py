"""listApis and OpenAPI: the registry told to clients."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from typing import Any

from mgmt_server.api.command import Command, registry
from mgmt_server.api.facts import fields_of
from mgmt_server.model.tenancy import Caller

_WORDS = re.compile(
    r"(ids?|name|type|state|status|date|count|total|size|address|network|template|offering|zone|pod|host)$"
)


def described(caller: Caller | None, simulator: bool = False) -> list[dict[str, Any]]:
    """Every command that the caller may call, with the parameters for its role. None: every command and parameter."""
    return [
        entry(c.name, caller.role if caller else None)
        for c in registry.values()
        if (caller is None or caller.may_call(c.name, c.roles)) and (simulator or not c.simulator_only)
    ]


@cache
def entry(name: str, role: str | None = None) -> dict[str, Any]:
    """One command. `role` leaves out parameters that are for others."""
    command = registry[name]
    return {
        "name": command.name,
        "description": command.description,
        "since": command.since,
        "isasync": command.is_async,
        "related": ",".join(_related(command)),
        "params": [
            _parameter(command, p) for p in command.parameters if role is None or not p.roles or role in p.roles
        ],
        "response": [_field(n, t, 0) for n, t in sorted(response_fields(command).items())],
        "type": "list" if command.is_list else "",
    }


def response_fields(command: Command) -> dict[str, str]:
    """Fields that the answer may hold, with the protocol's types."""
    if command.answers is not None:
        view = command.answers
        found = {name: view.types[name] for name in (*view.fields, *(n for one in view.more for n in one.names))}
        if view.tagged:
            found["tags"] = view.types.get("tags", "list<object<ResourceTagResponse>>")
        return {**found, **{n: view.types[n] for n in ("jobid", "jobstatus") if n in view.types}}
    try:
        return fields_of(command.response)
    except TypeError:
        return {"success": "bool", "displaytext": "string"}


def _related(command: Command) -> list[str]:
    if command.answers is None:
        return []
    same = (c.name for c in registry.values() if c.answers is not None and c.response == command.response)
    return sorted(n for n in same if n != command.name)


def _parameter(command: Command, p: Any) -> dict[str, Any]:
    told = {
        "name": p.name,
        "description": _sentence(p.description or _spoken(p.name)),
        "type": p.type,
        "length": p.length,
        "required": p.required,
    }
    if p.entity is not None:
        found = (
            c.name for c in registry.values() if c.is_list and c.answers is not None and c.answers.table is p.entity
        )
        told["related"] = ",".join(sorted(found))
    return told


def _field(name: str, kind: str, depth: int) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name, "description": _spoken(name), "type": _kind(kind)}
    inner = re.search(r"object<(\w+)>", kind)
    if inner and depth < 1:
        with suppress(
            TypeError
        ):  # an object whose class is not known is told without a list: an empty one stops Marvin
            told["response"] = [_field(n, t, depth + 1) for n, t in sorted(fields_of(inner[1]).items())]
    return told


def _kind(kind: str) -> str:
    for prefix, word in (("list", "list"), ("map", "map"), ("object", "responseobject"), ("enum", "string")):
        if kind.startswith(prefix):
            return word
    return {"bool": "boolean", "int": "integer"}.get(kind.split(":")[0], kind.split(":")[0])


def _spoken(name: str) -> str:
    """A field's name as words: clients print it, nobody relies on it."""
    words = _WORDS.sub(r" \1", name).strip()
    return f"the {words}"


def _sentence(text: str) -> str:
    return text.replace('"""', "'''").rstrip('"')


def openapi(version: str) -> dict[str, Any]:
    """An OpenAPI document of the commands: each one a path of its own, as `/client/api?command=NAME` takes them."""
    paths = {}
    for command in registry.values():
        parameters = [
            {
                "name": p.name + ("[0].key" if p.grouped else ""),
                "in": "query",
                "required": p.required,
                "description": p.description or _spoken(p.name),
                "schema": _schema(p),
            }
            for p in command.parameters
        ]
        paths[f"/client/api?command={command.name}"] = {
            "get": {
                "operationId": command.name,
                "summary": command.description,
                "tags": [command.run.__module__.split(".")[-2]],
                "parameters": parameters,
                "responses": {"200": {"description": "the answer, under " + command.response_name}},
            }
        }
    info = {"title": "Cloudwright", "version": version, "description": "Commands of the CloudStack protocol"}
    return {"openapi": "3.1.0", "info": info, "paths": paths}


def _schema(p: Any) -> dict[str, Any]:
    if p.type in ("integer", "long", "short"):
        return {"type": "integer"}
    if p.type == "boolean":
        return {"type": "boolean"}
    if p.type == "uuid":
        return {"type": "string", "format": "uuid"}
    return {"type": "string", "maxLength": p.length}
