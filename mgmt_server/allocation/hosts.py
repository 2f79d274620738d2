"""Where a machine runs: a host's capacity is taken by one UPDATE whose WHERE is the check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Update,
    and_,
    bindparam,
    case,
    false,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session

from mgmt_server.allocation import affinity, counted, hypervisors, implicit, made, planners, tags, thresholds
from mgmt_server.allocation.dedication import domains_above, of_groups, open_to
from mgmt_server.allocation.need import Need
from mgmt_server.allocation.tags import tagged
from mgmt_server.db import changed
from mgmt_server.errors import NoCapacity
from mgmt_server.model.account import SYSTEM_ACCOUNT
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster, Pod

__all__ = ["HA_TAG", "Need", "candidates", "give_back", "guard", "refused", "tagged", "take", "untake"]

HA_TAG = Setting("ha.tag", "Tag of hosts that are kept for machines whose host has failed; empty: none are", default="")
PLACES = {"zone": Host.zone_id, "pod": Host.pod_id, "cluster": Host.cluster_id, "host": Host.id}


def candidates(tx: Session, need: Need) -> list[Host]:
    """Hosts that have room now and break no rule, in the order to try them."""
    found = _candidates(tx, need, True)
    return found or (_candidates(tx, need, False) if need.account_id == SYSTEM_ACCOUNT else [])


def guard(tx: Session, need: Need) -> ColumnElement[bool]:
    """For `take`: nothing has changed meanwhile that forbids the host.

    A zone's own system VMs serve everybody: they may go to dedicated hosts, where there are no others.
    """
    if need.grouped or implicit.matters(need):
        return _guard(tx, need)
    return made.once(("guard", need.account_id, need.serves, need.disabled, _above(tx, need)), lambda: _guard(tx, need))


def _guard(tx: Session, need: Need) -> ColumnElement[bool]:
    conditions = [Host.state == "Up", Host.resource_state.in_(states_for(need)), *implicit_rules(tx, need)]
    if need.grouped and need.vm_id is not None:
        conditions.append(affinity.rules_of(tx, need.vm_id).allowed())
    if need.account_id != SYSTEM_ACCOUNT:
        conditions.append(dedicated_so(tx, need))
    found: ColumnElement[bool] = true()
    for condition in conditions:
        found &= condition
    return found


def states_for(need: Need) -> tuple[str, ...]:
    """What a host may be, of what administrators make of it, so that the machine may start there."""
    return ("Enabled", "Disabled") if need.disabled else ("Enabled",)


def implicit_rules(tx: Session, need: Need) -> list[ColumnElement[bool]]:
    return [] if need.account_id == SYSTEM_ACCOUNT else implicit.open_hosts(tx, need)


def not_of_others(tx: Session, need: Need, *, grouped: bool = True) -> ColumnElement[bool]:
    account = None if need.account_id == SYSTEM_ACCOUNT else need.account_id
    return open_to(tx, account, grouped=grouped, **PLACES)


def dedicated_so(tx: Session, need: Need) -> ColumnElement[bool]:
    """Hosts where what is dedicated, and to whom, lets the machine run."""
    groups = rules_of(tx, need).dedicated
    found = not_of_others(tx, need, grouped=bool(groups) or need.serves)
    return found & of_groups(groups, **PLACES) if groups else found


def rules_of(tx: Session, need: Need) -> affinity.Rules:
    return affinity.rules_of(tx, need.vm_id) if need.grouped and need.vm_id is not None else affinity.Rules()


def _candidates(tx: Session, need: Need, undedicated: bool) -> list[Host]:
    rules = rules_of(tx, need)
    found = [h for h in tx.scalars(_statement(tx, need, rules, undedicated)) if not tags.against(h, need)]
    emptiest = planners.ALGORITHM.text() != "firstfit"
    found.sort(key=lambda h: (h.memory_used if emptiest else 0, h.id))
    found = planners.in_order(tx, need, found)
    tag = HA_TAG.text()
    return sorted(found, key=lambda h: (not (need.ha and tag and tagged(h.tags, [tag])), rules.rank(h.id)))


def _statement(tx: Session, need: Need, rules: affinity.Rules, undedicated: bool) -> Select[tuple[Host]]:
    if need.grouped or implicit.matters(need):
        return _select(tx, need, rules, undedicated)
    above = _above(tx, need) if undedicated else ()
    key = ("hosts", replace(need, vm_id=None), undedicated, above)
    return made.once(key, lambda: _select(tx, need, rules, undedicated))


def _above(tx: Session, need: Need) -> tuple[int, ...]:
    """The domains whose dedications are the machine's too."""
    return () if need.account_id in (None, SYSTEM_ACCOUNT) else tuple(domains_above(tx, need.account_id))


def _select(tx: Session, need: Need, rules: affinity.Rules, undedicated: bool) -> Select[tuple[Host]]:
    conditions = [dedicated_so(tx, need)] if undedicated else []
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
    emptiest = () if planners.ALGORITHM.text() == "firstfit" else (Host.memory_used,)
    order = (*_kept_first(need), *rules.order(), *emptiest, Host.id)
    # found by number, read then, and put in order here: sorted with the texts of hosts it would be a file each time
    best = rows.order_by(*order).limit(planners.looks_at(planners.chosen(need))).subquery("best")
    return select(Host).join(best, best.c.id == Host.id)


def minds_thresholds(need: Need) -> bool:
    return (
        not need.spare
        and not need.disabled
        and planners.chosen(need) != planners.SKIP_HEURISTICS
        and thresholds.ENABLED.flag()
    )


def _tags(need: Need) -> list[ColumnElement[bool]]:
    wanted = tags.strict(need.tags) if need.named else need.tags
    named = and_(Host.tag_rule.is_(None), *(has_tag(tag) for tag in wanted))
    rules = tags.fitting_hosts(wanted)
    found = [or_(named, Host.tag_rule.in_(rules)) if rules else named]
    if need.named and not wanted:
        found = []
    kept = HA_TAG.text()
    return [*found, ~has_tag(kept)] if kept and not need.ha else found


def _kept_first(need: Need) -> list[ColumnElement[int]]:
    tag = HA_TAG.text()
    return [case((has_tag(tag), 0), else_=1)] if need.ha and tag else []


def kept_for_failures() -> ColumnElement[bool]:
    """Hosts that take machines whose host has failed, and no others."""
    kept = HA_TAG.text()
    return has_tag(kept) if kept else false()


def has_tag(tag: str) -> ColumnElement[bool]:
    names = "," + func.replace(func.coalesce(Host.tags, ""), " ", "") + ","
    return names.contains(f",{tag.replace(' ', '')},", autoescape=True)


def take(
    tx: Session, host_id: int, cpu: int, memory: int, most: int = 0, *, condition: ColumnElement[bool] | None = None
) -> bool:
    """Promise capacity of a host. False when it has not enough any more, or meets the condition no more."""
    # a guard that was made once is the same object, and so is the statement with it
    key = ("take", id(condition), bool(most))
    _, taken = made.once(key, lambda: (condition, _taking(condition, bounded=bool(most))))
    values = {"of_host": host_id, "more_cpu": cpu, "more_memory": memory} | ({"at_most": most} if most else {})
    if changed(tx.execute(taken, values)) != 1:
        return False
    if condition is None or not implicit.strict():
        return True
    # asked once more now that the host is held: who held it before has told by now which machine came
    if tx.scalar(select(Host.id).where(Host.id == host_id, condition)) is not None:
        return True
    untake(tx, host_id, cpu, memory)
    return False


def _taking(condition: ColumnElement[bool] | None, *, bounded: bool) -> Update:
    cpu, memory = bindparam("more_cpu", type_=BigInteger), bindparam("more_memory", type_=BigInteger)
    return (
        update(Host)
        .where(
            Host.id == bindparam("of_host"),
            Host.removed.is_(None),
            Host.cpu_capacity - Host.cpu_used >= cpu,
            Host.memory_capacity - Host.memory_used >= memory,
            Host.machines < bindparam("at_most") if bounded else hypervisors.has_room(),
            *([] if condition is None else [condition]),
        )
        .values(cpu_used=Host.cpu_used + cpu, memory_used=Host.memory_used + memory, machines=Host.machines + 1)
        .execution_options(synchronize_session=False)
    )


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


def _suitable(need: Need) -> list[ColumnElement[bool]]:
    found = [
        Host.zone_id == need.zone_id,
        Host.hypervisor == need.hypervisor,
        Host.type == "Routing",
        Host.state == "Up",
        Host.resource_state.in_(states_for(need)),
        Host.removed.is_(None),
        Cluster.managed_state == "Managed",
    ]
    if not need.disabled:
        enabled = select(Pod.id).where(Pod.id == Host.pod_id, Pod.allocation_state == "Enabled").exists()
        found += [Cluster.allocation_state == "Enabled", enabled]
    for column, value in (
        (Host.pod_id, need.pod_id),
        (Host.cluster_id, need.cluster_id),
        (Host.id, need.host_id),
        (Cluster.arch, need.arch or None),
        *((Host.cluster_id, each) for each in need.disk_clusters),
        *((Host.id, each) for each in need.disk_hosts),
    ):
        if value is not None:
            found.append(column == value)
    if need.firmware and need.hypervisor != "Simulator":
        found.append(("," + Host.capabilities + ",").contains(f",{need.firmware},"))
    return [*found, Host.id.not_in(need.avoid)] if need.avoid else found


def has_firmware(host: Host, firmware: str) -> bool:
    """What hosts have besides a BIOS they tell among their capabilities. Simulated ones start anything."""
    return not firmware or host.hypervisor == "Simulator" or firmware in (host.capabilities or "").split(",")


def refused(tx: Session, need: Need, what: str, storage: Sequence[str] = ()) -> NoCapacity:
    """The reason why nothing has room: each host with the rule and the number that decided."""
    from mgmt_server.allocation import refusal  # it asks the rules of this file

    return refusal.error(tx, need, what, storage)
