"""Starting a machine: where it runs, what its host has to have first, what the host is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, hosts, pools
from mgmt_server.allocation.hosts import Need
from mgmt_server.allocation.pools import Space
from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue, NoCapacity, Unavailable
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.storage import ImageStore, Pool, TemplateOnPool, TemplateOnStore
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.vm import STATES, VOLUME_STATES, Vm, Volume, instance_name
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.machine import Disk, Image, Machine, MachineState, Nic, Store
from mgmt_server.protocol.machine import Pool as PoolAtHost
from mgmt_server.resources.network.nics import move_to_pod, nics_of, pod_of
from mgmt_server.resources.vm.release import free_nics, spoken


@dataclass(frozen=True)
class Options:
    """Where a machine shall start. `first`: it never ran, and is given up when it does not start."""

    host_id: int | None = None
    cluster_id: int | None = None
    pod_id: int | None = None
    last_host: bool = True
    first: bool = False


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


@dataclass(frozen=True)
class _Parts:
    vm: Vm
    offering: ServiceOffering
    root: DiskOffering
    template: Template | None
    os: OsType | None
    zone_type: str
    volumes: list[tuple[Volume, DiskOffering | None]]


def begin(tx: Session, vm_id: int, options: Options) -> Plan:
    """Stopped -> Starting: promise a host and pools. Raises NoCapacity with the reasons of each."""
    parts = _parts(tx, vm_id)
    host, places = _place(tx, parts, options)
    vm = parts.vm
    STATES.move(
        tx, vm.id, ("Stopped", "Starting"), "Starting",
        host_id=host.id, pod_id=host.pod_id, reserved=True, state_changed=now(),
    )  # fmt: skip
    counted.machine_starts(tx, vm)
    reference = reference_of(host)
    disks, create, fetch = _disks(tx, parts, places)
    nics, tell = nics_of(tx, vm, host.hypervisor)
    machine = _machine(parts, tuple(disks), tuple(nics))
    return Plan(reference, machine, tuple(create), tuple(fetch), tuple(tell))


def reference_of(host: Host) -> HostRef:
    return HostRef(host.uuid, host.name, host.hypervisor, host.agent or "")


def _parts(tx: Session, vm_id: int) -> _Parts:
    row = tx.execute(
        select(Vm, ServiceOffering, DiskOffering, Template, OsType, Zone.network_type)
        .join(Zone, Zone.id == Vm.zone_id)
        .join(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
        .join(DiskOffering, DiskOffering.id == ServiceOffering.disk_offering_id)
        .outerjoin(Template, Template.id == Vm.template_id)
        .outerjoin(OsType, OsType.id == Vm.os_type_id)
        .where(Vm.id == vm_id, Vm.removed.is_(None))
    ).first()
    if row is None:
        raise InvalidValue("the machine is gone")
    volumes = tx.execute(
        select(Volume, DiskOffering)
        .outerjoin(DiskOffering, DiskOffering.id == Volume.disk_offering_id)
        .where(Volume.vm_id == vm_id, Volume.removed.is_(None))
        .order_by(Volume.device)
    ).all()
    return _Parts(*row, volumes=[(v, o) for v, o in volumes])


def _place(tx: Session, parts: _Parts, options: Options) -> tuple[Host, dict[int, Pool]]:
    """A host with room, and a pool for each disk: volume id -> pool."""
    vm = parts.vm
    known = {p.id: p for p in _pools_of(tx, parts)}
    need = _need(parts, options, list(known.values()))
    pod = pod_of(tx, vm.id) if parts.zone_type == "Basic" else None
    if pod is not None and vm.last_host_id is not None and need.pod_id is None:
        need = replace(need, pod_id=pod)  # it ran with that address, and stays where the address is
    homeless = [(v, o) for v, o in parts.volumes if v.pool_id is None]
    spaces = {v.id: _space(v, o or parts.root) for v, o in homeless}
    usable = pools.usable(tx, vm.zone_id, vm.account_id) if homeless else []
    found = hosts.candidates(tx, need)
    if options.last_host and vm.last_host_id:
        found.sort(key=lambda h: h.id != vm.last_host_id)
    storage: set[str] = set()
    guard = hosts.guard(tx, need)
    for host in found:
        if not hosts.take(tx, host.id, need.cpu, need.memory, condition=guard):
            continue
        places = _pools_on(tx, host, spaces, usable)
        if places is not None:
            if pod not in (None, host.pod_id):
                move_to_pod(tx, vm, host.pod_id)
            by_volume = {v.id: known[v.pool_id] for v, _ in parts.volumes if v.pool_id is not None}
            return host, by_volume | places
        _untake(tx, host, need)
        storage |= {r for s in spaces.values() for r in pools.refusals(usable, s)}
    if found and storage:
        raise NoCapacity(f"No pool can take the disks of {spoken(vm)}: {'; '.join(sorted(storage))}")
    raise hosts.refused(tx, need, spoken(vm), sorted(storage))


def _need(parts: _Parts, options: Options, known: list[Pool]) -> Need:
    vm = parts.vm
    need = Need(
        zone_id=vm.zone_id,
        hypervisor=vm.hypervisor,
        cpu=vm.cpus * vm.speed,
        memory=vm.memory * 2**20,
        pod_id=options.pod_id,
        cluster_id=options.cluster_id,
        host_id=options.host_id,
        tags=tuple(t.strip() for t in (parts.offering.host_tag or "").split(",") if t.strip()),
        account_id=vm.account_id,
    )
    for pool in known:  # a disk that is somewhere already decides where its machine may run
        if pool.scope == "HOST":
            need = replace(need, host_id=pool.host_id)
        elif pool.scope == "CLUSTER":
            need = replace(need, cluster_id=pool.cluster_id)
    return need


def _space(volume: Volume, offering: DiskOffering) -> Space:
    tags = tuple(t.strip() for t in (offering.tags or "").split(",") if t.strip())
    return Space(volume.size, offering.storage_type == "local", tags)


def _pools_of(tx: Session, parts: _Parts) -> list[Pool]:
    ids = {v.pool_id for v, _ in parts.volumes if v.pool_id is not None}
    return list(tx.scalars(select(Pool).where(Pool.id.in_(ids)))) if ids else []


def _pools_on(tx: Session, host: Host, spaces: dict[int, Space], usable: list[Pool]) -> dict[int, Pool] | None:
    places: dict[int, Pool] = {}
    for volume, space in spaces.items():
        pool = pools.choose(tx, usable, host, space)
        if pool is None:
            for other, taken in places.items():
                pools.give_back(tx, taken.id, spaces[other].size)
            return None
        places[volume] = pool
    return places


def _untake(tx: Session, host: Host, need: Need) -> None:
    tx.execute(
        update(Host)
        .where(Host.id == host.id)
        .values(
            cpu_used=Host.cpu_used - need.cpu, memory_used=Host.memory_used - need.memory, machines=Host.machines - 1
        )
        .execution_options(synchronize_session=False)
    )


def _disks(tx: Session, parts: _Parts, places: dict[int, Pool]) -> tuple[list[Disk], list[Disk], list[Fetch]]:
    """All disks, those to be created, and the templates to be fetched for them."""
    disks, create, fetch = [], [], []
    for volume, offering in parts.volumes:
        pool = places[volume.id]
        at_host = at_host_of(pool)
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
            bytes_per_second=limits.bytes_read_rate or 0,
            operations_per_second=limits.iops_read_rate or 0,
        )
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
    row = tx.execute(
        select(TemplateOnStore, ImageStore, Template)
        .join(ImageStore, ImageStore.id == TemplateOnStore.store_id)
        .join(Template, Template.id == TemplateOnStore.template_id)
        .where(
            TemplateOnStore.template_id == volume.template_id,
            TemplateOnStore.zone_id == volume.zone_id,
            TemplateOnStore.state == "Ready",
            ImageStore.removed.is_(None),
        )
        .limit(1)
    ).first()
    if row is None:
        raise Unavailable(
            "the template of this machine is not ready on the zone's secondary storage: see its status in listTemplates"
        )
    on_store, store, template = row
    image = Image(
        uuid=template.uuid,
        store=Store(store.url, {k: str(v) for k, v in store.details.items()}),
        path=on_store.path,
        format=template.format,
        size=on_store.physical_size,
        virtual_size=on_store.size,
        checksum=template.checksum or "",
    )
    return "", [Fetch(template.id, pool.id, at_host, image)]


def at_host_of(pool: Pool) -> PoolAtHost:
    return PoolAtHost(pool.uuid, pool.type, pool.path, pool.server, {k: str(v) for k, v in pool.details.items()})


def _machine(parts: _Parts, disks: tuple[Disk, ...], nics: tuple[Nic, ...]) -> Machine:
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
        vnc_password=vm.vnc_password or "",
        boot_arguments=str(vm.details.get("boot_arguments", "")) if vm.kind != "User" else "",
        details={k: str(v) for k, v in vm.details.items() if k != "boot_arguments"} if vm.kind == "User" else {},
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
    return _machine(parts, tuple(disks), tuple(nics))


def make(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine) -> MachineState:
    """Create the missing disks and start."""
    for disk in create:
        disks.create_disk(uuid5(call, disk.name), host, disk)
    return dispatch.start(uuid5(call, "start"), host, machine)


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
    """Undo of `begin`."""
    vm = tx.get_one(Vm, vm_id)
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
    volumes = list(tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.removed.is_(None))))
    for volume in volumes:
        VOLUME_STATES.move(tx, volume.id, volume.state, "Expunged", removed=now(), slot=None)
    counted.volumes_go(tx, volumes)
