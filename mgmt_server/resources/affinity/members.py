"""Which machines are in which affinity groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mgmt_server.db import Conflict, now
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.account import Account
from mgmt_server.model.affinity import AffinityGroup, AffinityMember
from mgmt_server.model.tenancy import Caller
from mgmt_server.model.vm import Vm


def chosen(
    tx: Session, owner: Account, groups: Sequence[AffinityGroup] | None, names: Sequence[str] | None
) -> list[AffinityGroup]:
    """Groups of an account, by rows or by names. Raises InvalidValue for what is not the account's."""
    if groups and names:
        raise InvalidValue("affinitygroupids and affinitygroupnames exclude each other: send one of them")
    for group in groups or ():
        if group.account_id != owner.id:
            raise InvalidValue(
                f"The affinity group {group.name} is not of the account {owner.name}: name groups of the account that "
                "the machine belongs to"
            )
    wanted = list(dict.fromkeys(names or ()))
    if not wanted:
        return list({group.id: group for group in groups or ()}.values())
    rows = select(AffinityGroup).where(AffinityGroup.account_id == owner.id, AffinityGroup.removed.is_(None))
    found = {group.name: group for group in tx.scalars(rows.where(AffinityGroup.name.in_(wanted)))}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InvalidValue(f"Unable to find group by name {missing[0]} for account {owner.name}")
    return [found[name] for name in wanted]


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
    """The group goes; its machines stay, and run where they run."""
    group = tx.get_one(AffinityGroup, group_id, with_for_update=True)
    tx.execute(delete(AffinityMember).where(AffinityMember.group_id == group_id))
    if group.removed is None:
        group.removed = now()


def machines_of(session: Session, _: Caller, groups: list[int]) -> Mapping[int, Mapping[str, Any]]:
    """The field virtualmachineIds; absent for a group without machines."""
    rows = select(AffinityMember.group_id, Vm.uuid).join(Vm, Vm.id == AffinityMember.vm_id)
    rows = rows.where(AffinityMember.group_id.in_(groups), Vm.removed.is_(None)).order_by(Vm.id)
    found: dict[int, dict[str, Any]] = {}
    for group, uuid in session.execute(rows):
        found.setdefault(group, {"virtualmachineIds": []})["virtualmachineIds"].append(uuid)
    return found
