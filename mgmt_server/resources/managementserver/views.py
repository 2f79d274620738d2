"""Management servers as operators see them, and with figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server import db
from mgmt_server.api.view import PerPage, View, date, shown
from mgmt_server.db import now
from mgmt_server.jobs import queue
from mgmt_server.jobs.queue import LEASE
from mgmt_server.jobs.rows import OPEN, JobRow, Node
from mgmt_server.model.account import Login
from mgmt_server.model.agent import Agent
from mgmt_server.model.host import Host
from mgmt_server.model.tenancy import Caller
from mgmt_server.resources.metrics.figures import gigabytes

Fields = dict[int, dict[str, Any]]
LOCAL = ("", "localhost", "127.0.0.1", "::1")


def is_up(heartbeat: datetime | None) -> bool:
    return heartbeat is not None and heartbeat > now() - LEASE


def _state(heartbeat: datetime | None) -> str:
    return "Up" if is_up(heartbeat) else "Down"


def _fact(name: str) -> Any:
    return shown(lambda facts: (facts or {}).get(name), Node.facts)


def _boot(facts: dict[str, Any] | None) -> datetime | None:
    started = (facts or {}).get("boot")
    return datetime.fromtimestamp(started, UTC).replace(tzinfo=None) if started else None


def _agents(session: Session, numbers: Sequence[int]) -> dict[int, list[str]]:
    """Hosts by the server that their agent is connected to; simulated ones are with whichever beat last."""
    found: dict[int, list[str]] = {n: [] for n in numbers}
    rows = select(Node.id, Host.uuid).join(Agent, Agent.node == Node.name).join(Host, Host.agent == Agent.uuid)
    for node, host in session.execute(rows.where(Host.removed.is_(None), Node.id.in_(numbers)).order_by(Host.id)):
        found[node].append(host)
    last = session.scalar(select(Node.id).order_by(Node.heartbeat.desc()).limit(1))
    if last in found:
        simulated = select(Host.uuid).where(Host.hypervisor == "Simulator", Host.removed.is_(None))
        found[last] += session.scalars(simulated.order_by(Host.id))
    return found


def _of_servers(session: Session, _: Caller, numbers: list[int]) -> Fields:
    jobs = select(JobRow.node_id, func.count()).where(JobRow.node_id.in_(numbers), JobRow.state.in_(OPEN))
    pending = {node: count for node, count in session.execute(jobs.group_by(JobRow.node_id))}  # noqa: C416
    agents = _agents(session, numbers)
    return {
        n: {
            "agents": agents[n],
            "agentscount": len(agents[n]),
            "lastagents": [],
            "pendingjobscount": pending.get(n, 0),
        }
        for n in numbers
    }


def _peers(session: Session, _: Caller, numbers: list[int]) -> Fields:
    """The other servers, as the database knows them: they do not talk to each other but through it."""
    nodes = list(session.scalars(select(Node).where(Node.removed.is_(None)).order_by(Node.id)))
    told = {
        n.id: {
            "state": _state(n.heartbeat),
            "peerstate": _state(n.heartbeat),
            "peerid": n.uuid,
            "peermsid": str(n.id),
            "peername": n.name,
            "peerrunid": str(n.epoch),
            "peerserviceip": n.address or "",
            **({"lastupdated": date(n.heartbeat)} if n.heartbeat else {}),
        }
        for n in nodes
    }
    return {number: {"peers": [one for n, one in told.items() if n != number]} for number in numbers}


server_view = View(
    "managementserver",
    Node,
    response="ManagementServerResponse",
    keyword=(Node.name,),
    more=(PerPage(("agents", "agentscount", "lastagents", "pendingjobscount"), _of_servers),),
    id=Node.uuid,
    name=Node.name,
    state=shown(_state, Node.heartbeat),
    version=Node.version,
    ipaddress=Node.address,
    serviceip=Node.address,
    osdistribution=_fact("os"),
    kernelversion=_fact("kernel"),
    lastserverstart=Node.started,
    lastserverstop=Node.stopped,
    lastboottime=shown(_boot, Node.facts),
)
with_peers = server_view.extended(more=(PerPage(("peers",), _peers),))


def _sized(name: str) -> Any:
    return shown(lambda facts: gigabytes(facts[name]) if name in (facts or {}) else None, Node.facts)


def _used(facts: dict[str, Any] | None) -> str | None:
    total, free = ((facts or {}).get(f"memory_{kind}") for kind in ("total", "free"))
    return None if total is None or free is None else gigabytes(total - free)


def _busy(facts: dict[str, Any] | None) -> str | None:
    share = (facts or {}).get("busy")
    return None if share is None else f"{share:.2f} %"


def _counts(session: Session, _: Caller, numbers: list[int]) -> Fields:
    """Agents, and the open sessions, which all servers share. Where the database is, each knows of itself."""
    sessions = session.scalar(select(func.count()).select_from(Login).where(Login.removed.is_(None))) or 0
    found: Fields = {n: {"agentcount": len(a), "sessions": sessions} for n, a in _agents(session, numbers).items()}
    here = queue.joined.id if queue.joined is not None else None
    if here in found:
        found[here]["dbislocal"] = (db.engine().url.host or "") in LOCAL
    return found


SYSTEM = {
    "systemmemorytotal": _sized("memory_total"),
    "systemmemoryfree": _sized("memory_free"),
    "systemmemoryused": shown(_used, Node.facts),
    "systemmemoryvirtualsize": _sized("virtual"),
    "systemtotalcpucycles": _fact("mhz"),
    "systemloadaverages": _fact("loads"),
    "systemcycleusage": _fact("cycles"),
}
PROCESS = {
    "availableprocessors": _fact("processors"),
    "heapmemoryused": _fact("resident"),
    "heapmemorytotal": _fact("resident_most"),
    "threadstotalcount": _fact("threads"),
    "threadsdaemoncount": _fact("daemons"),
    "cpuload": shown(_busy, Node.facts),
    "collectiontime": Node.looked,
}
_metrics: dict[str, Any] = {
    "response": "ManagementServerMetricsResponse",
    "more": (PerPage(("agentcount", "sessions", "dbislocal"), _counts),),
    **PROCESS,
}
metrics_view = server_view.extended(**_metrics, **SYSTEM)
metrics_without_system = server_view.extended(**_metrics)
metrics_with_peers = with_peers.extended(**_metrics, **SYSTEM)
