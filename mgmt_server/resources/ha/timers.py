"""Looks at lost hosts again and again, less often the longer one is gone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from mgmt_server.db import now, reading, write
from mgmt_server.jobs import enqueue
from mgmt_server.jobs.queue import name_of
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.event import Alert
from mgmt_server.model.ha import HostHa
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Vm
from mgmt_server.resources.alert.telling import over
from mgmt_server.resources.ha import flows, guests, hosts, rows

INTERVAL = Setting(
    "kvm.ha.activity.check.interval", "Seconds between two looks at a host that is lost", default="10", least=1
)
LONGEST = timedelta(minutes=5)
UNPROVABLE = f"nothing could prove that it is dead as {hosts.PROOF.name} asks"


@every(INTERVAL.number, "ha.hosts")
def look() -> None:
    with reading() as session:
        gone = list(session.scalars(_worth_a_look()))
        back = session.scalar(_recovered().limit(1)) is not None or session.scalar(_alerts().limit(1)) is not None
        back = back or bool(_no_more_provable(session))
    for number in gone:
        write(_queue, number)
    if back:
        write(settle)


def _worth_a_look() -> Any:
    """Lost hosts on which machines are, or that have high availability and are not fenced yet."""
    machines = exists().where(Vm.host_id == Host.id, Vm.removed.is_(None), Vm.state.in_(guests.LIVELY))
    watched = exists().where(HostHa.host_id == Host.id, HostHa.enabled, HostHa.state != "Fenced")
    return select(Host.id).where(hosts.lost(), machines | watched).order_by(Host.id)


def _recovered() -> Any:
    watched = HostHa.enabled & HostHa.state.not_in(("Available", "Disabled"))
    return select(HostHa.host_id).join(Host, Host.id == HostHa.host_id).where(Host.state == "Up", watched)


def _no_more_provable(session: Session) -> list[int]:
    """Hosts that are well, and would never be proven dead: what takes part in a proof went, or another is asked for."""
    watched = exists().where(HostHa.host_id == Host.id, HostHa.enabled, HostHa.state == "Available")
    return [host.id for host, found in flows.provable(session, watched, Host.state == "Up") if not found]


def _alerts() -> Any:
    return select(Alert.lasting).where(Alert.lasting.startswith("ha:"))


def _queue(tx: Session, host_id: int) -> None:
    """A look, unless one is under way or the last was just now."""
    lock = f"ha:{host_id}"
    if tx.scalar(select(JobRow.id).where(JobRow.lock == lock, JobRow.state.in_(OPEN)).limit(1)) is not None:
        return
    host = tx.get_one(Host, host_id)
    mine = JobRow.flow == name_of(hosts.investigate)
    last = tx.scalar(select(func.max(JobRow.completed)).where(JobRow.lock == lock, mine))
    if last is None or last < now() - _patience(host.disconnected):
        enqueue(tx, hosts.investigate, (host_id,), lock=lock, instance=("Host", host.uuid))


def _patience(since: datetime | None) -> timedelta:
    gone = now() - since if since is not None else timedelta(0)
    return min(max(gone / 4, timedelta(seconds=INTERVAL.number() / 2)), LONGEST)


def settle(tx: Session) -> None:
    """Hosts that are back: available again, and nothing told of them any more. And who cannot be proven dead."""
    for host_id in _no_more_provable(tx):
        rows.move(tx, tx.get_one(Host, host_id), rows.kept(tx, host_id), "Ineligible", UNPROVABLE)
    for number in list(tx.scalars(_recovered())):
        host, row = tx.get_one(Host, number), rows.kept(tx, number)
        if row.state == "Ineligible":
            if flows.eligible(tx, host):
                rows.move(tx, host, row, "Available", "something can prove now whether it is dead")
            continue
        rows.note(row, "back")
        rows.move(tx, host, row, "Available", "it is back")
    for key in list(tx.scalars(_alerts())):
        kind, _, number = str(key).removeprefix("ha:").partition(":")
        if kind == "host" and not _still_lost(tx, int(number)):
            over(tx, str(key))
        if kind == "zone" and not hosts.too_many(tx, int(number)):
            over(tx, str(key))


def _still_lost(tx: Session, host_id: int) -> bool:
    return tx.scalar(select(Host.id).where(hosts.lost(), Host.id == host_id)) is not None
