"""Planners: in which order the hosts are tried that could take a machine. Plug-ins add more.

A planner is a function `(tx, need, hosts) -> hosts`: it is given hosts that have room and break no rule, and gives them
in the order in which they shall be tried; what it leaves out is refused. An allocator is an object with a method
`hosts(tx, need, hosts)`, or `pools(tx, space, host, pools)`, or both, of the same meaning; every one that is installed
is asked, after the planner, in the order of their names. Packages bring them under the entry points
`cloudwright.planners` and `cloudwright.allocators`. They read and write nothing else in the transaction.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.allocation.need import Need
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Vm

FIRST_FIT, SKIP_HEURISTICS, IMPLICIT = "FirstFitPlanner", "SkipHeuristicsPlanner", "ImplicitDedicationPlanner"
DISPERSING, CONCENTRATED = "UserDispersingPlanner", "UserConcentratedPodPlanner"
FEW, MANY = 12, 500  # hosts that first fit looks at, and the others

PLANNER = Setting(
    "vm.deployment.planner",
    "In which order hosts are tried where the offering does not say",
    options=(FIRST_FIT, DISPERSING, CONCENTRATED),
)
ALGORITHM = Setting(
    "vm.allocation.algorithm",
    "Which hosts FirstFitPlanner tries first: any of the emptiest, the oldest, those with the fewest machines of the "
    "account, any or the oldest in the pod with the most of them, or the emptiest",
)

WEIGHT = Setting(
    "vm.user.dispersion.weight",
    f"How much the account's own machines count for {DISPERSING}; the rest of 1 is for how full hosts are",
    least=0,
    most=1,
)

Planner = Callable[[Session, Need, Sequence[Host]], Sequence[Host]]


def first_fit(tx: Session, need: Need, hosts: Sequence[Host]) -> Sequence[Host]:
    """The emptiest, among which chance decides: callers at the same time do not crowd on one. Else as told."""
    algorithm = ALGORITHM.text()
    if algorithm == "userdispersing":
        _, _, own = _machines(tx, need)
        return sorted(hosts, key=lambda h: own[h.id])  # the emptiest of them first
    if algorithm.endswith("random"):
        hosts = random.sample(hosts, len(hosts))
    if algorithm == "userconcentratedpod_firstfit":
        hosts = sorted(hosts, key=lambda h: h.id)
    return _by_pod(tx, need, hosts) if algorithm.startswith("userconcentratedpod") else hosts  # else as they come


def looks_at(name: str) -> int:
    """How many of the hosts that fit are given to a planner: a few, but not where the account's machines decide."""
    few = name == FIRST_FIT and not ALGORITHM.text().startswith("user") and not allocators()
    return FEW if few else MANY


def user_dispersing(tx: Session, need: Need, hosts: Sequence[Host]) -> Sequence[Host]:
    """Where the account has the fewest machines: of the pods, then of their clusters, then of their hosts."""
    pods, clusters, own = _machines(tx, need)
    weight = WEIGHT.fraction()
    if weight < 1:
        levels = ((pods, "pod_id"), (clusters, "cluster_id"), (own, "id"))
        ranks = [(_weighed(count, of, hosts, weight), of) for count, of in levels]
        return sorted(hosts, key=lambda h: (*(rank[getattr(h, of)] for rank, of in ranks), h.id))
    return sorted(hosts, key=lambda h: (pods[h.pod_id], clusters[h.cluster_id], own[h.id], h.memory_used, h.id))


def _weighed(count: Counter[int], of: str, hosts: Sequence[Host], weight: float) -> dict[int, float]:
    """Pods, clusters or hosts by what speaks against them: the account's share there, and how full they are."""
    used, there = Counter[int](), Counter[int]()
    for host in hosts:
        used[getattr(host, of)] += host.memory_used
        there[getattr(host, of)] += host.memory_capacity
    all_ = sum(count.values()) or 1
    return {n: weight * count[n] / all_ + (1 - weight) * used[n] / (there[n] or 1) for n in there}


def user_concentrated(tx: Session, need: Need, hosts: Sequence[Host]) -> Sequence[Host]:
    """The pods first in which the account has the most machines."""
    return _by_pod(tx, need, sorted(hosts, key=lambda h: (h.pod_id, h.memory_used, h.id)))


def _by_pod(tx: Session, need: Need, hosts: Sequence[Host]) -> Sequence[Host]:
    """Pod by pod, that first in which the account has the most machines; of equal ones, and inside, as they come."""
    pods, _, _ = _machines(tx, need)
    known = list(dict.fromkeys(h.pod_id for h in hosts))
    return sorted(hosts, key=lambda h: (-pods[h.pod_id], known.index(h.pod_id)))


def implicit_dedication(tx: Session, need: Need, hosts: Sequence[Host]) -> Sequence[Host]:
    """Hosts that the account has for itself, then empty ones, then those that others use too.

    Whether it may go to the last, and whether others may come, is no matter of order: see allocation/implicit.py.
    """
    users: dict[int, set[int]] = {}
    rows = select(Vm.host_id, Vm.account_id).where(Vm.host_id.in_([h.id for h in hosts]), Vm.kind == "User")
    for host, account in tx.execute(rows.where(Vm.removed.is_(None)).distinct()):
        users.setdefault(host, set()).add(account)

    def rank(host: Host) -> int:
        there = users.get(host.id, set())
        return 0 if there == {need.account_id} else 1 if not there else 2

    return sorted(hosts, key=lambda h: (rank(h), h.memory_used, h.id))


def skip_heuristics(tx: Session, need: Need, hosts: Sequence[Host]) -> Sequence[Host]:
    """As they come; thresholds of clusters do not count for it."""
    return sorted(hosts, key=lambda h: h.id)


BUILT_IN: dict[str, Planner] = {
    FIRST_FIT: first_fit,
    DISPERSING: user_dispersing,
    CONCENTRATED: user_concentrated,
    IMPLICIT: implicit_dedication,
    SKIP_HEURISTICS: skip_heuristics,
}


def _machines(tx: Session, need: Need) -> tuple[Counter[int], Counter[int], Counter[int]]:
    """How many machines of the account are in each pod, each cluster, on each host."""
    rows = select(Host.pod_id, Host.cluster_id, Host.id, func.count()).join(Vm, Vm.host_id == Host.id)
    rows = rows.where(Vm.account_id == need.account_id, Vm.kind == "User", Vm.removed.is_(None))
    pods, clusters, own = Counter[int](), Counter[int](), Counter[int]()
    for pod, cluster, host, count in tx.execute(rows.group_by(Host.pod_id, Host.cluster_id, Host.id)):
        pods[pod] += count
        clusters[cluster] += count
        own[host] += count
    return pods, clusters, own


@cache
def installed() -> dict[str, Planner]:
    """Planners by name. Ours cannot be replaced."""
    return {point.name: point.load() for point in entry_points(group="cloudwright.planners")} | BUILT_IN


@cache
def allocators() -> tuple[tuple[str, Any], ...]:
    """Names and objects."""
    points = sorted(entry_points(group="cloudwright.allocators"), key=lambda p: p.name)
    return tuple((p.name, p.load()()) for p in points)


def names() -> list[str]:
    return [*BUILT_IN, *sorted(set(installed()) - set(BUILT_IN))]


def chosen(need: Need) -> str:
    """The name of the planner that decides. Raises InvalidValue for one that is not installed."""
    name = need.planner or PLANNER.text() or FIRST_FIT
    if name not in installed():
        raise InvalidValue(f"The planner {name} is not installed here: choose one of {', '.join(names())}")
    return name


def in_order(tx: Session, need: Need, hosts: Sequence[Host]) -> list[Host]:
    """What planner and allocators make of the hosts that fit."""
    name = chosen(need)
    found = _asked(f"The planner {name}", hosts, installed()[name], tx, need)
    for label, allocator in allocators():
        if hasattr(allocator, "hosts"):
            found = _asked(f"The allocator {label}", found, allocator.hosts, tx, need)
    return found


def pools_in_order(tx: Session, space: Any, host: Host, pools: Sequence[Any]) -> list[Any]:
    found = list(pools)
    for label, allocator in allocators():
        if hasattr(allocator, "pools"):
            found = _asked(f"The allocator {label}", found, allocator.pools, tx, space, host)
    return found


def _asked(what: str, given: Sequence[Any], work: Callable[..., Sequence[Any]], *arguments: Any) -> list[Any]:
    """Whatever it answers, it is of what was given. One that breaks is named."""
    known = {row.id: row for row in given}
    try:
        answer = [row.id for row in work(*arguments, list(given))]
    except Exception as error:
        raise Failed(f"{what} failed ({type(error).__name__}: {error}): mend it or remove its package") from error
    return [known[number] for number in dict.fromkeys(answer) if number in known]
