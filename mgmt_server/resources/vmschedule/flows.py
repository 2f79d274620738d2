"""When schedules are due, and what is done then."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.projects import check_active
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Asker, enqueue
from mgmt_server.model.account import SYSTEM_USER, Account
from mgmt_server.model.vm import Vm, VmSchedule
from mgmt_server.resources.snapshotpolicy.schedule import zone_of
from mgmt_server.resources.vm import flows, restore
from mgmt_server.resources.vm.networks import unready_of
from mgmt_server.resources.vm.placing import Options
from mgmt_server.resources.vm.telling import note
from mgmt_server.resources.vmschedule.cron import following, parsed

log = logging.getLogger("cloudwright.vm")
# action -> what a machine has to be for it, and what is said of it
ACTIONS = {
    "START": ("Stopped", "starting"),
    "STOP": ("Running", "stopping"),
    "REBOOT": ("Running", "rebooting"),
    "FORCE_STOP": ("Running", "stopping with force"),
    "FORCE_REBOOT": ("Running", "rebooting with force"),
}
LATE = timedelta(hours=1)  # what was missed for longer, while no server ran, is left out


def plan(schedule: VmSchedule, after: datetime) -> None:
    """Its next moment: none while it is not enabled, and none beyond its end, where it is switched off."""
    moment = following(parsed(schedule.schedule), zone_of(schedule.timezone), max(after, schedule.starts))
    if schedule.enabled and moment is not None and schedule.ends is not None and moment > schedule.ends:
        schedule.enabled = False
    schedule.next_run = moment if schedule.enabled else None


def run(tx: Session, schedule_id: int) -> None:
    """Do what is due, once however often it was missed."""
    schedule = tx.scalars(select(VmSchedule).where(VmSchedule.id == schedule_id).with_for_update()).one()
    due = schedule.next_run
    if schedule.removed is not None or due is None or due > now():
        return  # another node was quicker
    vm = tx.get_one(Vm, schedule.vm_id)
    if vm.removed is not None:
        schedule.removed, schedule.next_run = now(), None
        return
    plan(schedule, now())
    if due < now() - LATE:
        raise InvalidValue(f"it was due on {due:%Y-%m-%d at %H:%M} UTC, which is too long ago")
    wanted, word = ACTIONS[schedule.action]
    if vm.state != wanted:
        log.info("schedule %s: %s is %s, nothing to do", schedule.uuid, vm.display_name, vm.state)
        return
    if tx.get_one(Account, vm.account_id).state != "enabled":
        raise InvalidValue("the machine's account is not enabled")
    check_active(tx, vm)
    text = f"{word} machine {vm.display_name} as scheduled"
    note(tx, vm, _event(schedule), text, "INFO")
    kind = schedule.action.removeprefix("FORCE_")
    event = {"type": f"VM.{kind}", "description": text, "start": None}
    asker = Asker(account_id=vm.account_id, domain_id=vm.domain_id, user_id=SYSTEM_USER, event=event)
    flow, arguments = _work(tx, vm, schedule.action)
    instance = ("VirtualMachine", vm.uuid)
    enqueue(tx, flow, (vm.id, *arguments), lock=f"vm:{vm.id}", instance=instance, asker=asker)  # type: ignore[arg-type]


def _work(tx: Session, vm: Vm, action: str) -> tuple[object, tuple[object, ...]]:
    forced = action.startswith("FORCE_")
    if action == "START":
        return flows.start, (Options(), unready_of(tx, vm), [])
    if action.endswith("STOP"):
        return flows.stop, (forced,)
    return restore.rebooting(tx, vm, forced)


def miss(tx: Session, schedule_id: int, reason: str) -> None:
    """Tell why something that was due was not done, and plan the next time."""
    schedule = tx.get_one(VmSchedule, schedule_id)
    vm = tx.get_one(Vm, schedule.vm_id)
    plan(schedule, now())
    text = f"{ACTIONS[schedule.action][1]} machine {vm.display_name} was left out: {reason}"
    note(tx, vm, _event(schedule), text[:1000], "ERROR")


def _event(schedule: VmSchedule) -> str:
    return f"VM.SCHEDULE.{schedule.action.replace('_', '.')}"
