"""Machines that get another offering: stopped, or growing while they run."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, growth, tags
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.projects import check_active
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import InvalidValue, NoCapacity
from mgmt_server.jobs import Accepted, Job
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering, OfferedTo, ServiceOffering
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import details as rules
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.shape import CHOSEN, CPUS_AT_MOST, MEMORY_AT_MOST, SCALING, Shape, shape_of
from mgmt_server.resources.vm.views import vm_view
from mgmt_server.resources.vmsnapshot.rows import refuse_with_snapshots
from mgmt_server.resources.volume import resize

DISK_TOO = Setting(
    "allow.diskoffering.change.during.scale.vm",
    "Whether a machine's root disk takes the disk offering of the machine's new offering",
)
OTHER_TAGS = Setting(
    "allow.different.host.tags.offerings.for.vm.scale",
    "Whether a machine may get an offering that lacks host tags of the one that it has",
)


@dataclass(frozen=True)
class Size:
    """What a machine has, or shall have, of its offering."""

    offering_id: int
    shape: Shape
    chosen: dict[str, str]  # in its details, where the offering leaves something open
    ha: bool


@dataclass(frozen=True)
class Growth:
    """Where a running machine grows."""

    host: HostRef
    name: str


@command("scaleVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.UPGRADE")
def scale(
    ctx: Context,
    id: Operate[Vm],
    serviceofferingid: Use[ServiceOffering],
    details: dict[str, str] | None = None,
    automigrate: bool = False,
    shrinkok: bool = False,
    miniops: int | None = None,
    maxiops: int | None = None,
) -> Accepted:
    """Give a machine another offering. One that runs can only grow, as far as it was started for.

    id: the machine
    serviceofferingid: its new offering; the same one again where its owner chooses the size
    details: cpuNumber, cpuSpeed and memory, where the offering leaves them open
    automigrate: whether the root disk may move to a pool that fits its new offering
    shrinkok: accepted; a root disk never becomes smaller
    miniops: operations a second that the root disk always gets, where its new offering leaves that open
    maxiops: operations a second that it gets at most, where its new offering leaves that open
    """
    only_users(id)
    check_active(ctx.session, id)
    after = wanted(ctx, id, serviceofferingid, details)
    disk, change = _disk(ctx.session, id, serviceofferingid, automigrate, miniops, maxiops)
    ctx.describe(f"giving machine {id.display_name} the offering {serviceofferingid.name}")
    return ctx.start(change_size, id, after, disk, change)


@command("changeServiceForVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.UPGRADE")
def change_service(
    ctx: Context,
    id: Operate[Vm],
    serviceofferingid: Use[ServiceOffering],
    details: dict[str, str] | None = None,
    automigrate: bool = False,
    shrinkok: bool = False,
    miniops: int | None = None,
    maxiops: int | None = None,
) -> Vm:
    """Give a stopped machine another offering. Its root disk stays as it is; scaleVirtualMachine changes that too.

    id: the machine
    serviceofferingid: its new offering
    details: cpuNumber, cpuSpeed and memory, where the offering leaves them open
    automigrate: accepted; the root disk stays
    shrinkok: accepted; the root disk stays
    miniops: not supported here
    maxiops: not supported here
    """
    only_users(id)
    if id.state != "Stopped":
        raise InvalidValue(f"The machine {id.display_name} is {id.state}: stop it first, or use scaleVirtualMachine")
    if miniops is not None or maxiops is not None:
        raise InvalidValue("miniops and maxiops are for scaleVirtualMachine: leave them out")
    check_active(ctx.session, id)
    take_on(ctx.session, id.id, size_of(ctx.session, id.id), wanted(ctx, id, serviceofferingid, details))
    ctx.session.refresh(id)
    ctx.describe(f"giving machine {id.display_name} the offering {serviceofferingid.name}")
    return id


def wanted(ctx: Context, vm: Vm, offering: ServiceOffering, details: dict[str, str] | None) -> Size:
    """What the machine shall have. Raises InvalidValue for an offering that does not suit it."""
    tx, sent = ctx.session, rules.given(ctx, details)
    before = tx.get_one(ServiceOffering, vm.service_offering_id)
    strange = [k for k in sent if k not in CHOSEN]
    if strange:
        raise InvalidValue(f"details: {', '.join(strange)[:200]} is changed with updateVirtualMachine, not here")
    if offering.is_system:
        raise InvalidValue(f"The offering {offering.name} is for system VMs")
    if offering.id == before.id and not offering.customized:
        raise InvalidValue(f"The machine {vm.display_name} has the offering {offering.name} already")
    zones = set(tx.scalars(select(OfferedTo.zone_id).where(OfferedTo.offering == offering.uuid))) - {None}
    if zones and vm.zone_id not in zones:
        raise InvalidValue(f"The offering {offering.name} is not for the machine's zone")
    disks = [tx.get_one(DiskOffering, o.disk_offering_id) for o in (before, offering)]
    if disks[0].storage_type != disks[1].storage_type:
        raise InvalidValue(f"The offering {offering.name} is for {disks[1].storage_type} storage, unlike the present")
    lost = set(counted.words(before.host_tag)) - set(counted.words(offering.host_tag))
    if lost and not OTHER_TAGS.flag():
        raise InvalidValue(f"The offering {offering.name} lacks host tags that the present one has ({OTHER_TAGS.name})")
    # what is not said stays as it is, where the new offering leaves it open
    kept = {"cpuNumber": vm.cpus, "cpuSpeed": vm.speed, "memory": vm.memory} if offering.customized else {}
    shape = shape_of(offering, {k: str(v) for k, v in kept.items()} | sent)
    open_ends = {"cpuNumber": shape.cpus, "cpuSpeed": shape.speed, "memory": shape.memory}
    chosen = {k: str(v) for k, v in open_ends.items()} if offering.customized else {}
    after = Size(offering.id, shape, chosen, offering.offer_ha)
    if vm.state == "Running":
        _check_running(tx, vm, offering, shape)
    elif vm.state != "Stopped":
        raise InvalidValue(f"The machine {vm.display_name} is {vm.state}: it has to run or to be stopped")
    return after


def _check_running(tx: Session, vm: Vm, offering: ServiceOffering, after: Shape) -> None:
    """Raises InvalidValue where a running machine cannot grow to that."""
    stop = "stop it first"
    if not vm.dynamically_scalable or not offering.dynamic_scaling or not SCALING.flag(Scope("Zone", vm.zone_id)):
        raise InvalidValue(
            f"The machine {vm.display_name} runs, and cannot be scaled while it does: its template, both offerings and "
            f"the zone's setting {SCALING.name} have to allow it when it starts; {stop}"
        )
    if after.cpus < vm.cpus or after.speed < vm.speed or after.memory < vm.memory:
        raise InvalidValue(
            f"Only scaling up the vm is supported while it runs: it has {vm.cpus} CPUs of {vm.speed} MHz and "
            f"{vm.memory} MiB; {stop}"
        )
    cpus, memory = int(vm.details.get(CPUS_AT_MOST, 0)), int(vm.details.get(MEMORY_AT_MOST, 0))
    if after.cpus > cpus or after.memory > memory:
        raise InvalidValue(
            f"The machine {vm.display_name} was started to grow up to {cpus} CPUs and {memory} MiB; {stop}"
        )
    refuse_with_snapshots(tx, vm.id, "it cannot be scaled while it runs")
    host = tx.get_one(Host, vm.host_id)
    lacking = tags.lacking_strict(host, counted.words(offering.host_tag))
    if lacking:
        raise InvalidValue(f"The host of the machine {lacking}, for which {offering.name} asks; {stop}")


def _disk(
    tx: Session, vm: Vm, offering: ServiceOffering, migrate: bool, least: int | None, most: int | None
) -> tuple[int | None, resize.Change | None]:
    """The root disk that changes with the machine, and to what. None where it stays as it is."""
    root = tx.scalar(select(Volume).where(Volume.vm_id == vm.id, Volume.slot == 0))
    changes = DISK_TOO.flag(Scope("Zone", vm.zone_id)) and root is not None
    if not changes or root is None or root.disk_offering_id == offering.disk_offering_id:
        if least is not None or most is not None:
            raise InvalidValue("miniops and maxiops are for a root disk that changes its offering: leave them out")
        return None, None
    size = max(root.size, offering.root_disk_size or 0)
    change = resize.Change(size, offering.disk_offering_id, least, most, migrate)
    resize.check(tx, root, change)
    return root.id, change


def change_size(job: Job, vm_id: int, after: Size, disk_id: int | None, change: resize.Change | None) -> None:
    before = job.write(size_of, vm_id)
    grown = job.write(take_on, vm_id, before, after, undo=go_back)
    if grown is not None:
        shape = after.shape
        job.call(dispatch.scale, grown.host, grown.name, shape.cpus, shape.speed, shape.memory * 2**20)
    if disk_id is not None and change is not None:
        resize.resize(job, disk_id, vm_id, change)


def size_of(tx: Session, vm_id: int) -> Size:
    vm = tx.get_one(Vm, vm_id)
    chosen = {k: str(v) for k, v in vm.details.items() if k in CHOSEN}
    return Size(vm.service_offering_id, Shape(vm.cpus, vm.speed, vm.memory), chosen, vm.ha_enabled)


def take_on(tx: Session, vm_id: int, before: Size, after: Size) -> Growth | None:
    """What the machine has from now on, and where a running one grows. Host and limits give more or refuse."""
    vm = tx.get_one(Vm, vm_id, with_for_update=True)
    if vm.state not in ("Running", "Stopped"):
        raise InvalidValue(f"The machine {vm.display_name} is {vm.state}: it has to run or to be stopped")
    running = vm.state == "Running"
    if running:
        _check_running(tx, vm, tx.get_one(ServiceOffering, after.offering_id), after.shape)
        if not growth.grow(tx, vm.host_id or 0, *_more(before.shape, after.shape)):
            host = tx.get_one(Host, vm.host_id)
            raise NoCapacity(
                f"The machine's host has no room for {after.shape.cpus} CPUs and {after.shape.memory} MiB: move the "
                "machine, or stop it first",
                inventory=f"{host.name} has no room for {after.shape}",
            )
    _become(tx, vm, after)
    if not running:
        return None
    host = tx.get_one(Host, vm.host_id)
    return Growth(storage.ref(host), vm.instance)


def go_back(tx: Session, vm_id: int, before: Size, after: Size) -> None:
    """Undo of `take_on`."""
    vm = tx.get_one(Vm, vm_id, with_for_update=True)
    if vm.state == "Running" and vm.host_id is not None:
        growth.shrink(tx, vm.host_id, *_more(before.shape, after.shape))
    _become(tx, vm, before)


def _more(before: Shape, after: Shape) -> tuple[int, int]:
    """MHz and bytes."""
    cpu = after.cpus * after.speed - before.cpus * before.speed
    return cpu, (after.memory - before.memory) * 2**20


def _become(tx: Session, vm: Vm, size: Size) -> None:
    counted.machine_goes(tx, vm)
    if vm.reserved:
        counted.machine_rests(tx, vm)
    vm.service_offering_id, vm.ha_enabled = size.offering_id, size.ha
    vm.cpus, vm.speed, vm.memory = size.shape.cpus, size.shape.speed, size.shape.memory
    vm.details = {k: v for k, v in vm.details.items() if k not in CHOSEN} | size.chosen
    tx.flush()
    counted.machine_comes(tx, vm)
    if vm.reserved:
        counted.machine_starts(tx, vm)
