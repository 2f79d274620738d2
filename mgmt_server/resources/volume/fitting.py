"""Which disks fit which machines, and where."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.allocation.hypervisors import limits_of
from mgmt_server.errors import InvalidValue
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vmsnapshot.rows import refuse_with_remains, refuse_with_snapshots
from mgmt_server.resources.volume.locks import check_state

ATTACHABLE = ("Allocated", "Ready", "Uploaded")
DRIVE = 3  # of the CD-ROM
MOST_DEVICES = 32


def check_attachable(tx: Session, volume: Volume) -> None:
    """Raises InvalidValue for a disk that cannot be attached."""
    if volume.vm_id is not None:
        vm = tx.get_one(Vm, volume.vm_id)
        raise InvalidValue(f"The disk {volume.name} is attached to {spoken(vm)}: detach it first")
    check_state(volume, ATTACHABLE, "it cannot be attached")


def check_machine(tx: Session, volume: Volume, vm: Vm, device: int | None = None) -> None:
    """Raises InvalidValue for a machine to which the disk cannot be attached."""
    if vm.kind != "User":
        raise InvalidValue(f"{vm.name} is a system VM: disks are attached to machines of users")
    if vm.account_id != volume.account_id:
        raise InvalidValue(f"The disk {volume.name} and {spoken(vm)} belong to different accounts: see assignVolume")
    if vm.zone_id != volume.zone_id:
        raise InvalidValue(f"The disk {volume.name} and {spoken(vm)} are in different zones")
    if vm.state not in ("Running", "Stopped"):
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: disks are attached to a running or a stopped machine")
    refuse_with_snapshots(tx, vm.id, "a disk cannot be attached")
    count = select(func.count()).where(Volume.vm_id == vm.id, Volume.removed.is_(None), Volume.kind == "DATADISK")
    most = limits_of(vm.hypervisor).data_disks
    if device != 0 and (tx.scalar(count) or 0) >= most:
        raise InvalidValue(f"{spoken(vm)} has {most} data disks, as many as {vm.hypervisor} bears: detach one first")
    free_device(tx, volume, vm, device)


def free_device(tx: Session, volume: Volume, vm: Vm, device: int | None) -> int:
    """The place that a disk gets. Raises InvalidValue for one that it cannot have."""
    rows = select(Volume.slot).where(Volume.vm_id == vm.id, Volume.slot.is_not(None), Volume.removed.is_(None))
    taken = set(tx.scalars(rows))
    if device is None:
        return next(n for n in range(1, MOST_DEVICES) if n not in taken and n != DRIVE)
    if device == 0 and (vm.state != "Stopped" or 0 in taken):
        raise InvalidValue("deviceid=0 is the root disk's: only a stopped machine without one takes a disk there")
    if device in taken or device == DRIVE or not 0 <= device < MOST_DEVICES:
        why = "is the drive's" if device == DRIVE else "is taken" if device in taken else "is out of range"
        raise InvalidValue(f"deviceid={device} {why} at {spoken(vm)}: leave it out for the next free one")
    return device


def check_detachable(tx: Session, volume: Volume, vm: Vm) -> None:
    """Raises InvalidValue for a disk that cannot be detached."""
    if vm.kind != "User":
        raise InvalidValue(f"{vm.name} is a system VM: its disks stay with it")
    if vm.state not in ("Running", "Stopped", "Destroyed"):
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: disks are detached from a running or a stopped machine")
    if volume.kind == "ROOT" and vm.state == "Running":
        raise InvalidValue(f"The disk {volume.name} is the root disk of a running machine: stop that first")
    check_state(volume, ("Allocated", "Ready"), "it cannot be detached")
    refuse_with_remains(tx, vm.id, "a disk cannot be detached")
