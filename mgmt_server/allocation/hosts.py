"""Where a machine runs: a host's capacity is taken by one UPDATE whose WHERE is the check."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select, true, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.allocation.dedication import open_to
from mgmt_server.db import changed
from mgmt_server.errors import NoCapacity
from mgmt_server.model.account import SYSTEM_ACCOUNT
from mgmt_server.model.host import MOST_MACHINES, Host
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster, Pod

CANDIDATES = 12  # the emptiest hosts, among which chance decides: callers at the same time do not crowd on one
TOLD = 20  # hosts that a refusal names


@dataclass(frozen=True)
class Need:
    """What a machine needs of a host: MHz and bytes, and where it may be."""

    zone_id: int
    hypervisor: str
    cpu: int
    memory: int
    pod_id: int | None = None
    cluster_id: int | None = None
    host_id: int | None = None
    tags: tuple[str, ...] = ()
    arch: str = ""
    account_id: int | None = None  # whose machine it is: it does not go to what is dedicated to others


def candidates(tx: Session, need: Need) -> list[Host]:
    """Hosts that have room now, in the order to try them."""
    found = _candidates(tx, need, _open_for(tx, need))
    return found or (_candidates(tx, need) if need.account_id == SYSTEM_ACCOUNT else [])


def guard(tx: Session, need: Need) -> ColumnElement[bool]:
    """For `take`: the host was not dedicated to others meanwhile.

    A zone's own system VMs serve everybody: they may go to dedicated hosts, where there are no others.
    """
    return true() if need.account_id == SYSTEM_ACCOUNT else _open_for(tx, need)


def _open_for(tx: Session, need: Need) -> ColumnElement[bool]:
    account = None if need.account_id == SYSTEM_ACCOUNT else need.account_id
    return open_to(tx, account, zone=Host.zone_id, pod=Host.pod_id, cluster=Host.cluster_id, host=Host.id)


def _candidates(tx: Session, need: Need, *conditions: ColumnElement[bool]) -> list[Host]:
    rows = (
        select(Host)
        .join(Cluster, Cluster.id == Host.cluster_id)
        .where(
            *_suitable(need),
            *conditions,
            Host.machines < MOST_MACHINES.get(need.hypervisor, 50),
            Host.cpu_capacity - Host.cpu_used >= need.cpu,
        )
        .where(Host.memory_capacity - Host.memory_used >= need.memory)
        .order_by(Host.memory_used, Host.id)
        .limit(CANDIDATES if not need.tags else 500)
    )
    found = [h for h in tx.scalars(rows) if tagged(h.tags, need.tags)][:CANDIDATES]
    random.shuffle(found)
    return found


def take(
    tx: Session, host_id: int, cpu: int, memory: int, most: int = 50, *, condition: ColumnElement[bool] | None = None
) -> bool:
    """Promise capacity of a host. False when it has not enough any more, or meets the condition no more."""
    taken = (
        update(Host)
        .where(
            Host.id == host_id,
            Host.removed.is_(None),
            Host.cpu_capacity - Host.cpu_used >= cpu,
            Host.memory_capacity - Host.memory_used >= memory,
            Host.machines < most,
            *([] if condition is None else [condition]),
        )
        .values(cpu_used=Host.cpu_used + cpu, memory_used=Host.memory_used + memory, machines=Host.machines + 1)
        .execution_options(synchronize_session=False)
    )
    return changed(tx.execute(taken)) == 1


def give_back(tx: Session, vm: Vm) -> None:
    """Give back what the host holds for a machine. Doing it twice gives nothing back twice."""
    held = update(Vm).where(Vm.id == vm.id, Vm.reserved).values(reserved=False)
    if changed(tx.execute(held.execution_options(synchronize_session=False))) != 1:
        return
    counted.machine_rests(tx, vm)
    if vm.host_id is None:
        return
    tx.execute(
        update(Host)
        .where(Host.id == vm.host_id)
        .values(
            cpu_used=Host.cpu_used - vm.cpus * vm.speed,
            memory_used=Host.memory_used - vm.memory * 2**20,
            machines=Host.machines - 1,
        )
        .execution_options(synchronize_session=False)
    )


def tagged(have: str | None, wanted: Sequence[str]) -> bool:
    return set(wanted) <= {t.strip() for t in (have or "").split(",")}


def _suitable(need: Need) -> list[ColumnElement[bool]]:
    found = [
        Host.zone_id == need.zone_id,
        Host.hypervisor == need.hypervisor,
        Host.type == "Routing",
        Host.state == "Up",
        Host.resource_state == "Enabled",
        Host.removed.is_(None),
        Cluster.allocation_state == "Enabled",
        Cluster.managed_state == "Managed",
        select(Pod.id).where(Pod.id == Host.pod_id, Pod.allocation_state == "Enabled").exists(),
    ]
    for column, value in ((Host.pod_id, need.pod_id), (Host.cluster_id, need.cluster_id), (Host.id, need.host_id)):
        if value is not None:
            found.append(column == value)
    return found


def refused(tx: Session, need: Need, what: str, storage: Sequence[str] = ()) -> NoCapacity:
    """The reason why nothing has room: each host with what it lacked."""
    rows = select(Host, Cluster, Pod).join(Cluster, Cluster.id == Host.cluster_id).join(Pod, Pod.id == Host.pod_id)
    rows = rows.where(Host.zone_id == need.zone_id, Host.removed.is_(None), Host.type == "Routing")
    total = tx.scalar(
        select(func.count()).select_from(Host).where(Host.zone_id == need.zone_id, Host.removed.is_(None))
    )
    free = set(tx.scalars(select(Host.id).where(Host.zone_id == need.zone_id, guard(tx, need))))
    reasons = [
        f"{h.name} {_reason(h, c, p, need, h.id in free)}" for h, c, p in tx.execute(rows.order_by(Host.id).limit(TOLD))
    ]
    reasons = [r for r in reasons if not r.endswith(" ")]
    more = f", and {total - TOLD} hosts more" if total and total > TOLD else ""
    needs = f"needs {need.cpu} MHz and {need.memory // 2**20} MiB on {need.hypervisor}"
    told = "; ".join([*reasons, *storage]) or "the zone has no host of that hypervisor: add one with addHost"
    return NoCapacity(f"No host can take {what}, which {needs}: {told}{more}")


def _reason(host: Host, cluster: Cluster, pod: Pod, need: Need, free: bool) -> str:
    """What spoke against a host, in a few words; empty when nothing did."""
    if host.hypervisor != need.hypervisor:
        return f"runs {host.hypervisor}"
    for name, have, wanted in (
        ("pod", host.pod_id, need.pod_id),
        ("cluster", host.cluster_id, need.cluster_id),
        ("host", host.id, need.host_id),
    ):
        if wanted is not None and have != wanted:
            return f"is not the {name} that was asked for"
    if host.state != "Up":
        return f"is {host.state}"
    if host.resource_state != "Enabled":
        return f"is {host.resource_state}"
    if pod.allocation_state != "Enabled":
        return f"is in the disabled pod {pod.name}"
    if cluster.allocation_state != "Enabled" or cluster.managed_state != "Managed":
        return f"is in the cluster {cluster.name}, which is not enabled"
    if not free:
        return "is dedicated to others"
    if not tagged(host.tags, need.tags):
        return f"lacks the tag {', '.join(need.tags)}"
    most = MOST_MACHINES.get(host.hypervisor, 50)
    if host.machines >= most:
        return f"has {host.machines} machines, of at most {most}"
    lacks = []
    if host.cpu_capacity - host.cpu_used < need.cpu:
        lacks.append(f"{need.cpu - host.cpu_capacity + host.cpu_used} MHz")
    if host.memory_capacity - host.memory_used < need.memory:
        lacks.append(f"{(need.memory - host.memory_capacity + host.memory_used) // 2**20} MiB")
    return f"lacks {' and '.join(lacks)}" if lacks else ""
