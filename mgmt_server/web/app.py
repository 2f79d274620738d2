"""Bytes in, bytes out. `/client/api` is one raw route that answers bytes; FastAPI is the shell around it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import orjson
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mgmt_server.api.callers import Known, by_user
from mgmt_server.api.command import Command, find, registry
from mgmt_server.api.describe import openapi
from mgmt_server.api.execute import answer
from mgmt_server.api.facts import response_name
from mgmt_server.db import Conflict, new_uuid, reading
from mgmt_server.errors import ApiError, NotPermitted, ParameterError, Unauthenticated
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.protocol.correlation import correlated, current
from mgmt_server.web import session, wire
from mgmt_server.web.metrics import Metrics
from mgmt_server.web.signature import REFUSED, verified

log = logging.getLogger("cloudwright.api")
LARGEST = 1_048_576  # bytes of a request's body
MOST_KEYS = 5000
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1;mode=block",
    "content-security-policy": "default-src 'none'",
}
READS = ("get", "list", "query", "find")


@dataclass
class Asked:
    """A request, as far as commands care."""

    method: str
    sent: dict[str, str]  # names as they came
    cookie: str = ""
    key_cookie: str | None = None
    address: str = ""
    open: bool = False  # came by the integration port


@dataclass
class Answered:
    status: int
    body: bytes
    media: str
    headers: dict[str, str]
    cookies: list[str]


class TooLarge(ApiError):
    code = 413


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


class Front:
    """Takes what was asked to the command and brings the answer back."""

    def __init__(self, *, simulator: bool, metrics: Metrics) -> None:
        self.simulator, self.metrics = simulator, metrics

    def serve(self, asked: Asked) -> Answered:
        lower = {name.lower(): value for name, value in asked.sent.items()}
        json = wire.wants_json(lower.get("response"))
        name = lower.get("command", "")
        with correlated(new_uuid()):
            return self._serve(asked, lower, json, name)

    def _serve(self, asked: Asked, lower: Mapping[str, str], json: bool, name: str) -> Answered:
        correlation = current.get()
        began = time.perf_counter()
        version = False
        try:
            if name in ("login", "logout"):
                return self._session(name, asked, lower, json)
            known = self._who(asked, lower)
            version = not asked.open
            command = self._command(known, name, asked.open)
            # maps keep the case of their field names; everything else is found in any case
            content = answer(known.caller, command, _canonical(asked.sent), correlation, self.simulator)
            done = Answered(200, wire.body(command.response_name, content, json, version), _media(json), {}, [])
        except ApiError as failure:
            done = self._failed(failure, name, json, version, asked)
        except Conflict as conflict:
            text = f"{conflict}: something else changed it meanwhile; look at its state and try again"
            done = self._failed(ApiError(text, cs_code=4300), name, json, version, asked)
        except Exception:
            log.exception("%s failed", name[:100])
            text = f"internal error; the log has the details under {correlation}"
            done = self._failed(ApiError(text), name, json, version, asked)
        self.metrics.call(name if name in registry else "unknown", done.status, time.perf_counter() - began)
        if log.isEnabledFor(logging.INFO):
            log.info(
                "%s %s",
                name[:100],
                done.status,
                extra={
                    "address": asked.address,
                    "ms": int(1000 * (time.perf_counter() - began)),
                },
            )
        return done

    def _who(self, asked: Asked, lower: Mapping[str, str]) -> Known:
        if asked.open:
            known = by_user(SYSTEM_USER)
            if known is None:
                raise ApiError("the system user is missing: run cloudwright setup")
            return known
        if asked.cookie:
            return session.of_request(asked.cookie, lower, asked.key_cookie)
        return verified(asked.sent)

    def _command(self, known: Known, name: str, is_open: bool) -> Command:
        if name not in registry and not is_open:
            raise Unauthenticated(REFUSED)
        command = find(known.caller, name)
        if command.simulator_only and not self.simulator:
            raise NotPermitted(f"{name} is there only on a simulator")
        return command

    def _session(self, name: str, asked: Asked, lower: Mapping[str, str], json: bool) -> Answered:
        if name == "logout":
            if not asked.cookie or not session.log_out(asked.cookie):
                failure = ParameterError("no session to log out of")
                return Answered(431, wire.error("logoutresponse", failure, json), _media(json), {}, [])
            cookies = ["JSESSIONID=; Path=/client; Max-Age=0", "sessionkey=; Path=/client; Max-Age=0"]
            return Answered(
                200, wire.body("logoutresponse", {"description": "success"}, json), _media(json), {}, cookies
            )
        if asked.method != "POST":
            return Answered(405, b"Please use HTTP POST to authenticate using this API", _media(json), {}, [])
        if asked.cookie:
            session.log_out(asked.cookie)
        greeting, number, key = session.log_in(lower, asked.address)
        cookies = [
            f"JSESSIONID={number}; Path=/client; HttpOnly; SameSite=Lax",
            f"sessionkey={key}; Path=/client; HttpOnly; SameSite=Lax",
        ]
        return Answered(200, wire.body("loginresponse", greeting, json), _media(json), {}, cookies)

    def _failed(self, failure: ApiError, name: str, json: bool, version: bool, asked: Asked) -> Answered:
        if failure.code == 432 or (failure.code == 401 and name not in registry):
            named = name or any(key.lower() == "command" for key in asked.sent)
            outer = "errorresponse" if named or asked.open else "null"
        else:
            outer = response_name(name) if name else "errorresponse"
        text = str(failure).replace("\n", " ").encode("latin-1", "replace").decode("latin-1")
        body = wire.error(outer, failure, json, version)
        return Answered(failure.code, body, _media(json), {"X-Description": text[:2000]}, [])


def _canonical(sent: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, value in sent.items():
        outer, bracket, rest = name.partition("[")
        found[outer.lower() + bracket + rest] = value
    return found


def _media(json: bool) -> str:
    return wire.JSON if json else wire.XML


def create(
    *,
    simulator: bool = False,
    version: str = "",
    threads: int = 16,
    metrics: Metrics | None = None,
    health: Callable[[], dict[str, Any]] | None = None,
    collectors: CollectorRegistry | None = None,
) -> FastAPI:
    """The application of port 8080. `health` tells what besides the database has to be well."""
    metrics = metrics or Metrics()
    front = Front(simulator=simulator, metrics=metrics)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="api")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="Cloudwright", version=version, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )

    async def client_api(request: Request) -> Response:
        asked = await _read(request)
        if isinstance(asked, Response):
            return asked
        done = await asyncio.get_running_loop().run_in_executor(pool, front.serve, asked)
        return _response(done)

    app.router.add_route("/client/api", client_api, methods=["GET", "POST"])
    app.router.add_route("/client/api/", client_api, methods=["GET", "POST"])

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> JSONResponse:
        found = await asyncio.get_running_loop().run_in_executor(pool, _well, health)
        return JSONResponse(found, 200 if found["healthy"] else 503)

    @app.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", include_in_schema=False)
    async def document() -> Response:
        return Response(orjson.dumps(openapi(version)), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_docs())

    return app


def open_port(front_simulator: bool, metrics: Metrics, threads: int = 4) -> Callable[..., Any]:
    """The application of the integration port: any path, the query string alone, no key, root's rights."""
    front = Front(simulator=front_simulator, metrics=metrics)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="integration")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            sent = read_pairs(request.url.query, b"", "")
        except ParameterError as failure:
            await Response(str(failure), 400)(scope, receive, send)
            return
        asked = Asked(request.method, sent, address=_address(request), open=True)
        done = await asyncio.get_running_loop().run_in_executor(pool, front.serve, asked)
        response = _response(done)
        response.headers["Connection"] = "close"
        await response(scope, receive, send)

    return app


async def _read(request: Request) -> Asked | Response:
    body = b""
    if request.method == "POST":
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST:
                failure = TooLarge(f"the request's body is larger than {LARGEST} bytes")
                return Response(wire.error("errorresponse", failure, True), 413, media_type=wire.JSON)
    kind = request.headers.get("content-type", "application/x-www-form-urlencoded")
    try:
        sent = read_pairs(request.url.query, body, kind)
        if kind.startswith("multipart/form-data"):
            sent = {**_multipart(body, kind), **sent}
    except ParameterError as failure:
        return Response(wire.error("errorresponse", failure, True), failure.code, media_type=wire.JSON)
    cookies = request.cookies
    return Asked(request.method, sent, cookies.get("JSESSIONID", ""), cookies.get("sessionkey"), _address(request))


def _multipart(body: bytes, kind: str) -> dict[str, str]:
    """The plain fields of a multipart form; files have no meaning in the API."""
    from email.parser import BytesParser
    from email.policy import HTTP

    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    sent = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and part.get_filename() is None:
            payload = part.get_payload(decode=True)
            sent[name] = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return sent


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _response(done: Answered) -> Response:
    response = Response(done.body, done.status, {**HEADERS, **done.headers}, done.media)
    for cookie in done.cookies:
        response.headers.append("Set-Cookie", cookie)
    return response


def _well(health: Callable[[], dict[str, Any]] | None) -> dict[str, Any]:
    try:
        with reading() as database:
            database.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        return {"healthy": False, "database": f"does not answer: {type(error).__name__}"}
    return {"healthy": True, "database": "answers", **(health() if health else {})}


def _docs() -> str:
    """Every command with its parameters, on one plain page: no script, nothing loaded from elsewhere."""
    from html import escape

    from mgmt_server.api.describe import described

    parts = []
    for command in sorted(described(None, simulator=True), key=lambda c: c["name"]):
        rows = "".join(
            f"<tr><td>{escape(p['name'])}</td><td>{p['type']}</td><td>{'required' if p['required'] else ''}</td>"
            f"<td>{escape(p['description'])}</td></tr>"
            for p in command["params"]
        )
        parts.append(
            f"<h3 id={command['name']}>{command['name']}{' (asynchronous)' if command['isasync'] else ''}</h3>"
            f"<p>{escape(command['description'])}</p><table>{rows}</table>"
        )
    style = "body{font:15px sans-serif;max-width:60em;margin:2em auto}td{padding:2px 12px 2px 0;vertical-align:top}"
    return f"<!doctype html><title>Cloudwright API</title><style>{style}</style><h1>Commands</h1>{''.join(parts)}"


__all__ = ["Asked", "Front", "create", "open_port", "read_pairs"]
