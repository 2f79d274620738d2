"""Bytes in, bytes out. Calls of the API go straight to the front; FastAPI serves the few other paths."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from prometheus_client.exposition import generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from mgmt_server.api.command import registry
from mgmt_server.api.describe import openapi
from mgmt_server.db import reading
from mgmt_server.errors import ApiError, ParameterError
from mgmt_server.web import docs, requests, transfer
from mgmt_server.web.front import Answered, Asked, Front
from mgmt_server.web.metrics import Metrics
from mgmt_server.web.requests import LARGEST, MOST_KEYS, Receive, Scope, Send, read_pairs
from mgmt_server.web.threads import Threads

PATHS = ("/client/api", "/client/api/")


class Application:
    """What a web server calls: the API's path is answered here, all others by `rest`."""

    def __init__(self, front: Front, pool: Threads, patient: Threads, rest: FastAPI) -> None:
        self.front, self.rest = front, rest
        self._pool, self._patient = pool, patient

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self.rest(scope, receive, send)
            return
        try:
            asked = await requests.read(scope, receive)
        except ApiError as failure:
            await requests.answer(scope, send, requests.refused(failure), close=True)
        except TimeoutError:
            slow = requests.TooSlow(f"the request's body did not come within {requests.PATIENCE:.0f} s")
            await requests.answer(scope, send, requests.refused(slow), close=True)
        except requests.Gone:
            return
        else:
            pool = self._patient if waits(asked) else self._pool
            done = await pool.run(self.front.serve, asked)
            await requests.answer(scope, send, done)


def waits(asked: Asked) -> bool:
    """Whether a call may have to wait for a directory, a host or a password's digest: these have threads of their own,
    so that a directory that hangs keeps waiting only those who ask it."""
    name = ""
    for key, value in asked.sent.items():
        if key.lower() == "command":
            name = value
    known = registry.get(name)
    return name == "login" if known is None else known.outside or known.anonymous


def create(
    *,
    simulator: bool = False,
    version: str = "",
    threads: int = 16,
    metrics: Metrics | None = None,
    health: Callable[[], dict[str, Any]] | None = None,
) -> Application:
    """The application of port 8080. `health` tells what besides the database has to be well."""
    metrics = metrics or Metrics()
    front = Front(simulator=simulator, metrics=metrics)
    pool = Threads(threads, "api")
    patient = Threads(max(1, threads // 2), "api-outside")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for each in (pool, patient):
            each.end()

    app = FastAPI(
        title="Cloudwright", version=version, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> JSONResponse:
        found = await pool.run(_well, health)
        return JSONResponse(found, 200 if found["healthy"] else 503)

    @app.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", include_in_schema=False)
    async def document() -> Response:
        return Response(orjson.dumps(openapi(version)), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def every_command() -> HTMLResponse:
        return HTMLResponse(docs.page())

    transfer.add_routes(app, pool)
    return Application(front, pool, patient, app)


def open_port(front_simulator: bool, metrics: Metrics, threads: int = 4) -> Callable[..., Any]:
    """The application of the integration port: any path, the query string alone, no key, root's rights."""
    front = Front(simulator=front_simulator, metrics=metrics)
    pool = Threads(threads, "integration")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        client = scope.get("client")
        try:
            sent = read_pairs(scope["query_string"].decode("utf-8", "replace"), b"", "")
        except ParameterError as failure:
            done = Answered(400, str(failure).encode(), "text/plain; charset=UTF-8", {}, [])
        else:
            asked = Asked(scope["method"], sent, address=client[0] if client else "", open=True)
            done = await pool.run(front.serve, asked)
        await requests.answer(scope, send, done, close=True)

    return app


def _well(health: Callable[[], dict[str, Any]] | None) -> dict[str, Any]:
    try:
        with reading() as database:
            database.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        return {"healthy": False, "database": f"does not answer: {type(error).__name__}"}
    return {"healthy": True, "database": "answers", **(health() if health else {})}


__all__ = ["LARGEST", "MOST_KEYS", "Application", "Asked", "Front", "create", "open_port", "read_pairs"]
