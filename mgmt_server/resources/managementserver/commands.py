"""Management servers, and the database that they share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from mgmt_server import db
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.view import View, date
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs.rows import Node
from mgmt_server.model.tenancy import ROOT
from mgmt_server.resources.checks import alone
from mgmt_server.resources.managementserver.views import (
    is_up,
    metrics_view,
    metrics_with_peers,
    metrics_without_system,
    server_view,
    with_peers,
)


@command("listManagementServers", roles=ROOT, answers=with_peers)
def list_servers(
    ctx: Context, id: Use[Node] | None = None, name: str | None = None, version: str | None = None, peers: bool = False
) -> Rows:
    """List management servers.

    id: this one alone
    name: those of this name
    version: those of this version
    peers: whether to tell of each the others
    """
    return _rows(with_peers if peers else server_view, id, name, version)


@command("listManagementServersMetrics", roles=ROOT, answers=metrics_with_peers)
def list_metrics(
    ctx: Context,
    id: Use[Node] | None = None,
    name: str | None = None,
    version: str | None = None,
    peers: bool = False,
    system: bool = True,
) -> Rows:
    """List management servers, with figures of the last seconds.

    id: this one alone
    name: those of this name
    version: those of this version
    peers: whether to tell of each the others
    system: false leaves out figures of the machine that a server runs on
    """
    view = metrics_with_peers if peers else metrics_view if system else metrics_without_system
    return _rows(view, id, name, version)


def _rows(view: View, id: Node | None, name: str | None, version: str | None) -> Rows:
    return Rows(view).where(id=id and id.id, name=name, version=version)


@command("removeManagementServer", roles=ROOT, event="MANAGEMENT.SERVER.REMOVE")
def remove(ctx: Context, id: Operate[Node]) -> None:
    """Forget a management server that is down for good. One that runs again is listed again.

    id: the management server
    """
    alone(ctx, id)
    if is_up(id.heartbeat):
        raise InvalidValue(f"the management server {id.name} is up: stop it first")
    id.removed = now()
    ctx.describe(f"removing management server {id.name}")


@command("listDbMetrics", roles=ROOT, reads=True)
def list_database(ctx: Context) -> dict[str, Any]:
    """Tell what the database is and does."""
    backend = db.engine().url.get_backend_name()
    found = _sqlite(ctx.session) if backend == "sqlite" else _server(ctx.session)
    return {"collectiontime": date(now()), **{k: v for k, v in found.items() if v is not None}}


def _sqlite(session: Session) -> dict[str, Any]:
    """A file: who uses it are the connections and statements of this process."""
    return {
        "hostname": "localhost",
        "version": session.scalar(text("SELECT sqlite_version()")),
        "versioncomment": "SQLite",
        "queries": db.statements(),
        "connections": db.connections(),
        "replicas": [],
    }


def _server(session: Session) -> dict[str, Any]:
    names = ("Queries", "Uptime", "Threads_connected", "wsrep_incoming_addresses")
    asked = text("SHOW GLOBAL STATUS WHERE Variable_name IN :names").bindparams(bindparam("names", expanding=True))
    rows = session.execute(asked, {"names": names})
    status = {name: value for name, value in rows}  # noqa: C416  rows are no pairs to dict
    host, version, comment, tls = session.execute(
        text("SELECT @@hostname, @@version, @@version_comment, @@tls_version")
    ).one()
    nodes = [n for n in status.get("wsrep_incoming_addresses", "").split(",") if n and n != "AUTO"]
    return {
        "hostname": db.engine().url.host or host,
        "version": version,
        "versioncomment": comment,
        "tlsversions": tls or None,
        "queries": int(status["Queries"]),
        "uptime": int(status["Uptime"]),
        "connections": int(status["Threads_connected"]),
        "replicas": nodes,
    }
