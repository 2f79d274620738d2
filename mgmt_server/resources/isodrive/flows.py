"""Discs come into machines' drives, and go."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, instance_name
from mgmt_server.resources.isodrive.drive import source_of
from mgmt_server.resources.storage import rows as storage

NOTHING_IN = "The specified instance has no ISO attached to it."


@dataclass(frozen=True)
class Change:
    """What the host of a running machine is told."""

    host: HostRef
    name: str
    iso: str  # URL; empty: nothing is in the drive


def change(job: Job, vm_id: int, iso_id: int | None, forced: bool) -> None:
    """Put an ISO into a machine's drive, or take it out (None). A machine that is stopped finds it at its start."""
    told = job.write(begin, vm_id, iso_id, forced)
    if told is not None:
        job.call(dispatch.change_iso, told.host, told.name, told.iso)
    job.write(changed, vm_id, iso_id)


def begin(tx: Session, vm_id: int, iso_id: int | None, forced: bool) -> Change | None:
    """What the host has to be told, None where the machine does not run."""
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is not None or vm.state not in ("Running", "Stopped"):
        raise InvalidValue(f"The machine is {vm.state}: its drive can be used while it runs or is stopped")
    if iso_id is None and vm.iso_id is None:
        raise InvalidValue(NOTHING_IN)
    new = source_of(tx, check(tx, vm, iso_id, forced), vm.zone_id) if iso_id is not None else ""
    if vm.state != "Running" or vm.host_id is None:
        return None
    host = tx.get_one(Host, vm.host_id)
    return Change(storage.ref(host), instance_name(vm.kind, vm.account_id, vm.id), new)


def check(tx: Session, vm: Vm, iso_id: int, forced: bool) -> int:
    """Refuse an ISO that is gone, or a second one in a drive."""
    iso = tx.get_one(Template, iso_id)
    if iso.removed is not None:
        raise InvalidValue(f"The ISO {iso.name} was deleted meanwhile")
    if vm.iso_id not in (None, iso_id) and not forced:
        there = tx.get_one(Template, vm.iso_id)
        raise InvalidValue(f"{there.name} is in the drive: take it out with detachIso first, or send forced=true")
    return iso_id


def changed(tx: Session, vm_id: int, iso_id: int | None) -> None:
    tx.get_one(Vm, vm_id).iso_id = iso_id
