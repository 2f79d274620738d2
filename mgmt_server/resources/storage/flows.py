"""Making a pool ready on its hosts, and taking it off them again."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError, Failed
from mgmt_server.jobs import Job
from mgmt_server.model.storage import Pool
from mgmt_server.protocol import machine
from mgmt_server.resources.alert.telling import tell
from mgmt_server.resources.storage import rows


@dataclass(frozen=True)
class Plan:
    pool: machine.Pool
    hosts: list[HostRef]
    numbers: list[int]  # of the hosts' rows


@dataclass(frozen=True)
class Reached:
    used: int
    there: int
    error: str = ""


def connect(job: Job, pool_id: int) -> None:
    """Make the pool ready on all its hosts that are Up; those that fail are told, and tried again when they connect."""
    plan = job.write(planned, pool_id)
    if plan is None:
        return
    found = [job.call(reach, host, plan.pool) for host in plan.hosts]
    error = job.write(connected, pool_id, plan, found)
    if error:
        raise Failed(error)


def planned(tx: Session, pool_id: int) -> Plan | None:
    pool = tx.get(Pool, pool_id)
    if pool is None or pool.removed is not None:
        return None
    hosts = [h for h in rows.hosts_of(tx, pool) if h.state == "Up"]
    return Plan(rows.as_seen(pool), [rows.ref(h) for h in hosts], [h.id for h in hosts])


def reach(call: UUID, host: HostRef, pool: machine.Pool) -> Reached:
    try:
        used, there = disks.add_pool(call, host, pool)
    except ApiError as error:
        return Reached(0, 0, str(error) or type(error).__name__)
    return Reached(used, there)


def connected(tx: Session, pool_id: int, plan: Plan, found: list[Reached]) -> str:
    """Note who reaches it: why not all do, or nothing."""
    wrong = []
    for number, host, result in zip(plan.numbers, plan.hosts, found, strict=True):
        if result.error:
            wrong.append(f"host {host.name}: {result.error}")
            continue
        rows.reaches(tx, pool_id, number)
        rows.measured(tx, plan.pool.uuid, result.used, result.there)
    if not wrong:
        return ""
    pool = tx.get_one(Pool, pool_id)
    told = "; ".join(wrong)
    subject = f"Storage pool {pool.name} is not on all its hosts"
    where = {"zone_id": pool.zone_id, "pod_id": pool.pod_id, "cluster_id": pool.cluster_id}
    tell(tx, "ALERT.STORAGE.MISC", subject, told, **where)
    return told


def disconnect(job: Job, pool_id: int) -> None:
    """Take a deleted pool off its hosts. A host that does not answer forgets it when it is told its pools again."""
    plan = job.write(leaving, pool_id)
    for host in plan.hosts:
        job.call(leave, host, plan.pool)


def leaving(tx: Session, pool_id: int) -> Plan:
    pool = tx.get_one(Pool, pool_id)
    hosts = [h for h in rows.hosts_of(tx, pool) if h.state == "Up"]
    rows.reaches_not(tx, pool=pool_id)
    return Plan(rows.as_seen(pool), [rows.ref(h) for h in hosts], [h.id for h in hosts])


def leave(call: UUID, host: HostRef, pool: machine.Pool) -> str:
    """Why the host still has it, or nothing."""
    try:
        disks.remove_pool(call, host, pool)
    except ApiError as error:
        return str(error)
    return ""


def gone(tx: Session, pool: Pool) -> None:
    pool.state, pool.removed = "Removed", now()
