"""The safety net under the link's callbacks: hosts whose agent is gone, or is there, and whose state says otherwise."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.orm import Session

from mgmt_server.db import now, reading, write
from mgmt_server.jobs.queue import LEASE
from mgmt_server.jobs.rows import Node
from mgmt_server.jobs.worker import every
from mgmt_server.model.agent import Agent
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.simulator import SimulatedFault
from mgmt_server.resources.host import link, rows

log = logging.getLogger("cloudwright.hosts")
_looking = threading.Lock()

GRACE = timedelta(seconds=20)  # for an agent that was cut off to come back, also after a restart of this server
RETRY = timedelta(seconds=60)
SYNC = Setting("sync.interval", "Seconds between two looks at all machines of each host", least=1)
LOST = Setting("alert.wait", "Seconds after which a host that is not connected becomes an alert", least=30, most=86400)


@every(10, "hosts")
def look() -> None:
    write(settle)


@every(SYNC.number, "hosts.machines")
def look_at_machines() -> None:
    """All machines of each host that is Up, beside what else is to be done.

    Agents tell each change but once, and what they tell of a machine that a job works on is left to that job.
    """
    threading.Thread(target=look_at_all, name="machines of hosts", daemon=True).start()


def look_at_all() -> None:
    if not _looking.acquire(blocking=False):
        return  # hosts that do not answer take longer than the time between two looks
    try:
        with reading() as session:
            numbers = list(session.scalars(select(Host.id).where(Host.state == "Up", Host.removed.is_(None))))
        for number in numbers:
            error = link.look_step(uuid4(), number)
            if error:
                log.info("a host was not looked at: %s", error)
    finally:
        _looking.release()


def settle(tx: Session) -> None:
    """Move hosts to where their agents are."""
    hosts = (
        select(Host, Agent.node, Agent.seen, Node.heartbeat)
        .join(Agent, Agent.uuid == Host.agent)
        .outerjoin(Node, Node.name == Agent.node)
        .where(Host.removed.is_(None), Host.hypervisor == "KVM")
    )
    for host in tx.scalars(_dark()):
        rows.start_connecting(tx, host)
    for host, node, seen, beat in tx.execute(hosts):
        gone_since = seen or host.created
        if beat is not None and beat < now() - LEASE:  # its server died: an agent that lives is with another soon
            node, gone_since = "", max(gone_since, beat)
        if not node and host.state in ("Up", "Connecting") and gone_since < now() - GRACE:
            rows.move(tx, host.id, ("Up", "Connecting"), "Disconnected", disconnected=gone_since)
        elif not node and host.state == "Disconnected" and gone_since < now() - timedelta(seconds=LOST.number()):
            if rows.move(tx, host.id, ("Disconnected",), "Alert"):
                rows.alert(tx, host, f"Host {host.name} is not connected", f"Its agent is gone since {gone_since} UTC")
        elif node and host.state in ("Disconnected", "Alert", "Down") and gone_since < now() - GRACE:
            _retry(tx, host)


def _dark() -> Select[tuple[Host]]:
    """Simulated hosts that are Down, and whom no fault keeps from answering any more."""
    faulty = exists().where(
        SimulatedFault.unavailable, SimulatedFault.method == "*",
        or_(SimulatedFault.host_id.is_(None), SimulatedFault.host_id == Host.id),
        or_(SimulatedFault.cluster_id.is_(None), SimulatedFault.cluster_id == Host.cluster_id),
        or_(SimulatedFault.pod_id.is_(None), SimulatedFault.pod_id == Host.pod_id),
        or_(SimulatedFault.zone_id.is_(None), SimulatedFault.zone_id == Host.zone_id),
    )  # fmt: skip
    return select(Host).where(Host.hypervisor == "Simulator", Host.state == "Down", Host.removed.is_(None), ~faulty)


def _retry(tx: Session, host: Host) -> None:
    tried = host.last_pinged
    if host.state != "Alert" or tried is None or tried < now() - RETRY:
        host.last_pinged = now()
        tx.flush()
        rows.start_connecting(tx, host)
