"""Emptying a host: its machines move elsewhere while they run, a few at a time, until none is left.

Who cancels changes the host's state, whatever is under way; the evacuation sees that before it sends the next ones.
What cannot move keeps the host in ErrorInMaintenance, and each such machine is told with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.errors import Failed, InUse
from mgmt_server.jobs import Job
from mgmt_server.jobs.flow import CHILDREN, Child
from mgmt_server.jobs.queue import name_of
from mgmt_server.jobs.rows import JobRow
from mgmt_server.model.host import RESOURCE_STATES, Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.vm import flows as vm_flows
from mgmt_server.resources.vm.migrate import Wish, migrate
from mgmt_server.resources.vm.release import spoken

ROUNDS = Setting("vm.ha.migration.max.retries", "How often a machine is tried to be moved off a host", least=1)
AT_ONCE = Setting("ha.workers", "How many machines leave a host at the same time", least=1, most=CHILDREN)
STORAGE = Setting(
    "enable.ha.storage.migration", "Whether machines that leave a host may take their disks to other pools"
)
LOCAL = Setting(
    "host.maintenance.local.storage.strategy",
    "What becomes of machines with disks on local storage of a host that goes into maintenance: Error keeps them and "
    "tells, Migration moves them with their disks, ForceStop stops them",
)
TOLD = "maintenance"  # in the host's details: how far it is, or what stays and why
MOVING = ("PrepareForMaintenance", "ErrorInPrepareForMaintenance")
THERE = ("Starting", "Running", "Stopping", "Migrating")


@dataclass(frozen=True)
class Left:
    """Machines that are still there, and how many of them leave at the same time."""

    machines: tuple[tuple[int, str, str], ...]  # number, kind, uuid
    at_once: int
    late: bool = False  # no more time is given


def into_maintenance(job: Job, host_id: int, patience: int = 0) -> None:
    """PrepareForMaintenance, then Maintenance; ErrorInMaintenance when something stays.

    `patience`: for so many seconds at most machines are sent away.
    """
    rounds = job.write(closing, host_id)
    until = job.write(deadline, patience) if patience else None
    total = len(job.write(left, host_id, 0, until).machines)
    for turn in range(rounds):
        found = job.write(left, host_id, total, until)
        if not found.machines or found.late:
            break
        failed = 0
        for start in range(0, len(found.machines), found.at_once):
            # raises when somebody has cancelled
            if start and job.write(left, host_id, total, until).late:
                break
            some = found.machines[start : start + found.at_once]
            failed += len(job.wait_all([Child(leave, (n, host_id), f"vm:{n}", (k, u)) for n, k, u in some]))
        if failed and turn + 1 < rounds:
            job.write(not_all, host_id)
    error, inventory = job.write(empty, host_id)
    if error:
        raise InUse(error, inventory=inventory)


def closing(tx: Session, host_id: int) -> int:
    """No more machines come to the host. How many rounds are tried."""
    host = tx.get_one(Host, host_id)
    again = ("ErrorInMaintenance", "ErrorInPrepareForMaintenance")
    if host.resource_state not in ("Enabled", "Disabled", *again):
        raise Failed(f"host {host.name} is in {host.resource_state} already")
    if host.state != "Up" and host.machines:
        raise Failed(
            f"host {host.name} is {host.state} with {host.machines} machine(s) on it, which cannot move: have it "
            "connected first; or call declareHostAsDegraded if it is off"
        )
    RESOURCE_STATES.move(tx, host_id, (host.resource_state,), "PrepareForMaintenance")
    return ROUNDS.number()


def deadline(tx: Session, seconds: int) -> datetime:
    return now() + timedelta(seconds=seconds)


def left(tx: Session, host_id: int, total: int, until: datetime | None = None) -> Left:
    """What is still there. Raises Failed when the maintenance has been cancelled."""
    host = tx.get_one(Host, host_id, with_for_update=True)
    if host.resource_state not in MOVING:
        raise Failed(f"the maintenance of host {host.name} was cancelled: what has moved stays where it is now")
    if host.resource_state == "ErrorInPrepareForMaintenance":
        RESOURCE_STATES.move(tx, host_id, (host.resource_state,), "PrepareForMaintenance")
    found = machines_of(tx, host_id)
    if total:
        _tell(host, f"{total - len(found)} of {total} machines have left")
    kind = {"User": "VirtualMachine"}
    machines = tuple((vm.id, kind.get(vm.kind, "SystemVm"), vm.uuid) for vm in found)
    at_once = min(AT_ONCE.number(Scope("Cluster", host.cluster_id)), CHILDREN)
    return Left(machines, at_once, until is not None and now() >= until)


def machines_of(tx: Session, host_id: int) -> list[Vm]:
    """Machines that run there, or are on their way from, to or up."""
    there = (Vm.host_id == host_id) | (Vm.target_host_id == host_id)
    rows = select(Vm).where(there, Vm.state.in_(THERE), Vm.removed.is_(None)).order_by(Vm.kind == "User", Vm.id)
    return list(tx.scalars(rows))


def _tell(host: Host, text: str) -> None:
    others = {k: v for k, v in host.details.items() if k != TOLD}
    host.details = others | ({TOLD: text[:1000]} if text else {})


def leave(job: Job, vm_id: int, host_id: int) -> None:
    """Have one machine leave the host. Runs under the machine's lock."""
    way = job.write(way_out, vm_id, host_id)
    if way == "stop":
        vm_flows.stop(job, vm_id, True)
    elif way:
        migrate(job, vm_id, Wish(with_storage=way == "storage"))


def way_out(tx: Session, vm_id: int, host_id: int) -> str:
    """move, storage (move with its disks), stop; nothing for one that is gone, or may stay since all was cancelled."""
    vm, host = tx.get_one(Vm, vm_id), tx.get_one(Host, host_id)
    if vm.removed is not None or vm.host_id != host_id or vm.state == "Stopped" or host.resource_state not in MOVING:
        return ""
    if vm.state != "Running":
        raise Failed(f"{spoken(vm)} is {vm.state}: it is left alone until that is over")
    disk = tx.scalar(
        select(Volume.name)
        .join(Pool, Pool.id == Volume.pool_id)
        .where(Volume.vm_id == vm_id, Volume.removed.is_(None), Pool.scope == "HOST")
        .limit(1)
    )
    if disk is None:
        return "storage" if STORAGE.flag() else "move"
    strategy = LOCAL.text()
    if strategy == "Error":
        raise Failed(
            f"the disk {disk} of {spoken(vm)} is on local storage of the host: stop it, or set {LOCAL.name} to "
            "Migration or ForceStop"
        )
    return "storage" if strategy == "Migration" else "stop"


def not_all(tx: Session, host_id: int) -> None:
    """Some could not move, and are tried again."""
    host = tx.get_one(Host, host_id)
    if host.resource_state == "PrepareForMaintenance" and machines_of(tx, host_id):
        RESOURCE_STATES.move(tx, host_id, ("PrepareForMaintenance",), "ErrorInPrepareForMaintenance")


def empty(tx: Session, host_id: int) -> tuple[str, str]:
    """Into Maintenance; or what stays and why, in words and with the hosts that refused it, and ErrorInMaintenance."""
    host = tx.get_one(Host, host_id, with_for_update=True)
    if host.resource_state not in MOVING:
        raise Failed(f"the maintenance of host {host.name} was cancelled: what has moved stays where it is now")
    stays = machines_of(tx, host_id)
    if not stays and not host.machines:
        if host.resource_state != "PrepareForMaintenance":
            RESOURCE_STATES.move(tx, host_id, (host.resource_state,), "PrepareForMaintenance")
        RESOURCE_STATES.move(tx, host_id, ("PrepareForMaintenance",), "Maintenance")
        _tell(host, "")
        return "", ""
    reasons = [(vm.display_name or vm.name, *_reason(tx, vm)) for vm in stays]
    begin = f"{len(stays) or host.machines} machine(s) are on host {host.name} and cannot move: "
    text = begin + "; ".join(f"{name}: {words}" for name, words, _ in reasons)
    _tell(host, text)
    RESOURCE_STATES.move(tx, host_id, (host.resource_state,), "ErrorInMaintenance")
    return text, begin + "; ".join(f"{name}: {names}" for name, _, names in reasons)


def _reason(tx: Session, vm: Vm) -> tuple[str, str]:
    """Why it stays: in words, and for those who may know hosts and pools."""
    mine = select(JobRow.error, JobRow.inventory).where(JobRow.lock == f"vm:{vm.id}", JobRow.flow == name_of(leave))
    said = tx.execute(mine.where(JobRow.state == "failed").order_by(JobRow.id.desc()).limit(1)).first()
    words = (said.error if said is not None else None) or f"it is {vm.state}"
    return words, (said.inventory if said is not None else None) or words


def opening(tx: Session, host_id: int) -> None:
    host = tx.get_one(Host, host_id, with_for_update=True)
    if host.resource_state not in ("Maintenance", "ErrorInMaintenance", *MOVING):
        raise Failed(f"host {host.name} is {host.resource_state}, not in maintenance")
    RESOURCE_STATES.move(tx, host_id, (host.resource_state,), "Enabled")
    _tell(host, "")


def out_of_maintenance(job: Job, host_id: int) -> None:
    """From maintenance, or from the way there, to Enabled."""
    job.write(opening, host_id)
