"""Bringing a host to Up: every pool that it should reach is made ready on it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from mgmt_server.agents import directory
from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError, Failed
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.protocol.machine import Pool
from mgmt_server.resources.host import link, rows
from mgmt_server.resources.storage import rows as storage

DISABLED = Setting(
    "mount.disabled.storage.pool", "Whether a host that connects makes disabled shared pools ready too, for their disks"
)


@dataclass(frozen=True)
class Plan:
    host: HostRef
    pools: list[Pool]
    numbers: list[int]  # of the pools' rows


@dataclass(frozen=True)
class Reached:
    """What became of one pool on the host; `error` is empty when it is there."""

    used: int
    there: int
    error: str = ""


def connect(job: Job, host_id: int) -> None:
    """From Connecting, Disconnected or Alert to Up, or to Alert with the reason."""
    plan = job.write(begin, host_id)
    if plan is None:
        return
    found = [job.call(reach, plan.host, pool) for pool in plan.pools]
    error = job.write(connected, host_id, plan, found)
    if error:
        raise Failed(error)
    job.call(link.look_step, host_id)


def begin(tx: Session, host_id: int) -> Plan | None:
    host = tx.get(Host, host_id)
    if host is None or host.removed is not None:
        return None
    rows.move(tx, host_id, [s for s in rows.AWAY if s != "Connecting"], "Connecting")
    pools = storage.of_host(tx, host)
    if not DISABLED.flag(Scope("Cluster", host.cluster_id)):
        pools = [p for p in pools if p.state != "Disabled" or p.scope == "HOST"]
    return Plan(storage.ref(host), [storage.as_seen(p) for p in pools], [p.id for p in pools])


def reach(call: UUID, host: HostRef, pool: Pool) -> Reached:
    """Make one pool ready. A pool that is broken is told, and does not keep the others from being looked at."""
    try:
        used, there = disks.add_pool(call, host, pool)
    except ApiError as error:
        return Reached(0, 0, str(error) or type(error).__name__)
    return Reached(used, there)


def connected(tx: Session, host_id: int, plan: Plan, found: list[Reached]) -> str:
    """Note what is reached, and what the host is from now on: why it is not Up, or nothing."""
    host = tx.get_one(Host, host_id)
    wrong = []
    for number, pool, result in zip(plan.numbers, plan.pools, found, strict=True):
        if result.error:
            storage.reaches_not(tx, pool=number, host=host_id)
            wrong.append(f"pool {pool.host or ''}{pool.path}: {result.error}")
        else:
            storage.reaches(tx, number, host_id)
            if host.hypervisor != "Simulator":
                storage.measured(tx, pool.uuid, result.used, result.there)
    tx.refresh(host)
    told = "; ".join(wrong)
    host.details = {k: v for k, v in host.details.items() if k != "reason"} | ({"reason": told} if told else {})
    tx.flush()
    if host.agent and not directory.node_of(host.agent)[1]:
        rows.move(tx, host_id, ("Up", "Connecting"), "Disconnected", disconnected=now())
        return "its agent is not connected any more"
    if told:
        if rows.move(tx, host_id, ("Up", "Connecting"), "Alert"):
            rows.alert(tx, host, f"Host {host.name} cannot be used", told)
        return told
    rows.move(tx, host_id, ("Connecting",), "Up", last_pinged=now(), disconnected=None)
    return ""


def again(job: Job, host_id: int) -> None:
    """Reconnect: look at the host's pools anew."""
    connect(job, host_id)
