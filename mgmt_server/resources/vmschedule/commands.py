"""Schedules: machines that are started, stopped and rebooted again and again."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue, ParameterError
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm, VmSchedule
from mgmt_server.resources.checks import alone, assign, one_of
from mgmt_server.resources.snapshotpolicy.schedule import zone_of
from mgmt_server.resources.vm.release import only_users, spoken
from mgmt_server.resources.vmschedule import cron
from mgmt_server.resources.vmschedule.flows import ACTIONS, plan
from mgmt_server.resources.vmschedule.views import vm_schedule_view

MOST = 50  # schedules of one machine
SLACK = timedelta(minutes=1)  # by which a caller's clock may be behind


@command("createVMSchedule", roles=EVERYONE, answers=vm_schedule_view, event="VM.SCHEDULE.CREATE")
def create(
    ctx: Context,
    virtualmachineid: Operate[Vm],
    action: str,
    schedule: str,
    timezone: str,
    description: str | None = None,
    startdate: datetime | None = None,
    enddate: datetime | None = None,
    enabled: bool = True,
) -> VmSchedule:
    """Have something done with a machine again and again. What it is already is left as it is.

    virtualmachineid: the machine
    action: START, STOP, REBOOT, FORCE_STOP or FORCE_REBOOT
    schedule: when, as in a crontab: minute, hour, day of the month, month and day of the week, which all have to fit
    timezone: where the schedule's clock is, such as GMT or Europe/Zurich
    description: what people read; action and schedule by default
    startdate: from when on; from now on by default
    enddate: until when
    enabled: whether anything is done
    """
    vm, tx = virtualmachineid, ctx.session
    only_users(vm)
    if vm.state in ("Destroyed", "Expunging", "Error"):
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: nothing is done with it any more")
    kind = one_of("action", action, tuple(ACTIONS)) or ""
    line = " ".join(schedule.split())
    cron.parsed(line)
    zone_of(timezone)
    starts = startdate or now()
    if starts < now() - SLACK:
        raise InvalidValue(f"startdate={startdate} is in the past: leave it out to begin now")
    if enddate is not None and enddate <= starts:
        raise InvalidValue("enddate is not after startdate and now: choose a later one")
    alone(ctx, vm)
    mine = select(VmSchedule).where(VmSchedule.vm_id == vm.id, VmSchedule.removed.is_(None))
    if (tx.scalar(select(func.count()).select_from(mine.subquery())) or 0) >= MOST:
        raise InvalidValue(f"{spoken(vm)} has {MOST} schedules, and that is as many as one machine has")
    same = mine.where(VmSchedule.schedule == line, VmSchedule.timezone == timezone.strip(), VmSchedule.action == kind)
    if tx.scalar(same.limit(1)) is not None:
        raise InvalidValue(f"{spoken(vm)} has this schedule already: change that one with updateVMSchedule")
    made = VmSchedule(
        vm_id=vm.id,
        action=kind,
        schedule=line,
        timezone=timezone.strip(),
        description=description or f"{kind} at {line} {timezone.strip()}",
        enabled=enabled,
        starts=starts,
        ends=enddate,
    )
    plan(made, now())
    tx.add(made)
    tx.flush()
    ctx.describe(f"scheduling {kind} of {spoken(vm)}")
    return made


@command("listVMSchedule", roles=EVERYONE, answers=vm_schedule_view)
def list_schedules(
    ctx: Context,
    virtualmachineid: Use[Vm],
    id: Use[VmSchedule] | None = None,
    action: str | None = None,
    enabled: bool | None = None,
) -> Rows:
    """List the schedules of a machine.

    virtualmachineid: the machine
    id: this one alone
    action: those that do this
    enabled: those that are enabled, or are not
    """
    kind = one_of("action", action, tuple(ACTIONS))
    return Rows(vm_schedule_view).where(vm_id=virtualmachineid, id=id and id.id, action=kind, enabled=enabled)


@command("updateVMSchedule", roles=EVERYONE, answers=vm_schedule_view, event="VM.SCHEDULE.UPDATE")
def update(
    ctx: Context,
    id: Operate[VmSchedule],
    schedule: str | None = None,
    timezone: str | None = None,
    description: str | None = None,
    startdate: datetime | None = None,
    enddate: datetime | None = None,
    enabled: bool | None = None,
) -> VmSchedule:
    """Change when something is done with a machine.

    id: the schedule
    schedule: when, as in a crontab
    timezone: where the schedule's clock is
    description: what people read
    startdate: from when on
    enddate: until when
    enabled: whether anything is done
    """
    if schedule is not None:
        id.schedule = " ".join(schedule.split())
        cron.parsed(id.schedule)
    if timezone is not None:
        zone_of(timezone)
        id.timezone = timezone.strip()
    if startdate is not None and startdate < now() - SLACK:
        raise InvalidValue(f"startdate={startdate} is in the past: leave it out")
    assign(id, {"description": description, "starts": startdate, "ends": enddate, "enabled": enabled})
    if id.ends is not None and id.ends <= id.starts:
        raise InvalidValue("enddate is not after startdate: choose a later one")
    plan(id, now())
    ctx.session.flush()
    ctx.describe(f"changing the schedule {id.uuid}")
    return id


@command("deleteVMSchedule", roles=EVERYONE, event="VM.SCHEDULE.DELETE")
def delete(
    ctx: Context,
    virtualmachineid: Operate[Vm],
    id: Operate[VmSchedule] | None = None,
    ids: list[Operate[VmSchedule]] | None = None,
) -> None:
    """Delete schedules of a machine.

    virtualmachineid: the machine
    id: this one
    ids: these
    """
    found = {s.id: s for s in [*([id] if id is not None else []), *(ids or [])]}
    if not found:
        raise ParameterError("Say which schedules: send id or ids")
    for schedule in found.values():
        if schedule.vm_id != virtualmachineid.id:
            raise InvalidValue(f"The schedule {schedule.uuid} is another machine's: see listVMSchedule")
        schedule.removed, schedule.next_run = now(), None
    ctx.session.flush()
    ctx.describe(f"deleting {len(found)} schedules of {spoken(virtualmachineid)}")
