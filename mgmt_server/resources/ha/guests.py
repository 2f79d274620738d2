"""Machines that are to run again: theirs died, or their host did.

A machine is laid down first (Stopped, holding no host), under its own lock and so never amid another job on it; then it
starts like any other, elsewhere. What does not start is tried again after a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, hosts
from mgmt_server.db import Conflict, changed, now
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Failed
from mgmt_server.jobs import Asker, Job, enqueue, gives_up
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.vm import STATES, Vm
from mgmt_server.protocol.machine import Move
from mgmt_server.resources.alert.telling import tell
from mgmt_server.resources.ha import rows
from mgmt_server.resources.network import flows as network_flows
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import elsewhere, flows, migrate, target
from mgmt_server.resources.vm import start as starting
from mgmt_server.resources.vm.networks import to_implement
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vm.start import Options
from mgmt_server.resources.volume import leftovers

ENABLED = Setting("vm.ha.enabled", "Whether machines whose offering asks for it are started again when they die")
ALERTS = Setting("vm.ha.alerts.enabled", "Whether an alert tells of each machine that could not be started again")
ON_LIVING_HOST = Setting(
    "ha.vm.restart.hostup", "Whether a machine that stopped by itself, on a host that is up, is started again as well"
)
FORCED = Setting("force.ha", "Whether all machines are started again, whatever their offering says")
WAIT = Setting("restart.retry.interval", "Seconds until a machine that did not start again is tried anew", least=1)
TRIES = Setting("ha.restart.retries", "How often that is tried", type="Integer", default="5", least=0)
FEW = 4  # machines, from which they are laid down together
ASK_AGAIN = timedelta(seconds=20)
LIVELY = ("Running", "Starting", "Stopping", "Migrating")


def wants(tx: Session, vm: Vm, host: Host | None) -> bool:
    """Whether a machine that died on `host` is to run again."""
    if not ENABLED.flag(Scope("Zone", vm.zone_id)):
        return False
    if vm.kind != "User":  # system VMs serve others
        return True
    return vm.ha_enabled or (host is not None and FORCED.flag(Scope("Cluster", host.cluster_id)))


def lay_down(tx: Session, vm: Vm, host: Host, why: str, *, host_lives: bool = False) -> bool:
    """A machine does not run any more: Stopped, and its host's capacity free. Whether it is to start again.

    Only where no job works on the machine: under its lock, or after a look at open jobs.
    """
    again = wants(tx, vm, host) and (ON_LIVING_HOST.flag() or not host_lives)
    if vm.state == "Migrating":
        target.lose(tx, vm.id)
    if vm.state == "Starting":
        leftovers.queue_begun(tx, vm.id)
        starting.abandon(tx, vm.id, Options(), known=True)
    else:
        hosts.give_back(tx, vm)
        STATES.move(
            tx, vm.id, ("Running", "Stopping", "Migrating"), "Stopped",
            host_id=None, last_host_id=host.id, state_changed=now(),
        )  # fmt: skip
    _event(tx, vm, why, again)
    if again:
        tx.refresh(vm)
        queue(tx, vm, host.id, 0)
    return again


def lay_down_all(tx: Session, vms: Sequence[Vm], host: Host, why: str, *, host_lives: bool = False) -> None:
    """As `lay_down`, of machines that all ran on one host: after a loss of power these are many.

    Raises Conflict when one of them changed meanwhile.
    """
    if len(vms) < FEW or counted.RUNNING_ONLY.flag():
        for vm in vms:
            lay_down(tx, vm, host, why, host_lives=host_lives)
        return
    moment = now()
    there = update(Vm).where(Vm.id.in_([v.id for v in vms]), Vm.state == "Running", Vm.host_id == host.id)
    values = {"state": "Stopped", "host_id": None, "last_host_id": host.id, "reserved": False, "state_changed": moment}
    if changed(tx.execute(there.values(values).execution_options(synchronize_session=False))) != len(vms):
        raise Conflict("Vm", vms[0].id, f"Running on host {host.name}")
    held = [v for v in vms if v.reserved]
    less = update(Host).where(Host.id == host.id).values(
        cpu_used=Host.cpu_used - sum(v.cpus * v.speed for v in held),
        memory_used=Host.memory_used - sum(v.memory for v in held) * 2**20,
        machines=Host.machines - len(held),
    )  # fmt: skip
    tx.execute(less.execution_options(synchronize_session=False))
    for vm in sorted(vms, key=lambda v: v.kind == "User"):
        runs = wants(tx, vm, host) and (ON_LIVING_HOST.flag() or not host_lives)
        _event(tx, vm, why, runs)
        if runs:
            queue(tx, vm, host.id, 0, moment)


def _event(tx: Session, vm: Vm, why: str, again: bool) -> None:
    text = f"{vm.display_name or vm.name} {why}{': it is started again' if again else ''}"
    tx.add(
        Event(
            type="VM.STOP", description=text, level="WARN", user_id=SYSTEM_USER, account_id=vm.account_id,
            domain_id=vm.domain_id, resource_type="VirtualMachine", resource_uuid=vm.uuid,
        )
    )  # fmt: skip


def ask_later(tx: Session, vm_id: int, host_id: int, why: str) -> None:
    """Have the host be asked again where a machine may be. Nothing else waits for that: the lock is its own."""
    if tx.get_one(Vm, vm_id).state == "Migrating":
        arguments = (vm_id, host_id, why)
        enqueue(tx, ask_again, arguments, lock=f"ha-later:{vm_id}", not_before=now() + ASK_AGAIN)


def ask_again(job: Job, vm_id: int, host_id: int, why: str) -> None:
    job.write(_ask_again, vm_id, host_id, why)


def _ask_again(tx: Session, vm_id: int, host_id: int, why: str) -> None:
    enqueue(tx, bury, (vm_id, host_id, why), lock=f"vm:{vm_id}")


@gives_up(ask_later)
def bury(job: Job, vm_id: int, host_id: int, why: str) -> None:
    """Lay down a machine of a host that is proven dead. Runs under the machine's lock.

    One whose move ended in doubt may run where it was to go: that host is asked first, until it answers or is as dead.
    """
    move = job.write(_doubted_move, vm_id, host_id)
    found = job.call(at_target, *move) if move is not None else ""
    if found == "runs":
        job.write(migrate.arrived_after_all, vm_id)
    elif found == "stopped":
        job.write(stopped_there, vm_id)
    else:
        job.write(_bury, vm_id, host_id, why, move is not None)


def _doubted_move(tx: Session, vm_id: int, host_id: int) -> tuple[HostRef, str, Move | None] | None:
    """Where a machine may have moved to, its name there, and one of the disks that were to go with it."""
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is not None or vm.state != "Migrating" or vm.host_id != host_id or vm.target_host_id is None:
        return None
    target = tx.get_one(Host, vm.target_host_id)
    known = rows.row_of(tx, target.id)
    dead = target.resource_state == "Degraded" or (known is not None and known.state == "Fenced")
    if target.removed is not None or (dead and target.state != "Up"):
        return None
    return storage.ref(target), vm.instance, next(iter(migrate.moving(tx, vm_id)), None)


def at_target(call: UUID, host: HostRef, name: str, move: Move | None) -> str:
    """`runs` of a machine that has come, `stopped` of one that came with its disks, or nothing. Raises Unavailable."""
    if elsewhere.runs(host, name):
        return "runs"
    try:
        return "stopped" if move and disks.settle_disk(call, host, move.source, move.target, name) else ""
    except Failed:
        return ""


def stopped_there(tx: Session, vm_id: int) -> None:
    """It had arrived with its disks, and does not run there any more."""
    migrate.arrived_after_all(tx, vm_id)
    vm = tx.get_one(Vm, vm_id, populate_existing=True)
    host = tx.get_one(Host, vm.host_id)
    lay_down(tx, vm, host, f"stopped on {host.name}, where it had moved to", host_lives=True)


def _bury(tx: Session, vm_id: int, host_id: int, why: str, stays: bool) -> None:
    """`stays`: where it was to go, it has not come."""
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is None and vm.host_id == host_id and vm.state in LIVELY:
        if stays:
            target.let_go(tx, vm_id, unsure=True)
        lay_down(tx, vm, tx.get_one(Host, host_id), why)


def queue(tx: Session, vm: Vm, host_id: int, tries: int, moment: datetime | None = None) -> None:
    """Have it started. Routers start with their network, so that nobody else starts them at the same time."""
    at = moment or vm.state_changed
    told = {"type": "VM.START", "description": f"starting {spoken(vm)} again", "start": None}
    asker = Asker(account_id=vm.account_id, domain_id=vm.domain_id, user_id=SYSTEM_USER, event=told)
    lock = f"vm:{vm.id}" if vm.kind != "DomainRouter" else f"ha-router:{vm.id}"
    enqueue(
        tx,
        again,
        (vm.id, host_id, at.isoformat() if at else "", tries),
        lock=lock,
        instance=elsewhere.instance_of(vm),
        asker=asker,
    )


@dataclass(frozen=True)
class Due:
    """What has to be ready first; `router`: it is one, and starts with it."""

    networks: tuple[int, ...]
    router: bool


def try_later(tx: Session, vm_id: int, host_id: int, moment: str, tries: int) -> None:
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is not None or vm.state != "Stopped":
        return
    more = tries < TRIES.number()
    if ALERTS.flag(Scope("Zone", vm.zone_id)):
        text = f"{spoken(vm)} could not be started again after it died"
        then = f"Tried again in {_wait(tx, host_id)} seconds" if more else "Not tried any more: start it by hand"
        tell(tx, "ALERT.USERVM", text, f"{then}. The event of the failed start says why.", zone_id=vm.zone_id)
    if more:
        at = now() + timedelta(seconds=_wait(tx, host_id))
        arguments = (vm_id, host_id, vm.state_changed.isoformat() if vm.state_changed else "", tries + 1)
        enqueue(tx, later, arguments, lock=f"ha-later:{vm_id}", not_before=at)


def _wait(tx: Session, host_id: int) -> int:
    return WAIT.number(Scope("Cluster", tx.get_one(Host, host_id).cluster_id))


@gives_up(try_later)
def again(job: Job, vm_id: int, host_id: int, moment: str, tries: int) -> None:
    """Start a machine that died, unless somebody has taken care of it since `moment`."""
    due = job.write(_due, vm_id, moment)
    if due is None:
        return
    if due.router:
        for network in due.networks:
            job.wait(network_flows.implement, network, lock=f"network:{network}", shared=True)
    else:
        flows.start(job, vm_id, Options(last_host=False, ha=True), list(due.networks), [])
    job.write(_back, vm_id, host_id)


def _due(tx: Session, vm_id: int, moment: str) -> Due | None:
    vm = tx.get_one(Vm, vm_id)
    same = (vm.state_changed.isoformat() if vm.state_changed else "") == moment
    if vm.removed is not None or vm.state != "Stopped" or not same:
        return None
    if vm.kind == "DomainRouter":
        return Due((vm.network_id,), True) if vm.network_id is not None else None
    networks = tx.scalars(
        select(Network).join(Nic, Nic.network_id == Network.id).where(Nic.vm_id == vm_id, Nic.removed.is_(None))
    )
    return Due(tuple(to_implement(tx, list(networks))), False)


def _back(tx: Session, vm_id: int, host_id: int) -> None:
    rows.count_restart(tx, host_id)


def later(job: Job, vm_id: int, host_id: int, moment: str, tries: int) -> None:
    job.write(_once_more, vm_id, host_id, moment, tries)


def _once_more(tx: Session, vm_id: int, host_id: int, moment: str, tries: int) -> None:
    if _due(tx, vm_id, moment) is not None:
        queue(tx, tx.get_one(Vm, vm_id), host_id, tries)
