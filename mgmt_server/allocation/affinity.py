"""What affinity groups say of a machine's host. Placements of one group's machines wait for each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, case, literal, select, true
from sqlalchemy.orm import Session

from mgmt_server.model.affinity import EXPLICIT, AffinityGroup, AffinityMember
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm

APART, TOGETHER = "host anti-affinity", "host affinity"
RATHER_APART, RATHER_TOGETHER = "non-strict host anti-affinity", "non-strict host affinity"
# strict ones bind, the others are wishes
TYPES = (APART, TOGETHER, RATHER_APART, RATHER_TOGETHER)


@dataclass(frozen=True)
class Rules:
    """Hosts by number. `together` None: any host will do."""

    apart: frozenset[int] = frozenset()
    together: frozenset[int] | None = None
    rather: frozenset[int] = frozenset()
    rather_not: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()  # of the strict groups
    dedicated: tuple[int, ...] = ()  # groups of dedications: it goes to what is dedicated with them alone

    def allowed(self) -> ColumnElement[bool]:
        found: ColumnElement[bool] = Host.id.not_in(sorted(self.apart)) if self.apart else true()
        return found if self.together is None else found & Host.id.in_(sorted(self.together))

    def allows(self, host: int) -> bool:
        return host not in self.apart and (self.together is None or host in self.together)

    def rank(self, host: int) -> int:
        """The lower, the more it is wished for."""
        return (host in self.rather_not) - (host in self.rather)

    def order(self) -> list[ColumnElement[int]]:
        if not (self.rather or self.rather_not):
            return []
        wished = case((Host.id.in_(sorted(self.rather)), -1), else_=0) if self.rather else literal(0)
        not_wished = case((Host.id.in_(sorted(self.rather_not)), 1), else_=0) if self.rather_not else literal(0)
        return [wished + not_wished]


def rules_of(tx: Session, vm_id: int) -> Rules:
    """The rules for a machine, and its groups locked until the transaction ends: nobody of them gets a host meanwhile.

    Asked again in the same transaction, it answers the same without a statement.
    """
    known: dict[int, Rules] = tx.info.setdefault("affinity", {})
    if vm_id not in known:
        known[vm_id] = _read(tx, vm_id)
    return known[vm_id]


def _read(tx: Session, vm_id: int) -> Rules:
    groups = (
        select(AffinityGroup.id, AffinityGroup.type, AffinityGroup.name)
        .join(AffinityMember, AffinityMember.group_id == AffinityGroup.id)
        .where(AffinityMember.vm_id == vm_id, AffinityGroup.removed.is_(None))
        .order_by(AffinityGroup.id)
    )
    found = [tuple(row) for row in tx.execute(groups)]
    numbers = [number for number, type, _ in found if type != EXPLICIT]
    places: dict[int, set[int]] = {}
    if numbers:
        tx.execute(
            select(AffinityGroup.id).where(AffinityGroup.id.in_(numbers)).order_by(AffinityGroup.id).with_for_update()
        ).all()
        others = (
            select(AffinityMember.group_id, Vm.host_id, Vm.target_host_id)
            .join(Vm, Vm.id == AffinityMember.vm_id)
            .where(AffinityMember.group_id.in_(numbers), Vm.id != vm_id, Vm.removed.is_(None))
            .where(Vm.host_id.is_not(None) | Vm.target_host_id.is_not(None))
        )
        for group, *hosts in tx.execute(others):
            places.setdefault(group, set()).update(h for h in hosts if h is not None)
    rules = _rules([(type, name, places.get(number, set())) for number, type, name in found])
    return replace(rules, dedicated=tuple(number for number, type, _ in found if type == EXPLICIT))


def _rules(groups: list[tuple[str, str, set[int]]]) -> Rules:
    by_type: dict[str, set[int]] = {type: set() for type in TYPES}
    together: frozenset[int] | None = None
    for type, _, hosts in groups:
        if type == TOGETHER and hosts:  # of several groups, a host that all of them are on
            together = frozenset(hosts) if together is None else together & hosts
        by_type.setdefault(type, set()).update(hosts)
    return Rules(
        apart=frozenset(by_type[APART]),
        together=together,
        rather=frozenset(by_type[RATHER_TOGETHER]),
        rather_not=frozenset(by_type[RATHER_APART]),
        names=tuple(name for type, name, _ in groups if type in (APART, TOGETHER, EXPLICIT)),
    )
