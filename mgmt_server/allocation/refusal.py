"""Why a machine does not go to a host: the first rule that forbids it, and the number that decided.

The same rules as in the query of allocation/hosts.py, one host at a time; a test holds both together. Root
administrators read each host by name, others the reasons in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import literal, select
from sqlalchemy.orm import Session

from mgmt_server.allocation import hosts, hypervisors, planners, tags, thresholds
from mgmt_server.allocation.affinity import Rules
from mgmt_server.allocation.need import Need
from mgmt_server.errors import NoCapacity
from mgmt_server.model.account import SYSTEM_ACCOUNT
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope
from mgmt_server.model.zone import Cluster, Pod

TOLD = 20  # hosts that an error names
MIB = 2**20

# what those read who may not see hosts, the most telling first
WORDS = {
    "failed": "it was tried on a host and did not start there",
    "memory": "not enough free memory",
    "cpu": "not enough free CPU",
    "threshold": "what is free is kept in reserve",
    "machines": "hosts have as many machines as they may",
    "affinity": "its affinity groups forbid the hosts that have room",
    "implicit": "hosts are used by others, or kept by them for themselves",
    "dedicated": "hosts are dedicated to others",
    "ungrouped": "hosts are dedicated with an affinity group that it is not in",
    "ha": "hosts are kept for machines whose host has failed",
    "tag": "no such host has the tags that its offering or its template asks for",
    "arch": "hosts are of another architecture",
    "firmware": "hosts lack the firmware that it boots with",
    "storage": "its disks find no room on storage that a host reaches",
    "planner": "the deployment planner leaves hosts out",
    "place": "it may run in one place alone",
    "state": "hosts are down or being repaired",
    "disabled": "hosts are not in use at present",
    "hypervisor": "there is no host of its hypervisor",
}


@dataclass(frozen=True)
class Verdict:
    """`rule` is empty for what fits. `wanted` and `there` are the numbers that decided, in MHz, bytes or machines."""

    id: int
    uuid: str
    name: str
    cluster: str = ""
    rule: str = ""
    reason: str = ""
    wanted: float | None = None
    there: float | None = None


@dataclass(frozen=True)
class _Case:
    """A host and all that the rules look at."""

    host: Host
    cluster: Cluster
    pod: Pod
    need: Need
    open: bool
    meant: bool  # what is dedicated, and with which group, lets it run there
    alone: bool
    sums: Mapping[str, float]
    affinity: Rules


Said = tuple[str, str] | tuple[str, str, float, float] | None


def of_hosts(tx: Session, need: Need, met: Mapping[int, tuple[str, str]] | None = None) -> list[Verdict]:
    """Every host of the zone. `met`: what those met that had room and were tried: rule and reason, by number."""
    everybody = need.account_id == SYSTEM_ACCOUNT
    free = literal(True) if everybody else hosts.not_of_others(tx, need)
    meant = literal(True) if everybody else hosts.dedicated_so(tx, need)
    alone = hosts.implicit_rules(tx, need) or [literal(True)]
    rows = (
        select(Host, Cluster, Pod, free.label("open"), meant.label("meant"), alone[0].label("alone"))
        .join(Cluster, Cluster.id == Host.cluster_id)
        .join(Pod, Pod.id == Host.pod_id)
        .where(Host.zone_id == need.zone_id, Host.removed.is_(None), Host.type == "Routing")
    )
    sums = {row.cluster_id: row._mapping for row in tx.execute(thresholds.in_use(need.zone_id))}
    rules = hosts.rules_of(tx, need)
    found, fitting = [], []
    for host, cluster, pod, *said in tx.execute(rows.order_by(Host.id)):
        case = _Case(host, cluster, pod, need, *(bool(one) for one in said), sums.get(cluster.id, {}), rules)
        told = (met or {}).get(host.id) or _first(case)
        found.append(Verdict(host.id, host.uuid, host.name, cluster.name, *(told or ())))
        if not told:
            fitting.append(host)
    kept = {h.id for h in planners.in_order(tx, need, fitting)}
    left_out = f"is left out by the planner {planners.chosen(need)} or an allocator"
    return [v if v.rule or v.id in kept else _with(v, "planner", left_out) for v in found]


def _with(verdict: Verdict, rule: str, reason: str) -> Verdict:
    return Verdict(verdict.id, verdict.uuid, verdict.name, verdict.cluster, rule, reason)


def _first(case: _Case) -> Said:
    for rule in _RULES:
        told = rule(case)
        if told is not None:
            return told
    return None


def _place(c: _Case) -> Said:
    if c.host.hypervisor != c.need.hypervisor:
        return "hypervisor", f"runs {c.host.hypervisor}"
    if c.need.host_id not in (None, c.host.id):
        return "place", "is not the host that was asked for"
    for name, have, wanted in (
        (f"pod {c.pod.name}", c.host.pod_id, c.need.pod_id),
        (f"cluster {c.cluster.name}", c.host.cluster_id, c.need.cluster_id),
    ):
        if wanted not in (None, have):
            return "place", f"is in the {name}, and another one was asked for or has its address"
    if any(each != c.host.id for each in c.need.disk_hosts):
        return "place", "does not reach its disks, which are on a host's own storage"
    if any(each != c.host.cluster_id for each in c.need.disk_clusters):
        return "place", f"is in the cluster {c.cluster.name}, and does not reach its disks in another one"
    if c.host.id in c.need.avoid:
        return "place", "is to be avoided"
    if c.need.arch and c.cluster.arch != c.need.arch:
        return "arch", f"is {c.cluster.arch}, not {c.need.arch}"
    return None


def _state(c: _Case) -> Said:
    if c.host.state != "Up":
        return "state", f"is {c.host.state}"
    if c.host.resource_state not in hosts.states_for(c.need):
        return "disabled", f"is {c.host.resource_state}"
    if c.pod.allocation_state != "Enabled" and not c.need.disabled:
        return "disabled", f"is in the disabled pod {c.pod.name}"
    closed = c.cluster.allocation_state != "Enabled" and not c.need.disabled
    if closed or c.cluster.managed_state != "Managed":
        return "disabled", f"is in the cluster {c.cluster.name}, which is not enabled"
    return None


def _whose(c: _Case) -> Said:
    if not c.open:
        return "dedicated", "is dedicated to others"
    if not c.meant and c.affinity.dedicated:
        return "affinity", f"is not dedicated with the affinity group {', '.join(c.affinity.names)}"
    if not c.meant:
        return "ungrouped", "is dedicated: only machines in the affinity group of the dedication are placed there"
    if not c.alone:
        mine = c.need.implicit and "is used by others, and this machine wants a host of its own account"
        return "implicit", mine or "is kept by another account for itself (ImplicitDedicationPlanner)"
    if not c.affinity.allows(c.host.id):
        return "affinity", f"is forbidden by the affinity group {', '.join(c.affinity.names)}"
    return None


def _firmware(c: _Case) -> Said:
    if hosts.has_firmware(c.host, c.need.firmware):
        return None
    kind = "UEFI" if c.need.firmware == "uefi" else "UEFI with secure boot"
    return "firmware", f"cannot boot by {kind}: install ovmf there and restart its agent"


def _tags(c: _Case) -> Said:
    lacking = tags.against(c.host, c.need)
    if lacking:
        return "tag", lacking
    kept = hosts.HA_TAG.text()
    if kept and not c.need.ha and hosts.tagged(c.host.tags, [kept]):
        return "ha", f"has the tag {kept} and is kept for machines whose host has failed (setting ha.tag)"
    return None


def _room(c: _Case) -> Said:
    most = hypervisors.limits_of(c.host.hypervisor).machines
    if c.host.machines >= most:
        return "machines", f"has {c.host.machines} machines, of at most {most}", c.host.machines + 1, most
    cpu, memory = c.host.cpu_capacity - c.host.cpu_used, c.host.memory_capacity - c.host.memory_used
    lacks = [f"{c.need.cpu - cpu} MHz"] if cpu < c.need.cpu else []
    if memory < c.need.memory:
        lacks.append(f"{-(-(c.need.memory - memory) // MIB)} MiB")
        return "memory", f"lacks {' and '.join(lacks)}", c.need.memory, memory
    return ("cpu", f"lacks {lacks[0]}", c.need.cpu, cpu) if lacks else None


def _reserve(c: _Case) -> Said:
    if not hosts.minds_thresholds(c.need):
        return None
    scope = Scope("Cluster", c.cluster.id)
    for name, kind, more, setting in (
        ("CPU", "cpu", c.need.cpu, thresholds.CPU_FULL),
        ("memory", "memory", c.need.memory, thresholds.MEMORY_FULL),
    ):
        used, capacity = float(c.sums[f"{kind}_used"]) + more, float(c.sums[f"{kind}_capacity"])
        limit = setting.fraction(scope)
        if used > capacity * limit:
            share = used / capacity if capacity else 1.0
            text = f"would bring the cluster {c.cluster.name} to {share:.1%} of its {name}, above {limit:.0%}"
            return "threshold", f"{text} ({setting.name})", used, capacity * limit
    return None


_RULES: tuple[Callable[[_Case], Said], ...] = (_place, _state, _whose, _firmware, _tags, _room, _reserve)


def needs(need: Need) -> str:
    return f"needs {need.cpu} MHz and {need.memory // MIB} MiB on {need.hypervisor}"


def words(rules: Iterable[str]) -> str:
    """Reasons for those who may not see the inventory; what is beside the point only where it is all there is."""
    there = set(rules)
    telling = [r for r in WORDS if r in there and r not in ("hypervisor", "place", "planner")]
    return "; ".join(WORDS[r] for r in telling or [r for r in WORDS if r in there]) or WORDS["hypervisor"]


def error(
    tx: Session,
    need: Need,
    what: str,
    storage: Sequence[str] = (),
    met: Mapping[int, tuple[str, str]] | None = None,
) -> NoCapacity:
    """`storage`: what speaks against pools, by name."""
    found = of_hosts(tx, need, met)
    refused = [v for v in found if v.rule]
    told = [f"{v.name} {v.reason}" for v in refused[:TOLD]]
    more = f", and {len(refused) - TOLD} hosts more" if len(refused) > TOLD else ""
    by_name = "; ".join([*told, *storage]) or "the zone has no host of that hypervisor: add one with addHost"
    begin = f"No host can take {what}, which {needs(need)}: "
    return NoCapacity(begin + words(v.rule for v in refused), inventory=begin + by_name + more)


def shown(verdict: Verdict) -> dict[str, Any]:
    """As the explaining command answers it."""
    fields = {"id": verdict.uuid, "name": verdict.name, "clustername": verdict.cluster, "rule": verdict.rule}
    fields |= {"reason": verdict.reason, "wanted": verdict.wanted, "available": verdict.there}
    return {"suitable": not verdict.rule} | {k: v for k, v in fields.items() if v not in (None, "")}
