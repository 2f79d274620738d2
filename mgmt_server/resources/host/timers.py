"""The safety net under the link's callbacks: hosts whose agent is gone, or is there, and whose state says otherwise."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now, write
from mgmt_server.jobs.worker import every
from mgmt_server.model.agent import Agent
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.resources.host import rows

GRACE = timedelta(seconds=20)  # for an agent that was cut off to come back, also after a restart of this server
RETRY = timedelta(seconds=60)
LOST = Setting("alert.wait", "Seconds after which a host that is not connected becomes an alert", least=30, most=86400)


@every(10, "hosts")
def look() -> None:
    write(settle)


def settle(tx: Session) -> None:
    """Move hosts to where their agents are."""
    hosts = (
        select(Host, Agent.node, Agent.seen)
        .join(Agent, Agent.uuid == Host.agent)
        .where(Host.removed.is_(None), Host.hypervisor == "KVM")
    )
    for host, node, seen in tx.execute(hosts):
        gone_since = seen or host.created
        if not node and host.state in ("Up", "Connecting") and gone_since < now() - GRACE:
            rows.move(tx, host.id, ("Up", "Connecting"), "Disconnected", disconnected=gone_since)
        elif not node and host.state == "Disconnected" and gone_since < now() - timedelta(seconds=LOST.number()):
            if rows.move(tx, host.id, ("Disconnected",), "Alert"):
                rows.alert(tx, host, f"Host {host.name} is not connected", f"Its agent is gone since {gone_since} UTC")
        elif node and host.state in ("Disconnected", "Alert", "Down") and gone_since < now() - GRACE:
            _retry(tx, host)


def _retry(tx: Session, host: Host) -> None:
    tried = host.last_pinged
    if host.state != "Alert" or tried is None or tried < now() - RETRY:
        host.last_pinged = now()
        tx.flush()
        rows.start_connecting(tx, host)
