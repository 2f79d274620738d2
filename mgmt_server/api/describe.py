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
        common = {
            "summary": command.description,
            "tags": [command.run.__module__.split(".")[-2]],
            "responses": _responses(command),
        }
        told = [_named(command)] + [
            {
                "name": _sent_as(p),
                "in": "query",
                "required": p.required,
                "description": p.description or _spoken(p.name),
                "schema": _schema(p),
            }
            for p in command.parameters
        ]
        form = {
            "type": "object",
            "properties": {t["name"]: t["schema"] | {"description": t["description"]} for t in told},
            "required": [t["name"] for t in told if t["required"]],
        }
        body = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
        paths[f"/client/api?command={command.name}"] = {
            "get": {"operationId": command.name, "parameters": told, **common},
            "post": {"operationId": f"{command.name}ByForm", "requestBody": body, **common},
        }
    info = {"title": "Cloudwright", "version": version, "description": "Commands of the CloudStack protocol"}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "security": [{"key": [], "signature": []}, {"session": [], "sessionkey": []}],
        "components": {"securitySchemes": _SECURITY, "schemas": {"Error": _ERROR}},
    }


_SECURITY = {
    "key": {"type": "apiKey", "in": "query", "name": "apiKey"},
    "signature": {
        "type": "apiKey",
        "in": "query",
        "name": "signature",
        "description": "HMAC-SHA1, in base64, over the sorted, encoded and lower-cased parameters",
    },
    "session": {"type": "apiKey", "in": "cookie", "name": "JSESSIONID", "description": "from command=login"},
    "sessionkey": {"type": "apiKey", "in": "query", "name": "sessionkey", "description": "from the answer to login"},
}
_ERROR = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": {
        "type": "object",
        "properties": {
            "errorcode": {"type": "integer"},
            "cserrorcode": {"type": "integer"},
            "errortext": {"type": "string"},
            "uuidList": {"type": "array"},
        },
        "required": ["errorcode", "errortext"],
    },
}
_CODES = {
    "401": "the key, the signature or the session is not accepted",
    "431": "a parameter is missing or wrong",
    "432": "there is no such command for this caller",
    "default": "any other refusal: 429 too many calls, 530 to 537 as the protocol has them",
}
_JSON = {"string": "string", "boolean": "boolean", "integer": "integer", "long": "integer", "short": "integer"}


def _named(command: Command) -> dict[str, Any]:
    told = {"name": "command", "in": "query", "required": True, "description": "the command"}
    return told | {"schema": {"type": "string", "const": command.name}}


def _sent_as(p: Any) -> str:
    return f"{p.name}[0].key" if p.grouped else str(p.name)


def _responses(command: Command) -> dict[str, Any]:
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    outer = {"type": "object", "properties": {command.response_name: _content(command)}}
    return {
        "200": {
            "description": "the answer; with response=json as told here, else as XML",
            "content": {"application/json": {"schema": outer}},
        },
        **{code: {"description": text, "content": refused} for code, text in _CODES.items()},
    }


def _content(command: Command) -> dict[str, Any]:
    """What stands under the response's name."""
    if command.is_async:
        told = {"jobid": {"type": "string"}} | ({"id": {"type": "string"}} if command.creates else {})
        return {"type": "object", "properties": told}
    fields = {
        name: {"type": t} if (t := _JSON.get(_kind(kind))) else {} for name, kind in response_fields(command).items()
    }
    whole = {"type": "object", "properties": fields}
    if command.is_list and command.key:
        return {
            "type": "object",
            "properties": {"count": {"type": "integer"}, command.key: {"type": "array", "items": whole}},
        }
    return {"type": "object", "properties": {command.key: {}}} if command.key else whole


def _schema(p: Any) -> dict[str, Any]:
    if p.type in ("integer", "long", "short"):
        return {"type": "integer"}
    if p.type == "float":
        return {"type": "number"}
    if p.type == "boolean":
        return {"type": "boolean"}
    if p.type == "uuid":
        return {"type": "string", "format": "uuid"}
    return {"type": "string", "maxLength": p.length}
