"""Schedules as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.vm import Vm, VmSchedule

vm_schedule_view = View(
    "vmschedule",
    VmSchedule,
    response="VMScheduleResponse",
    keyword=(VmSchedule.description,),
    joins=((Vm, Vm.id == VmSchedule.vm_id),),
    id=VmSchedule.uuid,
    virtualmachineid=Vm.uuid,
    action=VmSchedule.action,
    schedule=VmSchedule.schedule,
    timezone=VmSchedule.timezone,
    description=VmSchedule.description,
    enabled=VmSchedule.enabled,
    startdate=VmSchedule.starts,
    enddate=VmSchedule.ends,
    created=VmSchedule.created,
)
