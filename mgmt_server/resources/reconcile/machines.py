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
from mgmt_server.protocol.machine import Move
from mgmt_server.resources.ha import guests
from mgmt_server.resources.reconcile.telling import tell
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import elsewhere, flows, migrate, target
from mgmt_server.resources.vm import start as starting
from mgmt_server.resources.vm.start import Options
from mgmt_server.resources.volume import settling
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
    trip = job.write(on_its_way, vm_id, found) if state == "Migrating" else None
    if trip is not None and job.call(came, trip, found):
        job.write(settle_stopped, vm_id)
        return
    if state == "Starting" and not found:
        for place in job.write(begun_disks, vm_id):
            job.call(disks.delete_disk, place.host, place.disk)
    job.write(settle, vm_id, state, found, trip is not None)


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


@dataclass(frozen=True)
class Trip:
    """A move with disks, of a machine that does not run where it was to go."""

    source: HostRef
    target: HostRef
    name: str
    move: Move


def on_its_way(tx: Session, vm_id: int, found: str) -> Trip | None:
    vm = tx.get_one(Vm, vm_id)
    moves = migrate.moving(tx, vm_id)
    source = tx.get(Host, vm.host_id) if vm.host_id is not None else None
    goal = tx.get(Host, vm.target_host_id) if vm.target_host_id is not None else None
    if vm.state != "Migrating" or not moves or source is None or source.removed is not None:
        return None
    if goal is None or goal.removed is not None or found == goal.uuid:
        return None
    return Trip(storage.ref(source), storage.ref(goal), vm.instance, moves[0])


def came(call: UUID, trip: Trip, found: str) -> bool:
    """Whether it has gone with its disks, and stopped there. Raises Unavailable while nobody can tell."""
    gone = settling.went(trip.source, trip.target, trip.name, trip.move)
    if gone is None or (gone and (found or elsewhere.runs(trip.target, trip.name))):
        raise Unavailable(f"Nobody can tell yet with which disks {trip.name} runs, or ran last")
    return gone


def settle_stopped(tx: Session, vm_id: int) -> None:
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is None and vm.state == "Migrating" and vm.target_host_id is not None:
        guests.stopped_there(tx, vm_id)


def begun_disks(tx: Session, vm_id: int) -> list[Place]:
    """Disks that its start may have made: they are made anew by the next one."""
    rows = select(Volume).where(Volume.vm_id == vm_id, Volume.state == "Creating", Volume.removed.is_(None))
    return [place for volume in tx.scalars(rows) if (place := gone(tx, volume)) is not None]


def settle(tx: Session, vm_id: int, state: str, found: str, stays: bool) -> None:
    """`stays`: its hosts know that it has not gone to where it was to go with its disks."""
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
        if stays:
            target.let_go(tx, vm_id, unsure=True)
        guests.lay_down(tx, vm, host, "was lost while it moved to another host")
        return
    elif state == "Starting":
        starting.abandon(tx, vm_id, Options(), known=True)
    else:
        flows.stopped(tx, vm_id)
    tell(tx, vm, "VM.STOP" if "nowhere" in text else "VM.START", text)
