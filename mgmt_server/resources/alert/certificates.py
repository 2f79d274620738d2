"""Certificates of hosts that come to their end and were not renewed as they should have been."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.agents.ca import AUTOMATIC, renewal_of
from mgmt_server.db import now
from mgmt_server.model.agent import Agent
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.resources.alert.telling import Condition

PERIOD = Setting(
    "ca.framework.cert.expiry.alert.period",
    "Days before its end at which a host's certificate that was not renewed is told in an alert",
    least=0,
    most=3650,
)
DELAY = Setting("ca.framework.background.task.delay", "Seconds between two looks at hosts' certificates", least=1)
SLACK = timedelta(hours=12)  # agents look four times a day whether it is time for a new one


@dataclass(frozen=True)
class Ending:
    """A host whose certificate comes to its end, in words."""

    host: Host
    expires: datetime
    told: str
    remedy: str


def ending(session: Session) -> Iterator[Ending]:
    """Hosts whose certificate ends within the period, and is not to be renewed by itself before."""
    rows = select(Host, Agent.certified, Agent.expires).join(Agent, Agent.uuid == Host.agent)
    rows = rows.where(Host.removed.is_(None), Agent.removed.is_(None), Agent.expires.is_not(None)).order_by(Host.name)
    moment = now()
    for host, begun, expires in session.execute(rows):
        cluster = Scope("Cluster", host.cluster_id)
        if moment < expires - timedelta(days=PERIOD.number(cluster)):
            continue
        automatic = AUTOMATIC.flag(cluster)
        if automatic and begun is not None and moment < _renewed_by(begun, expires):
            continue
        verb = "expired" if expires <= moment else "expires"
        why = "was not renewed" if automatic else f"is not renewed by itself ({AUTOMATIC.name})"
        remedy = "enrol its agent again: `cloudwright enroll-token` here, `cloudwright agent enroll --force` there"
        if automatic and expires > moment:
            remedy = f"a connected agent renews it: see journalctl -u cloudwright-agent there; or {remedy}"
        yield Ending(
            host, expires, f"The certificate of host {host.name} {verb} on {expires:%Y-%m-%d} and {why}", remedy
        )


def _renewed_by(begun: datetime, expires: datetime) -> datetime:
    """When it should have been renewed at the latest, by an agent that is connected."""
    due = renewal_of(begun, expires)
    return due + min(SLACK, (expires - due) / 2)


def certificates(session: Session) -> Iterator[tuple[str, Condition]]:
    for found in ending(session):
        host = found.host
        where = {"zone_id": host.zone_id, "pod_id": host.pod_id, "cluster_id": host.cluster_id}
        yield f"certificate:{host.id}", Condition("ALERT.CA.CERT", found.told, found.remedy, **where)
