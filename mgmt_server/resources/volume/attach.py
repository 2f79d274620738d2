"""How a disk gets to a machine, and away from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.orm import Session

from mgmt_server.allocation import pools
from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue, Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.protocol.machine import Disk, Image
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template.stored import image_in
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vm.tuning import tuned_disk
from mgmt_server.resources.volume import leftovers, moving, sites, stored
from mgmt_server.resources.volume.fitting import check_attachable, check_detachable, check_machine, free_device
from mgmt_server.resources.volume.locks import same_place
from mgmt_server.resources.volume.moving import Copy
from mgmt_server.resources.volume.places import disk_in
from mgmt_server.resources.volume.qos import limited


@dataclass(frozen=True)
class Attach:
    """All that attaching a disk does, decided in one transaction. Without `host` nothing but rows change."""

    disk: Disk | None = None  # as it will be
    host: HostRef | None = None
    machine: str = ""  # that runs there
    create: bool = False
    chain: tuple[Image, ...] = ()  # from which it is loaded first
    copy: Copy | None = None  # by which it moves first


def attach(job: Job, volume_id: int, vm_id: int, device: int | None) -> None:
    """Attach a disk. One that the machine's host does not reach is moved, and one on secondary storage fetched."""
    plan = job.write(begin, volume_id, vm_id, device, undo=not_attached)
    if plan.host is not None and plan.disk is not None:
        if plan.create:
            job.call(disks.create_disk, plan.host, plan.disk, undo=uncreate)
        elif plan.chain:
            job.call(disks.load_disk, plan.host, plan.disk, plan.chain, undo=unload)
        if plan.copy is not None:
            moving.carry(job, plan.copy)
        if plan.machine:
            job.call(dispatch.attach_disk, plan.host, plan.machine, plan.disk, undo=dispatch.detach_disk)
    job.write(attached, volume_id)
    if plan.copy is not None:
        moving.leave(job, plan.copy)
    if plan.chain:
        job.write(stored.due, volume_id)  # by a job of its own: what failed here would take the disk back


def uncreate(call: UUID, host: HostRef, disk: Disk) -> None:
    leftovers.remove(call, host, disk)


def unload(call: UUID, host: HostRef, disk: Disk, chain: tuple[Image, ...]) -> None:
    leftovers.remove(call, host, disk)


def begin(tx: Session, volume_id: int, vm_id: int, device: int | None) -> Attach:
    """The disk is the machine's from now on, and its space is taken where it will lie."""
    volume, vm = tx.get_one(Volume, volume_id, with_for_update=True), tx.get_one(Vm, vm_id)
    check_attachable(tx, volume)
    check_machine(tx, volume, vm, device)
    slot = free_device(tx, volume, vm, device)
    kind = "ROOT" if slot == 0 else "DATADISK"
    plan = _plan(tx, volume, vm, slot)
    tx.refresh(volume)
    volume.vm_id, volume.slot, volume.device, volume.kind, volume.attached = vm.id, slot, slot, kind, now()
    return plan


def _plan(tx: Session, volume: Volume, vm: Vm, slot: int) -> Attach:
    running = vm.state == "Running"
    if volume.state == "Allocated":
        return _created(tx, volume, vm, slot) if running else Attach()
    hosts = sites.hosts_for(tx, vm)
    if volume.state == "Uploaded":
        return _fetched(tx, volume, vm, slot, hosts)
    pool = tx.get_one(Pool, volume.pool_id)
    near = next((h for h in hosts if pools.reachable(pool, h)), None)
    if near is None and hosts:
        return _moved(tx, volume, vm, slot, hosts)
    if not running or near is None:
        return Attach()
    pools.check_open(pool, volume, f"The disk cannot be attached to {spoken(vm)}, which runs")
    VOLUME_STATES.move(tx, volume.id, "Ready", "Attaching", state_changed=now())
    return _at(tx, volume, vm, slot, pool, near)


def _at(tx: Session, volume: Volume, vm: Vm, slot: int, pool: Pool, host: Host) -> Attach:
    disk = tuned_disk(limited(disk_in(pool, volume), volume, sites.offering_of(tx, volume)), vm.details, pool.id)
    machine = vm.instance if vm.state == "Running" else ""
    return Attach(replace(disk, device=slot), storage.ref(host), machine)


def _created(tx: Session, volume: Volume, vm: Vm, slot: int) -> Attach:
    pool, host = sites.take(tx, volume, sites.hosts_for(tx, vm), sites.offering_of(tx, volume))
    settle(tx, volume, pool, "Allocated", "Creating")
    plan = _at(tx, volume, vm, slot, pool, host)
    if volume.template_id is None:
        return replace(plan, create=True)
    image = image_in(tx, volume.template_id, volume.zone_id)
    if image is None:
        raise Unavailable(f"The disk {volume.name} is made of a template that is not ready in its zone any more")
    return replace(plan, chain=(image,))


def _fetched(tx: Session, volume: Volume, vm: Vm, slot: int, hosts: list[Host]) -> Attach:
    pool, host = sites.take(tx, volume, hosts, sites.offering_of(tx, volume))
    settle(tx, volume, pool, "Uploaded", "Copying")
    return replace(_at(tx, volume, vm, slot, pool, host), chain=(stored.image_of(tx, volume),))


def _moved(tx: Session, volume: Volume, vm: Vm, slot: int, hosts: list[Host]) -> Attach:
    target, host = sites.take(tx, volume, hosts, sites.offering_of(tx, volume))
    copy = moving.hold(tx, volume, target)
    return replace(_at(tx, volume, vm, slot, target, host), copy=copy)


def settle(tx: Session, volume: Volume, pool: Pool, before: str, after: str) -> None:
    """A disk gets its place in a pool, whose space has been taken."""
    name = volume.path or volume.uuid
    values = {"pool_id": pool.id, "pod_id": pool.pod_id, "path": name, "state_changed": now()}
    VOLUME_STATES.move(tx, volume.id, before, after, **values)
    tx.refresh(volume)


def not_attached(tx: Session, volume_id: int, vm_id: int, device: int | None) -> None:
    """Undo of `begin`."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    if volume.vm_id != vm_id:
        return
    volume.vm_id = volume.slot = volume.device = volume.attached = None
    volume.kind = "DATADISK" if volume.kind == "ROOT" and volume.template_id is None else volume.kind
    tx.flush()
    unsettle(tx, volume)


def unsettle(tx: Session, volume: Volume) -> None:
    """A disk does not get to where it was to go: it is again what it was, and its space is given back."""
    back = {"Creating": "Allocated", "Copying": "Uploaded"}.get(volume.state)
    if back is not None:
        if volume.pool_id is not None:
            pools.give_back(tx, volume.pool_id, volume.size)
        values = {"pool_id": None, "pod_id": None, "path": None, "state_changed": now()}
        VOLUME_STATES.move(tx, volume.id, volume.state, back, **values)
    elif volume.state == "Migrating":
        moving.release(tx, volume)
    elif volume.state == "Attaching":
        VOLUME_STATES.move(tx, volume.id, "Attaching", "Ready", state_changed=now())


def attached(tx: Session, volume_id: int) -> None:
    """It is there."""
    volume = tx.get_one(Volume, volume_id)
    if volume.state == "Migrating":
        moving.moved(tx, volume)
    elif volume.state in ("Creating", "Copying", "Attaching"):
        values = {"state_changed": now()} | ({} if volume.state == "Attaching" else {"physical_size": volume.size})
        VOLUME_STATES.move(tx, volume_id, volume.state, "Ready", **values)


# --- away ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detach:
    host: HostRef
    machine: str
    disk: Disk


def detach(job: Job, volume_id: int, vm_id: int) -> None:
    plan = job.write(begin_detach, volume_id, vm_id)
    if plan is not None:
        job.call(dispatch.detach_disk, plan.host, plan.machine, plan.disk)
    job.write(detached, volume_id, vm_id)


def begin_detach(tx: Session, volume_id: int, vm_id: int) -> Detach | None:
    """Where it has to be taken from a running machine."""
    volume, vm = tx.get_one(Volume, volume_id), tx.get_one(Vm, vm_id)
    same_place(volume, vm_id)
    check_detachable(tx, volume, vm)
    if vm.state != "Running":
        return None
    if volume.pool_id is None or vm.host_id is None:
        raise InvalidValue(f"The disk {volume.name} is on no storage yet: start its machine first, or stop it")
    disk = disk_in(tx.get_one(Pool, volume.pool_id), volume)
    host = tx.get_one(Host, vm.host_id)
    return Detach(storage.ref(host), vm.instance, disk)


def detached(tx: Session, volume_id: int, vm_id: int) -> None:
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    if volume.vm_id == vm_id:
        volume.vm_id = volume.slot = volume.device = volume.attached = None
        volume.kind = "DATADISK"
