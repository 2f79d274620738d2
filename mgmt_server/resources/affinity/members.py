"""Which machines are in which affinity groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from mgmt_server.allocation.dedication import domains_above
from mgmt_server.db import Conflict, now
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.account import SYSTEM_ACCOUNT, Account
from mgmt_server.model.affinity import EXPLICIT, AffinityGroup, AffinityMember
from mgmt_server.model.tenancy import Caller
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Dedication
from mgmt_server.resources.dedication.rows import TABLES, release_all


def chosen(
    tx: Session, owner: Account, groups: Sequence[AffinityGroup] | None, names: Sequence[str] | None
) -> list[AffinityGroup]:
    """Groups of an account, by rows or by names. Raises InvalidValue for what is not the account's."""
    if groups and names:
        raise InvalidValue("affinitygroupids and affinitygroupnames exclude each other: send one of them")
    if not groups and not names:
        return []
    own = _open_to(tx, owner)
    numbers = [group.id for group in groups or ()]
    there = set(tx.scalars(select(AffinityGroup.id).where(AffinityGroup.id.in_(numbers), own))) if numbers else set()
    for group in groups or ():
        if group.id not in there:
            raise InvalidValue(
                f"The affinity group {group.name} is not of the account {owner.name}: name groups of the account that "
                "the machine belongs to, or of what is dedicated to its domain"
            )
    wanted = list(dict.fromkeys(names or ()))
    if not wanted:
        return list({group.id: group for group in groups or ()}.values())
    # a name of the account's own goes before that of a domain's
    rows = select(AffinityGroup).where(own, AffinityGroup.removed.is_(None), AffinityGroup.name.in_(wanted))
    found = {group.name: group for group in tx.scalars(rows.order_by(AffinityGroup.account_id == owner.id))}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InvalidValue(f"Unable to find group by name {missing[0]} for account {owner.name}")
    return [found[name] for name in wanted]


def _open_to(tx: Session, owner: Account) -> ColumnElement[bool]:
    """Groups of an account, and those of what is dedicated to its domain or to one above it."""
    domains = (AffinityGroup.type == EXPLICIT) & (AffinityGroup.account_id == SYSTEM_ACCOUNT)
    mine: ColumnElement[bool] = AffinityGroup.account_id == owner.id
    return mine | (domains & AffinityGroup.domain_id.in_(domains_above(tx, owner.id)))


def join(tx: Session, vm_id: int, groups: Sequence[int]) -> None:
    """Put a machine into these groups and no others."""
    held = select(AffinityGroup.id).where(AffinityGroup.id.in_(sorted(groups)), AffinityGroup.removed.is_(None))
    there = set(tx.scalars(held.order_by(AffinityGroup.id).with_for_update())) if groups else set()
    if there != set(groups):
        raise InvalidValue("one of the affinity groups has been deleted meanwhile: choose again")
    tx.execute(delete(AffinityMember).where(AffinityMember.vm_id == vm_id))
    tx.add_all(AffinityMember(group_id=number, vm_id=vm_id) for number in sorted(there))
    tx.flush()


def leave(tx: Session, vm_id: int) -> None:
    """A machine that is gone, or has another owner, is in no group any more."""
    tx.execute(delete(AffinityMember).where(AffinityMember.vm_id == vm_id))


def check_stopped(vm: Vm) -> None:
    if vm.state != "Stopped":
        raise InvalidValue(
            f"The machine {vm.display_name} is {vm.state}: stop it first, for its groups decide where it may run"
        )


def update(job: Job, vm_id: int, groups: list[int]) -> None:
    job.write(updated, vm_id, groups)


def updated(tx: Session, vm_id: int, groups: list[int]) -> None:
    vm = tx.get_one(Vm, vm_id, with_for_update=True)
    if vm.removed is not None:
        raise Conflict("Vm", vm_id, "there")
    check_stopped(vm)
    join(tx, vm_id, groups)


def remove(job: Job, group_id: int) -> None:
    job.write(removed, group_id)


def removed(tx: Session, group_id: int) -> None:
    """The group goes; its machines stay, and run where they run. What is dedicated with it is released."""
    release_all(tx, group_id=group_id)
    group = tx.get_one(AffinityGroup, group_id, with_for_update=True)
    tx.execute(delete(AffinityMember).where(AffinityMember.group_id == group_id))
    if group.removed is None:
        group.removed = now()


def machines_of(session: Session, caller: Caller, groups: list[int]) -> Mapping[int, Mapping[str, Any]]:
    """The field virtualmachineIds, as far as the caller sees them; absent for a group without machines."""
    rows = select(AffinityMember.group_id, Vm.uuid).join(Vm, Vm.id == AffinityMember.vm_id)
    rows = rows.where(AffinityMember.group_id.in_(groups), Vm.removed.is_(None), Vm.usable_by(caller)).order_by(Vm.id)
    found: dict[int, dict[str, Any]] = {}
    for group, uuid in session.execute(rows):
        found.setdefault(group, {"virtualmachineIds": []})["virtualmachineIds"].append(uuid)
    return found


def dedicated_with(session: Session, caller: Caller, groups: list[int]) -> Mapping[int, Mapping[str, Any]]:
    """The field dedicatedresources, for root administrators: others do not see pods and hosts."""
    if not caller.is_root:
        return {}
    found: dict[int, dict[str, Any]] = {}
    for kind, table in TABLES.items():
        rows = select(Dedication.group_id, table.uuid, table.name).join(table, table.id == Dedication.resource_id)
        for group, uuid, name in session.execute(rows.where(Dedication.kind == kind, Dedication.group_id.in_(groups))):
            told = {"resourceid": uuid, "resourcename": name, "resourcetype": kind}
            found.setdefault(group, {"dedicatedresources": []})["dedicatedresources"].append(told)
    return found
