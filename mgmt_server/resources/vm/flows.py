"""The life of a machine, as flows. Users' machines and system VMs alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, hosts, pools
from mgmt_server.db import Conflict, now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job, gives_up
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import STATES, VOLUME_STATES, Vm, Volume, instance_name
from mgmt_server.protocol.machine import Disk, Machine
from mgmt_server.resources.affinity import members as affinity
from mgmt_server.resources.network import flows as network_flows
from mgmt_server.resources.network.nics import served_by_router
from mgmt_server.resources.router import document
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import start as starting
from mgmt_server.resources.vm.release import free_nics, spoken
from mgmt_server.resources.vm.start import Options
from mgmt_server.resources.vmsnapshot import rows as vm_snapshots

FORCED = Setting(
    "vm.destroy.forcestop", "Whether a machine that is destroyed loses its power instead of being asked to shut down"
)


@gives_up(starting.never_ran)
def start(job: Job, vm_id: int, options: Options, networks: list[int], told: list[str]) -> None:
    """Start a machine. `networks` have to be implemented first; `told` names what its answer tells: password."""
    for network in networks:
        job.wait(network_flows.implement, network, lock=f"network:{network}", shared=True)
    plan = job.write(starting.begin, vm_id, options, undo=starting.abandon)
    while True:
        create, machine = _with_templates(job, plan)
        for network in plan.tell:
            job.call(document.tell, network)
        refusal = job.call(starting.attempt, plan.host, create, machine, undo=starting.unmake)
        if not refusal.text:
            break
        job.call(starting.clear, plan.host, create, machine, refusal)
        plan, options = job.write(starting.retry, vm_id, options, plan.host, refusal, undo=starting.abandon_again)
    if machine.kind == "DomainRouter":
        job.call(document.tell_router, vm_id)
    job.write(starting.started, vm_id)
    if "password" in told:
        job.answer(password=job.write(password_of, vm_id))


def _with_templates(job: Job, plan: starting.Plan) -> tuple[tuple[Disk, ...], Machine]:
    """The disks to be made and the machine, once the templates that they stand on are in their pools."""
    create, machine = plan.create, plan.machine
    for fetch in plan.fetch:
        name = job.call(disks.cache_template, plan.host, fetch.pool, fetch.image)
        job.write(starting.cached, fetch.template_id, fetch.pool_id, name, fetch.image.virtual_size)
        create = _on(create, name, fetch.pool.uuid)
        machine = replace(machine, disks=_on(machine.disks, name, fetch.pool.uuid))
    return create, machine


def _on(disks: tuple[Disk, ...], backing: str, pool: str) -> tuple[Disk, ...]:
    """The disks of a pool whose template has just been fetched, cloned from it."""
    return tuple(
        replace(d, backing=backing) if d.pool.uuid == pool and d.device == 0 and not d.backing else d for d in disks
    )


def password_of(tx: Session, vm_id: int) -> str:
    return tx.get_one(Vm, vm_id).password or ""


def leave(job: Job, vm_id: int) -> None:
    """Deploy without starting: the machine stays stopped, its disks are made at its first start."""


@dataclass(frozen=True)
class Where:
    """Where a machine runs, and what it is called there."""

    host: HostRef
    name: str


def stop(job: Job, vm_id: int, forced: bool) -> None:
    where = job.write(begin_stop, vm_id, undo=still_running)
    if where is not None:
        job.call(dispatch.stop, where.host, where.name, forced)
        job.write(stopped, vm_id)


def reboot(job: Job, vm_id: int, forced: bool) -> None:
    where = job.write(running, vm_id)
    if forced:
        stop(job, vm_id, True)
        start(job, vm_id, Options(), [], [])
    else:
        job.call(dispatch.reboot, where.host, where.name)


def destroy(job: Job, vm_id: int, expunging: bool) -> None:
    where = job.write(begin_stop, vm_id, undo=still_running)
    if where is not None:
        job.call(dispatch.stop, where.host, where.name, job.write(forcing))
        job.write(stopped, vm_id)
    job.write(destroyed, vm_id)
    if expunging:
        expunge(job, vm_id)


def expunge(job: Job, vm_id: int) -> None:
    """Remove a machine for good: what is outside first, then its addresses and rows."""
    plan = job.write(begin_expunge, vm_id)
    if plan.machine is not None:
        job.call(dispatch.forget, plan.machine.host, plan.machine.name)
    for gone in plan.disks:
        job.call(disks.delete_disk, gone.host, gone.disk)
    for network in job.write(expunged, vm_id):
        job.call(document.tell, network)


# --- what the steps do -----------------------------------------------------------------------------------------------


def begin_stop(tx: Session, vm_id: int) -> Where | None:
    """Running -> Stopping; None when it does not run."""
    vm = tx.get_one(Vm, vm_id)
    if vm.state not in ("Running", "Stopping"):
        return None
    if vm.state == "Running":
        STATES.move(tx, vm_id, "Running", "Stopping", state_changed=now())
    return _where(tx, vm)


def _where(tx: Session, vm: Vm) -> Where:
    host = tx.get_one(Host, vm.host_id)
    return Where(storage.ref(host), instance_name(vm.kind, vm.account_id, vm.id))


def forcing(tx: Session) -> bool:
    return FORCED.flag()


def still_running(tx: Session, vm_id: int) -> None:
    vm = tx.get_one(Vm, vm_id)
    if vm.state == "Stopping":
        STATES.move(tx, vm_id, "Stopping", "Running", state_changed=now())


def stopped(tx: Session, vm_id: int) -> None:
    vm = tx.get_one(Vm, vm_id)
    hosts.give_back(tx, vm)
    STATES.move(
        tx, vm_id, ("Stopping", "Running"), "Stopped", host_id=None, last_host_id=vm.host_id, state_changed=now()
    )


def running(tx: Session, vm_id: int) -> Where:
    vm = tx.get_one(Vm, vm_id)
    if vm.state != "Running":
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: only a running machine can be rebooted")
    return _where(tx, vm)


def destroyed(tx: Session, vm_id: int) -> None:
    vm = tx.get_one(Vm, vm_id)
    if vm.state != "Destroyed":
        before = vm.state if vm.state in ("Stopped", "Error") else ("Stopped", "Error")
        STATES.move(tx, vm_id, before, "Destroyed", state_changed=now())
        if before == "Stopped":  # one in Error gave back what it counted for when it got there
            counted.machine_goes(tx, vm)


@dataclass(frozen=True)
class Gone:
    host: HostRef
    disk: Disk


@dataclass(frozen=True)
class Expunge:
    machine: Where | None
    disks: tuple[Gone, ...]


def begin_expunge(tx: Session, vm_id: int) -> Expunge:
    vm = tx.get_one(Vm, vm_id)
    if vm.state == "Running":
        raise InvalidValue(f"{spoken(vm)} runs: stop it first")
    before = vm.state
    if before not in ("Destroyed", "Error", "Stopped", "Expunging"):
        raise Conflict("Vm", vm_id, "Destroyed, Error or Stopped")
    STATES.move(tx, vm_id, before, "Expunging", state_changed=now())
    if before == "Stopped":
        counted.machine_goes(tx, vm)
    last = tx.get(Host, vm.last_host_id) if vm.last_host_id else None
    machine = None
    if last is not None and last.removed is None and last.state == "Up":
        machine = Where(storage.ref(last), instance_name(vm.kind, vm.account_id, vm.id))
    disks = []
    for volume in tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.removed.is_(None))):
        if volume.pool_id is None or volume.kind != "ROOT":
            continue
        pool = tx.get_one(Pool, volume.pool_id)
        host = _reaching(tx, pool)
        if host is not None and volume.path:
            disk = Disk(volume.path, storage.as_seen(pool), volume.size, volume.device or 0)
            disks.append(Gone(storage.ref(host), disk))
    return Expunge(machine, tuple(disks))


def _reaching(tx: Session, pool: Pool) -> Host | None:
    """A host that can delete something in the pool. None when none is left: then there is nothing to delete from."""
    rows = select(Host).where(Host.removed.is_(None)).order_by(Host.state != "Up", Host.id).limit(1)
    if pool.host_id is not None:
        return tx.scalar(rows.where(Host.id == pool.host_id))
    return tx.scalar(rows.join(PoolHost, PoolHost.host_id == Host.id).where(PoolHost.pool_id == pool.id))


def expunged(tx: Session, vm_id: int) -> list[int]:
    """Give everything back: the networks whose router has to forget it. Data disks are detached and stay."""
    vm = tx.get_one(Vm, vm_id)
    for volume in tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.removed.is_(None))):
        if volume.kind != "ROOT":
            volume.vm_id = volume.slot = volume.device = volume.attached = None
            continue
        if volume.pool_id is not None:
            pools.give_back(tx, volume.pool_id, volume.size)
        VOLUME_STATES.move(tx, volume.id, volume.state, "Expunged", removed=now(), slot=None)
        if vm.kind == "User":
            counted.volumes_go(tx, [volume])
    vm_snapshots.gone_with(tx, vm_id)
    networks = free_nics(tx, vm_id)
    affinity.leave(tx, vm_id)
    vm.removed, vm.password, vm.vnc_password, vm.user_data = now(), None, None, None
    vm.group_id = vm.user_data_id = None
    tx.flush()
    if vm.kind != "User":
        return []
    return [n for n in networks if served_by_router(tx, tx.get_one(Network, n))]
