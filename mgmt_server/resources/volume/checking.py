"""Looking whether a disk's file is sound, and putting right what is not."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.db import now
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted, Job
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.volume.locks import check_state, check_user_disk, lock_of, same_place
from mgmt_server.resources.volume.places import Place, place_of
from mgmt_server.resources.volume.views import volume_view


@command("checkVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.CHECK")
def check_volume(ctx: Context, id: Operate[Volume], repair: str | None = None) -> Accepted:
    """Look whether the file of a disk is sound. Its machine has to be stopped.

    id: the disk
    repair: leaks to give back space that nothing uses, all to put right whatever can be; nothing by default
    """
    kind = one_of("repair", repair, ("leaks", "all")) or ""
    check_user_disk(ctx.session, id)
    check_idle(ctx.session, id)
    ctx.describe(f"checking disk {id.name}")
    return ctx.start(check, id, id.vm_id, kind, lock=lock_of(id))


def check_idle(tx: Session, volume: Volume) -> None:
    """Raises InvalidValue for a disk that a machine may be writing to, or that is on no pool."""
    check_state(volume, ("Ready",), "there is nothing to check of it")
    vm = tx.get(Vm, volume.vm_id) if volume.vm_id is not None else None
    if vm is not None and vm.state not in ("Stopped", "Destroyed", "Error"):
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: its disks can be checked once it is stopped")


def check(job: Job, volume_id: int, vm_id: int | None, repair: str) -> None:
    place = job.write(begin, volume_id, vm_id, repair, undo=over)
    found = job.call(disks.check_disk, place.host, place.disk, "")
    mended = job.call(disks.check_disk, place.host, place.disk, repair) if repair else {}
    job.write(over, volume_id, vm_id, repair)
    job.answer(volumecheckresult=found, **({"volumerepairresult": mended} if mended else {}))


def begin(tx: Session, volume_id: int, vm_id: int | None, repair: str) -> Place:
    """Ready -> Snapshotting, which keeps machines from it meanwhile."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    same_place(volume, vm_id)
    check_idle(tx, volume)
    place = place_of(tx, volume)
    VOLUME_STATES.move(tx, volume_id, "Ready", "Snapshotting", state_changed=now())
    return place


def over(tx: Session, volume_id: int, vm_id: int | None, repair: str) -> None:
    """Also the undo of `begin`."""
    if tx.get_one(Volume, volume_id).state == "Snapshotting":
        VOLUME_STATES.move(tx, volume_id, "Snapshotting", "Ready", state_changed=now())
