"""Giving disks to machines, and taking them away."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.api.projects import check_active
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.volume import attach
from mgmt_server.resources.volume.fitting import check_attachable, check_detachable, check_machine
from mgmt_server.resources.volume.views import volume_view


@command("attachVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.ATTACH")
def attach_volume(
    ctx: Context, id: Operate[Volume], virtualmachineid: Operate[Vm], deviceid: int | None = None
) -> Accepted:
    """Attach a disk to a machine, which may run.

    id: the disk
    virtualmachineid: the machine
    deviceid: its place there: 1, 2, 4 and so on; the next free one by default. 0 is the root disk's
    """
    check_active(ctx.session, virtualmachineid)
    check_attachable(ctx.session, id)
    check_machine(ctx.session, id, virtualmachineid, deviceid)
    ctx.describe(f"attaching disk {id.name} to {spoken(virtualmachineid)}")
    lock = f"vm:{virtualmachineid.id}"
    return ctx.start(attach.attach, id, virtualmachineid.id, deviceid, lock=lock)


@command("detachVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.DETACH")
def detach_volume(
    ctx: Context,
    id: Operate[Volume] | None = None,
    virtualmachineid: Operate[Vm] | None = None,
    deviceid: int | None = None,
) -> Accepted:
    """Detach a disk from its machine, which may run; a root disk only from one that is stopped.

    id: the disk
    virtualmachineid: the machine, with deviceid instead of id
    deviceid: the disk's place there
    """
    volume = id
    if volume is None:
        if virtualmachineid is None or deviceid is None:
            raise InvalidValue("Say which disk is meant: by id, or by virtualmachineid and deviceid")
        there = select(Volume).where(Volume.vm_id == virtualmachineid.id, Volume.slot == deviceid)
        volume = ctx.session.scalar(there.where(Volume.removed.is_(None)))
        if volume is None:
            raise InvalidValue(f"{spoken(virtualmachineid)} has no disk at deviceid={deviceid}: see listVolumes")
    elif virtualmachineid is not None or deviceid is not None:
        raise InvalidValue("id goes without virtualmachineid and deviceid: send one or the others")
    if volume.vm_id is None:
        raise InvalidValue(f"The disk {volume.name} is attached to no machine")
    vm = ctx.session.get_one(Vm, volume.vm_id)
    check_detachable(ctx.session, volume, vm)
    ctx.describe(f"detaching disk {volume.name} from {spoken(vm)}")
    return ctx.start(attach.detach, volume, vm.id, lock=f"vm:{vm.id}")
