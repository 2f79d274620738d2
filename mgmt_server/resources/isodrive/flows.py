"""Discs come into machines' drives, and go."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.isodrive.drive import Disc, disc_of, source_of
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template import pooled

NOTHING_IN = "The specified instance has no ISO attached to it."


@dataclass(frozen=True)
class Change:
    """What the host of a running machine is told."""

    host: HostRef
    name: str
    disc: Disc  # an empty one: nothing is in the drive


def change(job: Job, vm_id: int, iso_id: int | None, forced: bool) -> None:
    """Put an ISO into a machine's drive, or take it out (None). A machine that is stopped finds it at its start."""
    told = job.write(begin, vm_id, iso_id, forced)
    if told is not None:
        iso = pooled.bring(job, told.host, told.disc.fetch) if told.disc.fetch is not None else told.disc.iso
        job.call(dispatch.change_iso, told.host, told.name, iso, told.disc.pool)
    job.write(changed, vm_id, iso_id)


def begin(tx: Session, vm_id: int, iso_id: int | None, forced: bool) -> Change | None:
    """What the host has to be told, None where the machine does not run."""
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is not None or vm.state not in ("Running", "Stopped"):
        raise InvalidValue(f"The machine is {vm.state}: its drive can be used while it runs or is stopped")
    if iso_id is None and vm.iso_id is None:
        raise InvalidValue(NOTHING_IN)
    if iso_id is not None:
        check(tx, vm, iso_id, forced)
    if vm.state != "Running" or vm.host_id is None:
        if iso_id is not None:
            source_of(tx, iso_id, vm.zone_id)
        return None
    root = select(Pool).join(Volume, Volume.pool_id == Pool.id).where(Volume.vm_id == vm.id, Volume.slot == 0)
    disc = disc_of(tx, iso_id, tx.scalars(root).one())
    return Change(storage.ref(tx.get_one(Host, vm.host_id)), vm.instance, disc)


def check(tx: Session, vm: Vm, iso_id: int, forced: bool) -> None:
    """Refuse an ISO that is gone, or a second one in a drive."""
    iso = tx.get_one(Template, iso_id)
    if iso.removed is not None:
        raise InvalidValue(f"The ISO {iso.name} was deleted meanwhile")
    if vm.iso_id not in (None, iso_id) and not forced:
        there = tx.get_one(Template, vm.iso_id)
        raise InvalidValue(f"{there.name} is in the drive: take it out with detachIso first, or send forced=true")


def changed(tx: Session, vm_id: int, iso_id: int | None) -> None:
    tx.get_one(Vm, vm_id).iso_id = iso_id
