"""A machine that runs on another host than it should: moved behind the server's back, or twice."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID, uuid5

from sqlalchemy import update
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.jobs import Job, enqueue
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.resources.alert.telling import tell
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm.telling import note

HANDING_OVER, PAUSE = 5.0, 0.2  # seconds


@dataclass(frozen=True)
class Both:
    """Where the machine should run, where it was seen, and what both call it."""

    home: HostRef
    seen: HostRef
    name: str
    home_is_up: bool
    stale: bool  # the host where it was seen was lost when the machine was started at home


def look(job: Job, vm_id: int, seen_id: int) -> None:
    """Ask both hosts. It is where it runs; of two, the copy of a host that came back after it was lost is ended."""
    both = job.write(about, vm_id, seen_id)
    if both is None:
        return
    runs = job.call(where, both)
    if runs == "seen":
        job.write(moved, vm_id, seen_id)
    elif runs == "both" and both.stale:
        job.call(end, both)
        job.write(ended, vm_id, seen_id)
    elif runs == "both":
        job.write(twice, vm_id, seen_id)


def about(tx: Session, vm_id: int, seen_id: int) -> Both | None:
    vm, seen = tx.get_one(Vm, vm_id), tx.get_one(Host, seen_id)
    if vm.removed is not None or vm.state != "Running" or vm.host_id in (None, seen_id):
        return None
    home = tx.get_one(Host, vm.host_id)
    stale = vm.last_host_id == seen_id  # it was laid down there, and started at home since
    name = vm.instance
    return Both(storage.ref(home), storage.ref(seen), name, home.state == "Up", stale)


def where(call: UUID, both: Both) -> str:
    """seen, home, both, or nothing. Raises Unavailable when a host cannot tell: then nothing is done."""
    until = time.monotonic() + HANDING_OVER
    while (found := _where(both)) is None and time.monotonic() < until:
        time.sleep(PAUSE)
    return found or ""


def _where(both: Both) -> str | None:
    """None while both have it and it does not run at home: somebody hands it over in this moment.

    The host where it was seen is asked first: once it runs there, what it came from does not run any more.
    """
    at_seen = state_on(both.seen, both.name)
    at_home = state_on(both.home, both.name)
    if at_home == "Running":
        return "both" if at_seen == "Running" else "home"
    if at_home != "Stopped":
        return None if at_seen != "Stopped" else "home"
    return "seen" if at_seen != "Stopped" else ""


def state_on(host: HostRef, name: str) -> str:
    """What a host says of a machine; Stopped of one that it does not have. Raises Unavailable when it cannot tell."""
    return next((m.state for m in dispatch.machines(host) if m.name == name), "Stopped")


def runs(host: HostRef, name: str) -> bool:
    """Whether a host has a machine that is not off. Raises Unavailable when it cannot tell."""
    return state_on(host, name) != "Stopped"


def moved(tx: Session, vm_id: int, seen_id: int) -> None:
    """It was moved by somebody else: its capacity goes with it, even where that is too much."""
    vm, seen = tx.get_one(Vm, vm_id), tx.get_one(Host, seen_id)
    if vm.state != "Running" or vm.host_id in (None, seen_id):
        return
    home = tx.get_one(Host, vm.host_id)
    for host, sign in ((home, -1), (seen, 1)):
        changes = {
            "cpu_used": Host.cpu_used + sign * vm.cpus * vm.speed,
            "memory_used": Host.memory_used + sign * vm.memory * 2**20,
            "machines": Host.machines + sign,
        }
        mine = update(Host).where(Host.id == host.id).values(changes)
        tx.execute(mine.execution_options(synchronize_session=False))
    vm.host_id, vm.last_host_id, vm.pod_id, vm.state_changed = seen.id, home.id, seen.pod_id, now()
    note(tx, vm, "VM.MIGRATE", f"{vm.display_name or vm.name} was moved from {home.name} to {seen.name} by nobody here")


def end(call: UUID, both: Both) -> None:
    """Take away the copy that a host still had when it came back."""
    dispatch.stop(call, both.seen, both.name, True)
    dispatch.forget(uuid5(call, "forget"), both.seen, both.name)


def ended(tx: Session, vm_id: int, seen_id: int) -> None:
    vm, seen = tx.get_one(Vm, vm_id), tx.get_one(Host, seen_id)
    text = f"{vm.display_name or vm.name} still ran on {seen.name} when that came back: the copy there was ended"
    note(tx, vm, "VM.STOP", text)
    _alert(tx, seen, text, "Have a look at what is on its disks: both copies may have written to them.")


def twice(tx: Session, vm_id: int, seen_id: int) -> None:
    vm, seen = tx.get_one(Vm, vm_id), tx.get_one(Host, seen_id)
    home = tx.get_one(Host, vm.host_id)
    text = f"{vm.display_name or vm.name} runs on {home.name} and on {seen.name} at the same time"
    note(tx, vm, "VM.START", text)
    _alert(tx, seen, text, f"Stop the one on {seen.name} by hand: nobody here knows which of the two is right.")


def take_away(tx: Session, vm: Vm, host: Host, name: str) -> None:
    """A host has a machine that does not run: have it forgotten where it runs elsewhere, has another name by now, or is
    expunged.

    That is left where a host died and came back, a machine was started on another one than before, or a host could not
    be told that a machine went to another account.
    """
    if _left(vm, host, name):
        enqueue(tx, tidy, (vm.id, host.id, name), lock=f"vm:{vm.id}", instance=instance_of(vm))


def instance_of(vm: Vm) -> tuple[str, str]:
    """What a job on the machine is told to be about."""
    return "VirtualMachine" if vm.kind == "User" else "DomainRouter", vm.uuid


def _left(vm: Vm, host: Host, name: str) -> bool:
    if vm.removed is not None:
        return vm.state == "Expunging"  # others were let go, and are their owners'
    return name != vm.instance or (vm.state == "Running" and vm.host_id not in (None, host.id))


def tidy(job: Job, vm_id: int, seen_id: int, name: str) -> None:
    left = job.write(_left_where, vm_id, seen_id, name)
    if left is not None:
        job.call(forget, left, name)


def _left_where(tx: Session, vm_id: int, seen_id: int, name: str) -> HostRef | None:
    vm, seen = tx.get_one(Vm, vm_id), tx.get_one(Host, seen_id)
    return storage.ref(seen) if _left(vm, seen, name) and seen.state == "Up" else None


def forget(call: UUID, host: HostRef, name: str) -> None:
    if any(m.name == name and m.state == "Stopped" for m in dispatch.machines(host)):
        dispatch.forget(call, host, name)


def _alert(tx: Session, host: Host, subject: str, content: str) -> None:
    where = {"zone_id": host.zone_id, "pod_id": host.pod_id, "cluster_id": host.cluster_id}
    tell(tx, "ALERT.USERVM", subject, content, **where)
