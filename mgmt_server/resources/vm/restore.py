"""Reinstalling machines: a new root disk in the place of the old one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.projects import check_active
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted, Job
from mgmt_server.model.offering import DiskOffering, OfferedTo, ServiceOffering
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.template import appliance
from mgmt_server.resources.vm import details as rules
from mgmt_server.resources.vm import flows
from mgmt_server.resources.vm.deploy import first_password
from mgmt_server.resources.vm.firstdisks import GIB, Root, add_root, check_open, root_size
from mgmt_server.resources.vm.networks import unready_of
from mgmt_server.resources.vm.placing import Options
from mgmt_server.resources.vm.release import only_users
from mgmt_server.resources.vm.telling import tell_routers
from mgmt_server.resources.vm.views import vm_view
from mgmt_server.resources.vmsnapshot.rows import refuse_with_snapshots
from mgmt_server.resources.volume import flows as volume_flows


@command("restoreVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.RESTORE")
def restore(
    ctx: Context,
    virtualmachineid: Operate[Vm],
    templateid: Use[Template] | None = None,
    diskofferingid: Use[DiskOffering] | None = None,
    rootdisksize: int | None = None,
    expunge: bool = False,
    details: dict[str, str] | None = None,
) -> Accepted:
    """Reinstall a machine: a new root disk takes the place of the old one, which is destroyed. Data disks stay.

    virtualmachineid: the machine; one that runs is stopped for it and started again
    templateid: the template or ISO that it starts from now; its own by default
    diskofferingid: the root disk's offering, instead of what it has
    rootdisksize: the root disk's size in GiB, instead of what it has
    expunge: whether the old root disk is deleted at once
    details: free key-value pairs that are added to the machine's
    """
    vm, tx = virtualmachineid, ctx.session
    only_users(vm)
    if vm.state not in ("Running", "Stopped"):
        raise InvalidValue(f"The machine {vm.display_name} is {vm.state}: only one that runs or is stopped can be")
    check_active(tx, vm)
    refuse_with_snapshots(tx, vm.id, "it cannot be reinstalled")
    source = templateid or (tx.get(Template, vm.template_id) if vm.template_id is not None else None)
    if source is None:
        raise InvalidValue("The machine has no template of its own: send templateid")
    _check_source(tx, vm, source, diskofferingid)
    root = tx.scalars(select(Volume).where(Volume.vm_id == vm.id, Volume.slot == 0)).one()
    if rootdisksize is not None:
        check_open(_root(tx, vm, source, diskofferingid, rootdisksize, root))
    root_size(_root(tx, vm, source, diskofferingid, rootdisksize, root))
    if details:
        vm.details = {**vm.details, **rules.given(ctx, details)}
    offering = diskofferingid.id if diskofferingid is not None else None
    ctx.describe(f"reinstalling machine {vm.display_name} from {source.name}")
    return ctx.start(reinstall, vm, source.id, offering, rootdisksize, expunge, unready_of(tx, vm))


def rebooting(tx: Session, vm: Vm, forced: bool) -> tuple[Any, tuple[Any, ...]]:
    """The flow of a reboot and its arguments. A machine of a volatile offering comes back with a new root disk."""
    if not tx.get_one(ServiceOffering, vm.service_offering_id).volatile:
        return flows.reboot, (forced,)
    refuse_with_snapshots(tx, vm.id, "it is volatile, and its root disk cannot be made anew")
    source = tx.get(Template, vm.template_id) if vm.template_id is not None else None
    if source is None:
        raise InvalidValue(f"The machine {vm.display_name} is volatile and has no template to be made anew from")
    _check_source(tx, vm, source, None)
    return reinstall, (source.id, None, None, True, unready_of(tx, vm))


def _check_source(tx: Session, vm: Vm, source: Template, disk: DiskOffering | None) -> None:
    iso = appliance.alone(source, "installed").format == "ISO"
    if source.removed is not None or source.type == "SYSTEM":
        raise InvalidValue(f"The template {source.name} is gone or the system's own: send another templateid")
    if not iso and source.hypervisor not in ("None", "Any", "", vm.hypervisor):
        raise InvalidValue(f"The template {source.name} is for {source.hypervisor}, the machine is on {vm.hypervisor}")
    ready = select(TemplateOnStore.id).where(TemplateOnStore.state == "Ready", TemplateOnStore.reachable())
    ready = ready.where(TemplateOnStore.template_id == source.id, TemplateOnStore.zone_id == vm.zone_id)
    if tx.scalar(ready.limit(1)) is None:
        raise InvalidValue(f"The template {source.name} is not ready in the machine's zone: see listTemplates")
    if disk is not None:
        offering = tx.get_one(ServiceOffering, vm.service_offering_id)
        if offering.disk_offering_strict:
            raise InvalidValue(f"The offering {offering.name} has a disk offering of its own: choose no other")
        zones = set(tx.scalars(select(OfferedTo.zone_id).where(OfferedTo.offering == disk.uuid))) - {None}
        if zones and vm.zone_id not in zones:
            raise InvalidValue(f"The offering {disk.name} is not for the machine's zone")


def _other_disk(tx: Session, vm: Vm, root: Volume) -> DiskOffering | None:
    """The offering that the root disk has instead of that of the machine's."""
    own = tx.get_one(ServiceOffering, vm.service_offering_id).disk_offering_id
    return tx.get(DiskOffering, root.disk_offering_id) if root.disk_offering_id not in (None, own) else None


def _root(tx: Session, vm: Vm, source: Template, disk: DiskOffering | None, size: int | None, old: Volume) -> Root:
    """What the new root disk is made of. Of the same template, or of an ISO, it is no smaller than the old one."""
    same = source.format == "ISO" or (disk is None and source.id == vm.template_id)
    if size is None and same and old.size > (source.size or 0):
        size = -(-old.size // GIB)
    return Root(source, tx.get_one(ServiceOffering, vm.service_offering_id), disk or _other_disk(tx, vm, old), size)


def reinstall(
    job: Job,
    vm_id: int,
    source_id: int,
    disk_offering_id: int | None,
    size: int | None,
    expunging: bool,
    networks: list[int],
) -> None:
    """Stop the machine if it runs, change its root disk, start it if it ran."""
    ran = job.write(runs, vm_id)
    flows.stop(job, vm_id, False)
    old = job.write(exchange, vm_id, source_id, disk_offering_id, size)
    tell_routers(job, vm_id)
    volume_flows.destroy(job, old, expunging)
    password = job.write(flows.password_of, vm_id)
    if ran:
        flows.start(job, vm_id, Options(), networks, [])
    if password:
        job.answer(password=password)


def runs(tx: Session, vm_id: int) -> bool:
    return tx.get_one(Vm, vm_id).state == "Running"


def exchange(tx: Session, vm_id: int, source_id: int, disk_offering_id: int | None, size: int | None) -> int:
    """A new, empty root disk in the place of the old one, whose number is the answer; and a new password."""
    vm = tx.get_one(Vm, vm_id, with_for_update=True)
    if vm.state != "Stopped":
        raise InvalidValue(f"The machine {vm.display_name} is {vm.state}: it has to be stopped to be reinstalled")
    source = tx.get_one(Template, source_id)
    old = tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.slot == 0)).one()
    disk = tx.get_one(DiskOffering, disk_offering_id) if disk_offering_id is not None else None
    root = _root(tx, vm, source, disk, size, old)
    free = update(Volume).where(Volume.id == old.id).values(vm_id=None, slot=None, device=None, attached=None)
    tx.execute(free.execution_options(synchronize_session=False))
    tx.expire(old)
    add_root(tx, vm, root)
    counted.machine_goes(tx, vm)  # a template's tag may be limited apart
    vm.template_id, vm.os_type_id = source.id, source.os_type_id or vm.os_type_id
    counted.machine_comes(tx, vm)
    if source.format == "ISO":
        vm.iso_id = source.id
    vm.password = first_password(source, None)
    tx.flush()
    return old.id
