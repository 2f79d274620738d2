"""The life of a machine, as flows. Users' machines and system VMs alike."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, hosts, pools
from mgmt_server.db import Conflict, now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError, InvalidValue
from mgmt_server.jobs import Job, gives_up
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.scopes import of_domain
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import STATES, VOLUME_STATES, Vm, Volume
from mgmt_server.protocol.machine import Disk, Machine
from mgmt_server.resources.affinity import members as affinity
from mgmt_server.resources.alert.telling import STRAY, is_told, over
from mgmt_server.resources.network import flows as network_flows
from mgmt_server.resources.network.nics import served_by_router
from mgmt_server.resources.router import document
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template import pooled
from mgmt_server.resources.transfer.links import expire_links
from mgmt_server.resources.vm import start as starting
from mgmt_server.resources.vm.release import free_nics, spoken
from mgmt_server.resources.vm.start import Options
from mgmt_server.resources.vmsnapshot import rows as vm_snapshots
from mgmt_server.resources.volume.locks import check_settled, disks_of
from mgmt_server.resources.volume.places import Place, gone

log = logging.getLogger("cloudwright.vm")

ROOT_TOO = Setting(
    "destroy.root.volume.on.vm.destruction",
    "Whether the root disk of a machine that is destroyed is destroyed too, and counts no more against limits",
)
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
        refusal = job.call(starting.attempt, plan.host, create, machine, undo=starting.undone)
        if not refusal.text:
            break
        left = job.call(starting.clear, plan.host, create, machine)
        if left:
            job.write(starting.doubt, vm_id)
            raise refusal.error(left)
        plan, options = job.write(starting.retry, vm_id, options, plan.host, refusal, undo=starting.abandon_again)
    if machine.kind == "DomainRouter":
        job.call(document.tell_router, vm_id)
    job.write(starting.started, vm_id)
    if "password" in told:
        job.answer(password=job.write(password_of, vm_id))


def _with_templates(job: Job, plan: starting.Plan) -> tuple[tuple[Disk, ...], Machine]:
    """The disks to be made and the machine, once the templates that they stand on, and its disc, are in their pools."""
    create, machine = plan.create, plan.machine
    for fetch in plan.fetch:
        name = pooled.bring(job, plan.host, fetch)
        create = _on(create, name, fetch)
        machine = replace(machine, disks=_on(machine.disks, name, fetch))
    return create, pooled.with_disc(job, plan.host, machine, plan.disc)


def _on(disks: tuple[Disk, ...], backing: str, fetch: pooled.Fetch) -> tuple[Disk, ...]:
    """The disks, those of the template that has just been fetched cloned from it."""
    asked = fetch.image.uuid, fetch.pool.uuid
    return tuple(replace(d, backing=backing) if (d.backing, d.pool.uuid) == asked else d for d in disks)


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
        if plan.again:  # it may be running after all, and is forgotten in no other way
            job.call(dispatch.stop, plan.machine.host, plan.machine.name, True)
        for point in plan.points:
            job.call(clear, plan.machine, point)
        job.call(dispatch.forget, plan.machine.host, plan.machine.name)
    for place in plan.disks:
        job.call(disks.delete_disk, place.host, place.disk)
    for network in job.write(expunged, vm_id):
        job.call(document.tell, network)


# --- what the steps do -----------------------------------------------------------------------------------------------


def begin_stop(tx: Session, vm_id: int) -> Where | None:
    """Running -> Stopping; None when it does not run. A Stopped one that was seen running is stopped where it was."""
    vm = tx.get_one(Vm, vm_id)
    if vm.state == "Stopped" and vm.last_host_id is not None and is_told(tx, f"{STRAY}:{vm_id}"):
        return Where(storage.ref(tx.get_one(Host, vm.last_host_id)), vm.instance)
    if vm.state not in ("Running", "Stopping"):
        return None
    if vm.state == "Running":
        STATES.move(tx, vm_id, "Running", "Stopping", state_changed=now())
    return _where(tx, vm)


def _where(tx: Session, vm: Vm) -> Where:
    host = tx.get_one(Host, vm.host_id)
    return Where(storage.ref(host), vm.instance)


def forcing(tx: Session) -> bool:
    return FORCED.flag()


def still_running(tx: Session, vm_id: int) -> None:
    vm = tx.get_one(Vm, vm_id)
    if vm.state == "Stopping":
        STATES.move(tx, vm_id, "Stopping", "Running", state_changed=now())


def stopped(tx: Session, vm_id: int) -> None:
    vm = tx.get_one(Vm, vm_id)
    if vm.state == "Stopped":
        over(tx, f"{STRAY}:{vm_id}")
        return
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
        if vm.kind == "User" and ROOT_TOO.flag(*of_domain(tx, vm.domain_id)):
            _give_up_root(tx, vm_id)


def _give_up_root(tx: Session, vm_id: int) -> None:
    """Its root disk counts no more. It stays the machine's, so that both are recovered, or expunged, together."""
    mine = select(Volume).where(Volume.vm_id == vm_id, Volume.kind == "ROOT", Volume.removed.is_(None))
    for volume in tx.scalars(mine.where(Volume.state.in_(("Ready", "Allocated")))).all():
        VOLUME_STATES.move(tx, volume.id, volume.state, "Destroy", state_changed=now())
        counted.volumes_go(tx, [volume])


def take_back_root(tx: Session, vm_id: int) -> None:
    """The machine is recovered, and its root disk with it."""
    mine = select(Volume).where(Volume.vm_id == vm_id, Volume.kind == "ROOT", Volume.removed.is_(None))
    for volume in tx.scalars(mine.where(Volume.state == "Destroy")).all():
        state = "Ready" if volume.pool_id is not None else "Allocated"
        VOLUME_STATES.move(tx, volume.id, "Destroy", state, state_changed=now())
        counted.volumes_come(tx, [volume])


@dataclass(frozen=True)
class Expunge:
    machine: Where | None
    disks: tuple[Place, ...]
    again: bool = False
    points: tuple[str, ...] = ()  # that data disks hold, which stay


def begin_expunge(tx: Session, vm_id: int) -> Expunge:
    vm = tx.get_one(Vm, vm_id)
    if vm.state == "Running":
        raise InvalidValue(f"{spoken(vm)} runs: stop it first")
    before = vm.state
    if before not in ("Destroyed", "Error", "Stopped", "Expunging"):
        raise Conflict("Vm", vm_id, "Destroyed, Error or Stopped")
    if before != "Expunging":
        check_settled(disks_of(tx, vm_id))
    STATES.move(tx, vm_id, before, "Expunging", state_changed=now())
    if before == "Stopped":
        counted.machine_goes(tx, vm)
    last = tx.get(Host, vm.last_host_id) if vm.last_host_id else None
    machine = None
    if last is not None and last.removed is None and last.state == "Up":
        machine = Where(storage.ref(last), vm.instance)
    mine = select(Volume).where(Volume.vm_id == vm_id, Volume.kind == "ROOT", Volume.removed.is_(None))
    places = tuple(g for volume in tx.scalars(mine) if (g := gone(tx, volume)) is not None)
    stay = select(Volume.id).where(Volume.vm_id == vm_id, Volume.kind != "ROOT", Volume.removed.is_(None))
    kept = tx.scalar(stay.limit(1)) is not None
    points = tuple(s.uuid for s in vm_snapshots.of_machine(tx, vm_id)) if kept else ()
    return Expunge(machine, places, before == "Expunging", points)


def clear(call: UUID, machine: Where, point: str) -> None:
    """A machine's snapshot goes from the disks that stay. It only takes room there, so a failure keeps nothing up."""
    try:
        dispatch.delete_snapshot(call, machine.host, machine.name, point)
    except ApiError as error:
        log.warning("the snapshot %s of %s stays in its data disks: %s", point, machine.name, error)


def expunged(tx: Session, vm_id: int) -> list[int]:
    """Give everything back: the networks whose router has to forget it. Data disks are detached and stay."""
    vm = tx.get_one(Vm, vm_id)
    for volume in tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.removed.is_(None))):
        if volume.kind != "ROOT":
            volume.vm_id = volume.slot = volume.device = volume.attached = None
            continue
        if volume.pool_id is not None:
            pools.give_back(tx, volume.pool_id, volume.size)
        expire_links(tx, volume.uuid)
        counts = vm.kind == "User" and volume.state not in counted.LEFT
        VOLUME_STATES.move(tx, volume.id, volume.state, "Expunged", removed=now(), slot=None)
        if counts:
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
