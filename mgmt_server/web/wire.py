"""Envelopes: answers as JSON or XML, errors under the command's response name."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape

import orjson

from mgmt_server.errors import ApiError
from mgmt_server.model.settings import Setting
from mgmt_server.web.signature import encoded

JSON, XML = "application/json; charset=UTF-8", "text/xml; charset=UTF-8"
QUOTES = {'"': "&quot;", "'": "&apos;"}
API_VERSION = "4.22.1.0"  # of the protocol that is spoken; clients compare it
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # none of these may stand in a header
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")
NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
NO_NAME = re.compile(r"[^A-Za-z0-9_.-]")
EXPOSED = Setting("expose.cloudstack.version.api.xml.response", "Whether answers in XML tell the protocol's release")
JSON_TYPE = Setting("json.content.type", "The content type that answers in JSON are sent with")
ENCODED = Setting("encode.api.response", "Whether texts in answers are encoded as in URLs, for clients that expect it")


def wants_json(response: str | None) -> bool:
    return (response or "").lower() == "json"


def body(name: str, content: dict[str, Any], json: bool, version: bool = True) -> bytes:
    if json:
        return orjson.dumps({name: content})
    attribute = f' cloud-stack-version="{API_VERSION}"' if version else ""
    return f'<?xml version="1.0" encoding="UTF-8"?><{name}{attribute}>{_inside(content)}</{name}>'.encode()


def error(name: str, failure: ApiError, json: bool, version: bool = True) -> bytes:
    content: dict[str, Any] = {"uuidList": [{"uuid": uuid, "description": text} for uuid, text in failure.uuids]}
    content["errorcode"] = failure.code
    if failure.code != 401 and not getattr(failure, "plain", False):
        content["cserrorcode"] = failure.cs_code
    content["errortext"] = str(failure)
    return body(name, content, json, version)


def in_url_words(value: Any) -> Any:
    """The same content with its texts encoded as in URLs; dates stay."""
    if isinstance(value, dict):
        return {name: in_url_words(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [in_url_words(inner) for inner in value]
    return encoded(value) if isinstance(value, str) and not DATE.fullmatch(value) else value


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
