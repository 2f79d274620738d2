"""From a server's scope to what was asked, and the answer back: plain ASGI, since every call goes through here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_plus

from starlette.requests import cookie_parser

from mgmt_server.errors import ApiError, ParameterError
from mgmt_server.web import wire
from mgmt_server.web.front import Answered, Asked

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LARGEST = 2_097_152  # bytes of a request's body: user data of 1,048,576 characters, written as a form, and the rest
MOST_KEYS = 5000
PATIENCE = 60.0  # seconds for a body to come
BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,70})"?', re.IGNORECASE)
FIELD = re.compile(r'content-disposition:[^\r\n]*[;\s]name="([^"\r\n]+)"', re.IGNORECASE)
FORM = "application/x-www-form-urlencoded"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-xss-protection", b"1;mode=block"),
    (b"content-security-policy", b"default-src 'none'"),
    (b"cache-control", b"no-store"),
)


class TooLarge(ApiError):
    code = 413


class TooSlow(ApiError):
    code = 408


class NoMethod(ApiError):
    code = 405


class Gone(Exception):
    """The caller hung up before the request was whole."""


def read_pairs(query: str, body: bytes, kind: str) -> dict[str, str]:
    """Parameters of the query string and of a form; the query string wins, and its last of a name."""
    sent: dict[str, str] = {}
    if body and kind.startswith("application/x-www-form-urlencoded"):
        for name, value in reversed(_pairs(body.decode("utf-8", "replace"))):
            sent[name] = value
    for name, value in _pairs(query):
        sent[name] = value
    return sent


def _pairs(encoded: str) -> list[tuple[str, str]]:
    if encoded.count("&") >= MOST_KEYS:
        raise ParameterError(f"more than {MOST_KEYS} parameters")
    pairs = (pair.partition("=") for pair in encoded.split("&") if "=" in pair)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs if name]


def headers_of(scope: Scope) -> dict[str, str]:
    """By name in lower case; lines of one name become one list."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in found:
            value = f"{found[name]}{'; ' if name == 'cookie' else ', '}{value}"
        found[name] = value
    return found


async def read(scope: Scope, receive: Receive) -> Asked:
    """Raises ApiError for what is no request of the API, Gone when nobody waits for an answer."""
    method = scope["method"]
    headers = headers_of(scope)
    if method == "POST":
        async with asyncio.timeout(PATIENCE):
            body = await _body(receive, headers.get("content-length", ""))
    elif method == "GET":
        body = b""
    else:
        raise NoMethod(f"{method} has no meaning here: send GET or POST")
    kind = headers.get("content-type", FORM)
    sent = read_pairs(scope["query_string"].decode("utf-8", "replace"), body, kind)
    if kind.startswith("multipart/form-data"):
        sent = {**_multipart(body, kind), **sent}
    client = scope.get("client")
    asked = Asked(method, sent, address=client[0] if client else "", headers=headers, secure=scope["scheme"] == "https")
    if "cookie" in headers:
        cookies = cookie_parser(headers["cookie"])
        asked.cookie, asked.key_cookie = cookies.get("JSESSIONID", ""), cookies.get("sessionkey")
    return asked


async def _body(receive: Receive, told: str) -> bytes:
    if told.isdecimal() and int(told[:20]) > LARGEST:
        raise TooLarge(f"the request's body is larger than {LARGEST} bytes")
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > LARGEST:
            raise TooLarge(f"the request's body is larger than {LARGEST} bytes")
    return b"".join(parts)


def _multipart(body: bytes, kind: str) -> dict[str, str]:
    """The plain fields of a multipart form; files have no meaning in the API."""
    boundary = BOUNDARY.search(kind)
    if boundary is None:
        return {}
    parts = body.split(b"--" + boundary[1].encode("latin-1"), MOST_KEYS + 1)
    if len(parts) > MOST_KEYS:
        raise ParameterError(f"more than {MOST_KEYS} parameters")
    sent: dict[str, str] = {}
    for part in parts[1:]:
        head, end, value = part.partition(b"\r\n\r\n")
        name = FIELD.search(head.decode("utf-8", "replace"))
        if end and name and "filename=" not in head.decode("latin-1").lower():
            sent.setdefault(name[1], value.removesuffix(b"\r\n").decode("utf-8", "replace"))
    return sent


def refused(failure: ApiError) -> Answered:
    """The answer to what never became a call."""
    return Answered(failure.code, wire.error("errorresponse", failure, True), wire.JSON, {}, [])


async def answer(scope: Scope, send: Send, done: Answered, close: bool = False) -> None:
    headers = [
        (b"content-type", done.media.encode("latin-1")),
        (b"content-length", str(len(done.body)).encode()),
        *HEADERS,
        *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in done.headers.items()),
        *((b"set-cookie", cookie.encode("latin-1")) for cookie in done.cookies),
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": done.status, "headers": headers})
    await send({"type": "http.response.body", "body": done.body})
