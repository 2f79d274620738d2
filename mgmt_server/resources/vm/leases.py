"""Leases: machines that are stopped or destroyed when their time is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Asker, enqueue
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Vm
from mgmt_server.resources.alert.telling import Condition, lasts, over
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.vm import flows
from mgmt_server.resources.vm.telling import note

ENABLED = Setting("instance.lease.enabled", "Whether machines may have a lease, and what happens at its end")
WARNING = Setting("instance.lease.expiryevent.daysbefore", "Days before its end at which a lease is told of", least=0)
STOP, DESTROY = "STOP", "DESTROY"
LONGEST = 36_500  # days
GONE = ("Destroyed", "Expunging", "Error")
AT_ONCE = 200  # machines whose lease one round ends


@dataclass(frozen=True)
class Lease:
    days: int
    action: str  # STOP, DESTROY

    def columns(self) -> dict[str, Any]:
        """From now on."""
        expires = now() + timedelta(days=self.days)
        return {"lease_days": self.days, "lease_action": self.action, "lease_expires": expires}


def given(days: int | None, action: str | None) -> Lease | None:
    """The lease of leaseduration and leaseexpiryaction; None where neither was sent. Raises InvalidValue."""
    if days is None and action is None:
        return None
    if not ENABLED.flag():
        raise InvalidValue(f"There are no leases here: leave leaseduration out, or switch {ENABLED.name} on")
    kind = one_of("leaseexpiryaction", action, (STOP, DESTROY))
    if days is None or kind is None:
        raise InvalidValue("leaseduration and leaseexpiryaction go together: send both")
    if not 1 <= days <= LONGEST:
        raise InvalidValue(f"leaseduration={days} is out of range: choose 1 to {LONGEST} days")
    return Lease(days, kind)


def first(days: int | None, action: str | None, offered: Mapping[str, Any]) -> Lease | None:
    """A new machine's lease: what was sent, or else what its offering's details say. -1 wants none."""
    if days == -1 and action is None:
        return None
    own = given(days, action)
    if own is not None or not ENABLED.flag():
        return own
    length, kind = str(offered.get("leaseduration", "")), str(offered.get("leaseexpiryaction", ""))
    if not length.isdecimal() or not 1 <= int(length) <= LONGEST or kind not in (STOP, DESTROY):
        return None
    return Lease(int(length), kind)


def change(tx: Session, vm: Vm, days: int | None, action: str | None) -> None:
    """Another length or end of a lease that has not ended, counted from now; -1 ends it without doing anything."""
    if days is None and action is None:
        return
    ending = days == -1 and action is None
    wanted = None if ending else given(days, action)
    if not ENABLED.flag() or vm.lease_expires is None:
        raise InvalidValue(
            f"The machine {vm.display_name} has no lease that could be changed: one is given when a machine is deployed"
        )
    if wanted is not None:
        for column, value in wanted.columns().items():
            setattr(vm, column, value)
    else:
        _end(tx, vm)
        note(tx, vm, "VM.LEASE.CANCELLED", f"the lease of {vm.display_name} was cancelled", "INFO")


def expired(tx: Session) -> list[int]:
    """Machines whose lease is over and whose end can come."""
    ended = _leased().where(Vm.lease_expires <= now(), (Vm.lease_action == STOP) | ~Vm.delete_protection)
    return [vm.id for vm in tx.scalars(ended.order_by(Vm.lease_expires).limit(AT_ONCE))]


def expire(tx: Session, vm_id: int) -> None:
    """Do what a lease's end asks for, once."""
    vm = tx.scalars(select(Vm).where(Vm.id == vm_id).with_for_update()).one()
    action = vm.lease_action
    if action is None or vm.lease_expires is None or vm.lease_expires > now():
        return  # another node was quicker, or its owner made it longer
    if action == DESTROY and vm.delete_protection:
        return
    _end(tx, vm)
    if vm.removed is not None or vm.state in GONE or (action == STOP and vm.state == "Stopped"):
        return
    text = f"{'destroying' if action == DESTROY else 'stopping'} machine {vm.display_name}: its lease has expired"
    note(tx, vm, "VM.LEASE.EXPIRED", text, "INFO")
    event = {"type": f"VM.{action}", "description": text, "start": None}
    asker = Asker(account_id=vm.account_id, domain_id=vm.domain_id, user_id=SYSTEM_USER, event=event)
    flow, argument = (flows.destroy, False) if action == DESTROY else (flows.stop, True)
    instance = ("VirtualMachine", vm.uuid)
    enqueue(tx, flow, (vm.id, argument), lock=f"vm:{vm.id}", instance=instance, asker=asker)


def protected(tx: Session) -> None:
    """Tell of the machines whose lease is over and that nobody may destroy; once of each."""
    rows = _leased().where(Vm.lease_expires <= now(), Vm.lease_action == DESTROY, Vm.delete_protection)
    for vm in tx.scalars(rows):
        text = f"the lease of {vm.display_name} is over, and the machine is protected from being destroyed"
        remedy = "Switch its deleteprotection off, or cancel the lease: updateVirtualMachine leaseduration=-1."
        if lasts(tx, _condition(vm), Condition("ALERT.USERVM", text, remedy, vm.zone_id, vm.pod_id)):
            note(tx, vm, "VM.LEASE.EXPIRED", text)


def warn(tx: Session) -> None:
    """Tell of the leases that end soon."""
    soon = now() + timedelta(days=WARNING.number())
    for vm in tx.scalars(_leased().where(Vm.lease_expires > now(), Vm.lease_expires <= soon)):
        moment: datetime = vm.lease_expires  # type: ignore[assignment]
        what = "destroyed" if vm.lease_action == DESTROY else "stopped"
        text = f"the lease of {vm.display_name} ends on {moment:%Y-%m-%d at %H:%M} UTC: it is {what} then"
        note(tx, vm, "VM.LEASE.EXPIRING", text)


def disable(tx: Session) -> None:
    """Without leases those that there are end, and nothing is done to their machines."""
    for vm in list(tx.scalars(_leased())):
        note(tx, vm, "VM.LEASE.DISABLED", f"the lease of {vm.display_name} ended: {ENABLED.name} is off", "INFO")
        _end(tx, vm)


def _end(tx: Session, vm: Vm) -> None:
    vm.lease_days = vm.lease_action = vm.lease_expires = None
    over(tx, _condition(vm))


def _condition(vm: Vm) -> str:
    return f"lease:{vm.id}"


def _leased() -> Any:
    return select(Vm).where(Vm.lease_expires.is_not(None), Vm.removed.is_(None), Vm.state.not_in(GONE))
