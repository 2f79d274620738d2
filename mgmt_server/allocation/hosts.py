"""Where a machine runs: a host's capacity is taken by one UPDATE whose WHERE is the check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select, true, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import affinity, counted, hypervisors, implicit, planners, thresholds
from mgmt_server.allocation.dedication import domains_above, open_to
from mgmt_server.allocation.need import Need
from mgmt_server.db import changed
from mgmt_server.errors import NoCapacity
from mgmt_server.model import settings
from mgmt_server.model.account import SYSTEM_ACCOUNT
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster, Pod

__all__ = ["HA_TAG", "Need", "candidates", "give_back", "guard", "refused", "tagged", "take", "untake"]

HA_TAG = Setting("ha.tag", "Tag of hosts that are kept for machines whose host has failed; empty: none are", default="")


def candidates(tx: Session, need: Need) -> list[Host]:
    """Hosts that have room now and break no rule, in the order to try them."""
    found = _candidates(tx, need, True)
    return found or (_candidates(tx, need, False) if need.account_id == SYSTEM_ACCOUNT else [])


def guard(tx: Session, need: Need) -> ColumnElement[bool]:
    """For `take`: nothing has changed meanwhile that forbids the host.

    A zone's own system VMs serve everybody: they may go to dedicated hosts, where there are no others.
    """
    conditions = [Host.state == "Up", Host.resource_state == "Enabled", *implicit_rules(tx, need)]
    if need.grouped and need.vm_id is not None:
        conditions.append(affinity.rules_of(tx, need.vm_id).allowed())
    if need.account_id != SYSTEM_ACCOUNT:
        conditions.append(_open_for(tx, need))
    found: ColumnElement[bool] = true()
    for condition in conditions:
        found &= condition
    return found


def implicit_rules(tx: Session, need: Need) -> list[ColumnElement[bool]]:
    return [] if need.account_id == SYSTEM_ACCOUNT else implicit.open_hosts(tx, need)


def _open_for(tx: Session, need: Need) -> ColumnElement[bool]:
    account = None if need.account_id == SYSTEM_ACCOUNT else need.account_id
    return open_to(tx, account, zone=Host.zone_id, pod=Host.pod_id, cluster=Host.cluster_id, host=Host.id)


def rules_of(tx: Session, need: Need) -> affinity.Rules:
    return affinity.rules_of(tx, need.vm_id) if need.grouped and need.vm_id is not None else affinity.Rules()


def _candidates(tx: Session, need: Need, undedicated: bool) -> list[Host]:
    rules = rules_of(tx, need)
    found = [h for h in tx.scalars(_statement(tx, need, rules, undedicated)) if tagged(h.tags, need.tags)]
    found = planners.in_order(tx, need, found)
    tag = HA_TAG.text()
    return sorted(found, key=lambda h: (not (need.ha and tag and tagged(h.tags, [tag])), rules.rank(h.id)))


class _Made:
    """Statements that were made already. To build one takes three quarters of a placement's time."""

    MOST = 500

    def __init__(self) -> None:
        self.of: tuple[object, object] = (None, None)
        self.known: dict[Any, Select[tuple[Host]]] = {}

    def fresh(self) -> dict[Any, Select[tuple[Host]]]:
        """Those that were made with the settings and limits as they are now."""
        now = (settings.stamp(), hypervisors.stamp())
        if self.of[0] is not now[0] or self.of[1] is not now[1] or len(self.known) > self.MOST:
            self.of, self.known = now, {}
        return self.known


_made = _Made()


def _statement(tx: Session, need: Need, rules: affinity.Rules, undedicated: bool) -> Select[tuple[Host]]:
    if need.grouped or implicit.matters(need):
        return _select(tx, need, rules, undedicated)
    account = None if need.account_id in (None, SYSTEM_ACCOUNT) else need.account_id
    above = tuple(domains_above(tx, account)) if account is not None and undedicated else ()
    known, key = _made.fresh(), (replace(need, vm_id=None), undedicated, above)
    if key not in known:
        known[key] = _select(tx, need, rules, undedicated)
    return known[key]


def _select(tx: Session, need: Need, rules: affinity.Rules, undedicated: bool) -> Select[tuple[Host]]:
    planner = planners.chosen(need)
    conditions = [_open_for(tx, need)] if undedicated else []
    rows = (
        select(Host.id)
        .join(Cluster, Cluster.id == Host.cluster_id)
        .where(*_suitable(need), *conditions, *implicit_rules(tx, need), *_tags(need), hypervisors.has_room())
        .where(Host.cpu_capacity - Host.cpu_used >= need.cpu, Host.memory_capacity - Host.memory_used >= need.memory)
    )
    if rules.names:
        rows = rows.where(rules.allowed())
    if minds_thresholds(need):
        rows = rows.where(Host.cluster_id.in_(thresholds.with_reserve(need.zone_id, need.cpu, need.memory)))
    first = planner == planners.FIRST_FIT and not planners.allocators()
    emptiest = () if planners.ALGORITHM.text() == "firstfit" else (Host.memory_used,)
    order = (*_kept_first(need), *rules.order(), *emptiest, Host.id)
    # found by number, and read then: what is sorted stays narrow
    best = rows.order_by(*order).limit(planners.FEW if first else planners.MANY).subquery("best")
    return select(Host).join(best, best.c.id == Host.id).order_by(*order)


def minds_thresholds(need: Need) -> bool:
    return not need.spare and planners.chosen(need) != planners.SKIP_HEURISTICS and thresholds.ENABLED.flag()


def _tags(need: Need) -> list[ColumnElement[bool]]:
    found = [_has_tag(tag) for tag in need.tags]
    kept = HA_TAG.text()
    return [*found, ~_has_tag(kept)] if kept and not need.ha else found


def _kept_first(need: Need) -> list[ColumnElement[int]]:
    tag = HA_TAG.text()
    return [case((_has_tag(tag), 0), else_=1)] if need.ha and tag else []


def _has_tag(tag: str) -> ColumnElement[bool]:
    tags = "," + func.replace(func.coalesce(Host.tags, ""), " ", "") + ","
    return tags.contains(f",{tag.replace(' ', '')},", autoescape=True)


def take(
    tx: Session, host_id: int, cpu: int, memory: int, most: int = 0, *, condition: ColumnElement[bool] | None = None
) -> bool:
    """Promise capacity of a host. False when it has not enough any more, or meets the condition no more."""
    taken = (
        update(Host)
        .where(
            Host.id == host_id,
            Host.removed.is_(None),
            Host.cpu_capacity - Host.cpu_used >= cpu,
            Host.memory_capacity - Host.memory_used >= memory,
            Host.machines < most if most else hypervisors.has_room(),
            *([] if condition is None else [condition]),
        )
        .values(cpu_used=Host.cpu_used + cpu, memory_used=Host.memory_used + memory, machines=Host.machines + 1)
        .execution_options(synchronize_session=False)
    )
    if changed(tx.execute(taken)) != 1:
        return False
    if condition is None or not implicit.strict():
        return True
    # asked once more now that the host is held: who held it before has told by now which machine came
    if tx.scalar(select(Host.id).where(Host.id == host_id, condition)) is not None:
        return True
    untake(tx, host_id, cpu, memory)
    return False


def untake(tx: Session, host_id: int, cpu: int, memory: int) -> None:
    """Give back what `take` took."""
    tx.execute(
        update(Host)
        .where(Host.id == host_id)
        .values(cpu_used=Host.cpu_used - cpu, memory_used=Host.memory_used - memory, machines=Host.machines - 1)
        .execution_options(synchronize_session=False)
    )


def give_back(tx: Session, vm: Vm) -> None:
    """Give back what the host holds for a machine. Doing it twice gives nothing back twice."""
    held = update(Vm).where(Vm.id == vm.id, Vm.reserved).values(reserved=False)
    if changed(tx.execute(held.execution_options(synchronize_session=False))) != 1:
        return
    counted.machine_rests(tx, vm)
    if vm.host_id is not None:
        untake(tx, vm.host_id, vm.cpus * vm.speed, vm.memory * 2**20)


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
    for column, value in (
        (Host.pod_id, need.pod_id),
        (Host.cluster_id, need.cluster_id),
        (Host.id, need.host_id),
        (Cluster.arch, need.arch or None),
    ):
        if value is not None:
            found.append(column == value)
    return [*found, Host.id.not_in(need.avoid)] if need.avoid else found


def refused(tx: Session, need: Need, what: str, storage: Sequence[str] = ()) -> NoCapacity:
    """The reason why nothing has room: each host with the rule and the number that decided."""
    from mgmt_server.allocation import refusal  # it asks the rules of this file

    return refusal.error(tx, need, what, storage)
