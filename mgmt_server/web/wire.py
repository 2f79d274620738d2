"""Envelopes: answers as JSON or XML, errors under the command's response name."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape

import orjson

from mgmt_server.errors import ApiError

JSON, XML = "application/json; charset=UTF-8", "text/xml; charset=UTF-8"
QUOTES = {'"': "&quot;", "'": "&apos;"}
API_VERSION = "4.22.1.0"  # of the protocol that is spoken; clients compare it
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # none of these may stand in a header
NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
NO_NAME = re.compile(r"[^A-Za-z0-9_.-]")


def wants_json(response: str | None) -> bool:
    return (response or "").lower() == "json"


def body(name: str, content: dict[str, Any], json: bool, version: bool = True) -> bytes:
    if json:
        return orjson.dumps({name: content})
    attribute = f' cloud-stack-version="{API_VERSION}"' if version else ""
    return f'<?xml version="1.0" encoding="UTF-8"?><{name}{attribute}>{_inside(content)}</{name}>'.encode()


def error(name: str, failure: ApiError, json: bool, version: bool = True) -> bytes:
    content: dict[str, Any] = {"errorcode": failure.code, "errortext": str(failure)}
    if failure.code not in (401,) and not getattr(failure, "plain", False):
        content = {"uuidList": [], "errorcode": failure.code, "cserrorcode": failure.cs_code, "errortext": str(failure)}
    if failure.uuids and json:
        content["uuidList"] = [{"uuid": uuid, "description": text} for uuid, text in failure.uuids]
    elif failure.code in (401,):
        content = {"uuidList": [], **content} if json else content
    if not json:
        content.pop("uuidList", None)
    return body(name, content, json, version)


def header(text: str) -> str:
    """A text as a header takes it: one line of ASCII, since clients differ on what else would mean."""
    return CONTROL.sub(" ", text[:2000]).encode("ascii", "replace").decode()


def _inside(content: dict[str, Any]) -> str:
    return "".join(_element(_tag(name), value) for name, value in content.items())


@lru_cache(5000)
def _tag(name: str) -> str:
    """A key as the name of an element: those of details are anything that somebody wrote."""
    plain = NO_NAME.sub("_", str(name))
    return plain if plain[:1].isalpha() or plain[:1] == "_" else f"_{plain}"


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, dict):
        return f"<{name}>{_inside(value)}</{name}>"
    if isinstance(value, bool):
        value = "true" if value else "false"
    text = NO_XML.sub("?", str(value))
    return f"<{name}>{escape(text, QUOTES)}</{name}>"
