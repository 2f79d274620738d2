"""Starting a machine: where it runs, what its host has to have first, what the host is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, hosts, pools
from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError, Failed, NoCapacity, Unavailable
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool, TemplateOnPool
from mgmt_server.model.vm import STATES, VOLUME_STATES, Vm, Volume, instance_name
from mgmt_server.protocol.machine import Disk, Image, Machine, MachineState, Nic
from mgmt_server.protocol.machine import Pool as PoolAtHost
from mgmt_server.resources.isodrive.drive import source_of
from mgmt_server.resources.network.nics import nics_of
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template.stored import image_in
from mgmt_server.resources.vm.details import shown
from mgmt_server.resources.vm.placing import RETRIES, Options, place
from mgmt_server.resources.vm.placing import Parts as _Parts
from mgmt_server.resources.vm.placing import parts_of as _parts
from mgmt_server.resources.vm.release import free_nics
from mgmt_server.resources.vm.shape import CPUS_AT_MOST, MEMORY_AT_MOST, most_of
from mgmt_server.resources.volume.qos import limited


@dataclass(frozen=True)
class Fetch:
    """A template that has to be cached in a pool first."""

    template_id: int
    pool_id: int
    pool: PoolAtHost
    image: Image


@dataclass(frozen=True)
class Plan:
    """All that a start does, decided in one transaction."""

    host: HostRef
    machine: Machine
    create: tuple[Disk, ...]  # disks that are not there yet; `backing` of those in `fetch` is filled in later
    fetch: tuple[Fetch, ...]
    tell: tuple[int, ...]  # networks whose router has to know the machine before it asks


def begin(tx: Session, vm_id: int, options: Options) -> Plan:
    """Stopped -> Starting: promise a host and pools. Raises NoCapacity with the reasons of each."""
    parts = _parts(tx, vm_id)
    host, places = place(tx, parts, options)
    vm = parts.vm
    STATES.move(
        tx, vm.id, ("Stopped", "Starting"), "Starting",
        host_id=host.id, pod_id=host.pod_id, reserved=True, state_changed=now(),
    )  # fmt: skip
    counted.machine_starts(tx, vm)
    _note_ceiling(vm, parts, host)
    reference = storage.ref(host)
    disks, create, fetch = _disks(tx, parts, places)
    nics, tell = nics_of(tx, vm, host.hypervisor)
    machine = _machine(tx, parts, tuple(disks), tuple(nics))
    return Plan(reference, machine, tuple(create), tuple(fetch), tuple(tell))


def _note_ceiling(vm: Vm, parts: _Parts, host: Host) -> None:
    """Up to what the machine grows while it runs: a host that it moves to has to be told the same."""
    most = most_of(vm, parts.offering, host) if vm.dynamically_scalable and vm.kind == "User" else None
    if most is not None:
        vm.details = {**vm.details, CPUS_AT_MOST: most.cpus, MEMORY_AT_MOST: most.memory}
    elif CPUS_AT_MOST in vm.details:
        vm.details = {k: v for k, v in vm.details.items() if k not in (CPUS_AT_MOST, MEMORY_AT_MOST)}


def _disks(tx: Session, parts: _Parts, places: dict[int, Pool]) -> tuple[list[Disk], list[Disk], list[Fetch]]:
    """All disks, those to be created, and the templates to be fetched for them."""
    disks, create, fetch = [], [], []
    for volume, offering in parts.volumes:
        pool = places[volume.id]
        at_host = storage.as_seen(pool)
        backing = ""
        if volume.state in ("Allocated", "Creating") and volume.template_id is not None:
            backing, missing = _backing(tx, volume, pool, at_host)
            fetch += missing
        limits = offering or parts.root
        disk = Disk(
            name=volume.path or volume.uuid,
            pool=at_host,
            size=volume.size,
            device=volume.device or 0,
            backing=backing,
            serial=volume.uuid.replace("-", "")[:20],
        )
        disk = limited(disk, volume, limits)
        disks.append(disk)
        if volume.state in ("Allocated", "Creating"):
            create.append(disk)
            moved = {"pool_id": pool.id, "path": disk.name, "pod_id": pool.pod_id, "provisioning": limits.provisioning}
            tx.execute(
                update(Volume)
                .where(Volume.id == volume.id)
                .values(state="Creating", **moved)
                .execution_options(synchronize_session=False)
            )
    return disks, create, fetch


def _backing(tx: Session, volume: Volume, pool: Pool, at_host: PoolAtHost) -> tuple[str, list[Fetch]]:
    cached = tx.scalar(
        select(TemplateOnPool.name).where(
            TemplateOnPool.template_id == volume.template_id,
            TemplateOnPool.pool_id == pool.id,
            TemplateOnPool.state == "Ready",
        )
    )
    if cached:
        return cached, []
    image = image_in(tx, volume.template_id, volume.zone_id)
    if image is None or volume.template_id is None:
        raise Unavailable(
            "the template of this machine is not ready on the zone's secondary storage: see its status in listTemplates"
        )
    return "", [Fetch(volume.template_id, pool.id, at_host, image)]


def _machine(tx: Session, parts: _Parts, disks: tuple[Disk, ...], nics: tuple[Nic, ...]) -> Machine:
    vm = parts.vm
    return Machine(
        name=instance_name(vm.kind, vm.account_id, vm.id),
        uuid=vm.uuid,
        kind=vm.kind,
        cpus=vm.cpus,
        speed=vm.speed,
        memory=vm.memory * 2**20,
        disks=disks,
        nics=nics,
        os=(parts.os.platform or {}).get(vm.hypervisor, parts.os.name) if parts.os else "",
        iso=source_of(tx, vm.iso_id, vm.zone_id) if vm.iso_id is not None else "",
        boot_type=vm.boot_type,
        boot_mode=vm.boot_mode,
        most_cpus=int(vm.details.get(CPUS_AT_MOST, 0)),
        most_memory=int(vm.details.get(MEMORY_AT_MOST, 0)) * 2**20,
        vnc_password=vm.vnc_password or "",
        boot_arguments=str(vm.details.get("boot_arguments", "")) if vm.kind != "User" else "",
        details=shown(vm.details) if vm.kind == "User" else {},
    )


def cached(tx: Session, template_id: int, pool_id: int, name: str, size: int) -> None:
    """Note that a pool has a template now."""
    rows = select(TemplateOnPool).where(TemplateOnPool.template_id == template_id, TemplateOnPool.pool_id == pool_id)
    row = tx.scalar(rows.with_for_update())
    if row is None:
        tx.add(TemplateOnPool(template_id=template_id, pool_id=pool_id, state="Ready", name=name, size=size))
        tx.execute(update(Pool).where(Pool.id == pool_id).values(allocated=Pool.allocated + size))
    else:
        row.state, row.name = "Ready", name


def described(tx: Session, vm_id: int, places: dict[int, Pool], hypervisor: str) -> Machine:
    """A machine that runs already as another host is told of it: its disks in `places`, volume id -> pool."""
    parts = _parts(tx, vm_id)
    disks, _, _ = _disks(tx, parts, places)
    nics, _ = nics_of(tx, parts.vm, hypervisor)
    return _machine(tx, parts, tuple(disks), tuple(nics))


def make(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine) -> MachineState:
    """Create the missing disks and start."""
    for disk in create:
        disks.create_disk(uuid5(call, disk.name), host, disk)
    return dispatch.start(uuid5(call, "start"), host, machine)


@dataclass(frozen=True)
class Refusal:
    """Why a host did not start a machine. Empty: it did."""

    text: str = ""
    unavailable: bool = False

    def error(self, more: str = "") -> ApiError:
        return (Unavailable if self.unavailable else Failed)(self.text + more)


def attempt(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine) -> Refusal:
    """`make`, whose failure may be the host's alone: then another host is tried."""
    try:
        make(call, host, create, machine)
    except (Failed, NoCapacity, Unavailable) as error:
        return Refusal(str(error) or "the host failed", isinstance(error, Unavailable))
    return Refusal()


def clear(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine, refusal: Refusal) -> None:
    """Nothing is left on the host; without proof of that the machine is tried nowhere else."""
    try:
        unmake(call, host, create, machine)
    except ApiError as error:
        more = f". It is not tried elsewhere: {host.name} does not confirm that it does not run there ({error})"
        raise refusal.error(more) from error


def retry(tx: Session, vm_id: int, options: Options, host: HostRef, refusal: Refusal) -> tuple[Plan, Options]:
    """Give up one host and take another. Raises what the host said where there is no other to try."""
    number = tx.scalars(select(Host.id).where(Host.uuid == host.uuid)).one()
    options = replace(options, failed=(*options.failed, (number, refusal.text)))
    if options.host_id is not None or len(options.failed) >= RETRIES.number():
        raise refusal.error()
    abandon(tx, vm_id, options)
    tx.expire_all()
    return begin(tx, vm_id, options), options


def abandon_again(tx: Session, vm_id: int, options: Options, host: HostRef, refusal: Refusal) -> None:
    """Undo of `retry`."""
    abandon(tx, vm_id, options)


def unmake(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine) -> None:
    """Leave nothing of `make` behind."""
    dispatch.stop_forced(uuid5(call, "stop"), host, machine)
    for disk in create:
        disks.delete_disk(uuid5(call, disk.name), host, disk)


def started(tx: Session, vm_id: int) -> None:
    """Starting -> Running, its disks Ready."""
    STATES.move(tx, vm_id, "Starting", "Running", state_changed=now())
    tx.execute(
        update(Volume)
        .where(Volume.vm_id == vm_id, Volume.state == "Creating")
        .values(state="Ready", physical_size=Volume.size, attached=now())
        .execution_options(synchronize_session=False)
    )


def abandon(tx: Session, vm_id: int, options: Options) -> None:
    """Undo of `begin`; nothing where a later attempt has been undone before."""
    vm = tx.get_one(Vm, vm_id)
    if vm.state != "Starting":
        return
    hosts.give_back(tx, vm)
    for volume in tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.state == "Creating")):
        if volume.pool_id is not None:
            pools.give_back(tx, volume.pool_id, volume.size)
        volume.pool_id, volume.state = None, "Allocated"
    tx.flush()
    STATES.move(tx, vm_id, "Starting", "Stopped", host_id=None, state_changed=now())


def never_ran(tx: Session, vm_id: int, options: Options, networks: list[int], told: list[str]) -> None:
    """A machine whose first start failed gives up everything and is left in Error for its owner to see."""
    vm = tx.get_one(Vm, vm_id)
    if options.first and vm.kind == "User" and vm.state == "Stopped":
        STATES.move(tx, vm_id, "Stopped", "Error", state_changed=now())
        counted.machine_goes(tx, vm)
        give_up(tx, vm_id)


def give_up(tx: Session, vm_id: int) -> None:
    """Give back addresses and disks of a machine that never ran."""
    free_nics(tx, vm_id)
    gone = []
    for volume in tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.removed.is_(None))):
        if volume.pool_id is not None:  # it was there before the machine, and stays
            volume.vm_id = volume.slot = volume.device = volume.attached = None
            continue
        VOLUME_STATES.move(tx, volume.id, volume.state, "Expunged", removed=now(), slot=None)
        gone.append(volume)
    tx.flush()
    counted.volumes_go(tx, gone)
