"""A machine that stands between two states with no job on it: where it really runs decides."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.vm import STATES, Vm, Volume
from mgmt_server.resources.ha import guests
from mgmt_server.resources.reconcile.telling import tell
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import elsewhere, flows, migrate, target
from mgmt_server.resources.vm import start as starting
from mgmt_server.resources.vm.start import Options
from mgmt_server.resources.volume.places import Place, gone

STUCK = ("Starting", "Stopping", "Migrating")


@dataclass(frozen=True)
class Asked:
    """The machine as its hosts call it, and those of them that may have it."""

    name: str
    hosts: tuple[HostRef, ...]


def repair(job: Job, vm_id: int, state: str) -> None:
    """Runs under the machine's lock: no other job is at it. Fails, to be tried again, while a host does not answer."""
    if state == "Expunging":
        if job.write(still, vm_id, state):
            flows.expunge(job, vm_id)
        return
    asked = job.write(about, vm_id, state)
    if asked is None:
        return
    found = job.call(find, asked)
    if state == "Starting" and not found:
        for place in job.write(begun_disks, vm_id):
            job.call(disks.delete_disk, place.host, place.disk)
    job.write(settle, vm_id, state, found)


def still(tx: Session, vm_id: int, state: str) -> bool:
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is not None or vm.state != state:
        return False
    tell(tx, vm, "VM.EXPUNGE", f"{vm.display_name or vm.name} was found {state} and nobody at it: it is expunged anew")
    return True


def about(tx: Session, vm_id: int, state: str) -> Asked | None:
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is not None or vm.state != state:
        return None
    numbers = [n for n in (vm.target_host_id, vm.host_id) if n is not None]
    hosts = [tx.get_one(Host, n) for n in numbers]
    there = tuple(storage.ref(h) for h in hosts if h.removed is None)
    return Asked(vm.instance, there)


def find(call: UUID, asked: Asked) -> str:
    """uuid of the host where it runs; empty: nowhere. One that says Running is believed whatever becomes of the other.

    The target comes first: once it runs there, what it came from does not run any more. Raises Unavailable while one
    cannot tell, or both have it and neither runs it: it is about to go over.
    """
    silent: Unavailable | None = None
    paused: list[str] = []
    for host in asked.hosts:
        try:
            state = elsewhere.state_on(host, asked.name)
        except Unavailable as error:
            silent = error
            continue
        if state == "Running":
            return host.uuid
        if state != "Stopped":
            paused.append(host.uuid)
    if silent is not None:
        raise silent
    if len(paused) > 1:
        raise Unavailable(f"{asked.name} is paused on both of its hosts: it may be about to go over")
    return next(iter(paused), "")


def begun_disks(tx: Session, vm_id: int) -> list[Place]:
    """Disks that its start may have made: they are made anew by the next one."""
    rows = select(Volume).where(Volume.vm_id == vm_id, Volume.state == "Creating", Volume.removed.is_(None))
    return [place for volume in tx.scalars(rows) if (place := gone(tx, volume)) is not None]


def settle(tx: Session, vm_id: int, state: str, found: str) -> None:
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is not None or vm.state != state:
        return
    target_host = tx.get(Host, vm.target_host_id) if vm.target_host_id is not None else None
    host = tx.get(Host, vm.host_id) if vm.host_id is not None else None
    name = vm.display_name or vm.name
    text = f"{name} was found {state} and nobody at it: it runs nowhere, and is Stopped"
    if target_host is not None and found == target_host.uuid:
        migrate.arrived_after_all(tx, vm_id)
        text = f"{name} was found {state} and nobody at it: it has arrived on {target_host.name}"
    elif host is not None and found == host.uuid:
        if state == "Migrating":
            target.let_go(tx, vm_id, unsure=True)
        if state == "Starting":
            vm.doubted = False
            tx.flush()
            starting.started(tx, vm_id)
        else:
            STATES.move(tx, vm_id, state, "Running", state_changed=now())
        text = f"{name} was found {state} and nobody at it: it runs on {host.name}, and is Running"
    elif state == "Migrating" and host is not None:
        guests.lay_down(tx, vm, host, "was lost while it moved to another host")
        return
    elif state == "Starting":
        starting.abandon(tx, vm_id, Options(), known=True)
    else:
        flows.stopped(tx, vm_id)
    tell(tx, vm, "VM.STOP" if "nowhere" in text else "VM.START", text)
