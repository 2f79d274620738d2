"""The disks that a machine is deployed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import no_entity
from mgmt_server.errors import InvalidValue
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.volume import sizes

GIB = sizes.GIB
DRIVE = 3  # the device number of the drive for ISOs, which no disk has
MOST = 63  # data disks that one call may ask for


@dataclass(frozen=True)
class Disk:
    """A data disk that was asked for. `size` in GiB, where its offering leaves it open; `template`: what it holds."""

    offering: DiskOffering
    size: int | None = None
    device: int | None = None
    least_operations: int | None = None
    most_operations: int | None = None
    template: Template | None = None

    @property
    def bytes(self) -> int:
        """Raises InvalidValue for a size that is missing, or not the caller's to choose."""
        return sizes.size_of(self.offering, self.size, self.template.size if self.template is not None else 0)


def wished(ctx: Context, rows: Sequence[Mapping[str, str]] | None) -> list[Disk]:
    """The data disks of datadisksdetails."""
    found = []
    for row in rows or ():
        uuid = row.get("diskofferingid", "")
        mine = select(DiskOffering).where(DiskOffering.uuid == uuid, DiskOffering.usable_by(ctx.caller))
        offering = ctx.session.scalar(mine.where(DiskOffering.removed.is_(None)))
        if offering is None:
            raise no_entity("datadisksdetails.diskofferingid", uuid)
        unknown = row.keys() - {"diskofferingid", "size", "deviceid", "miniops", "maxiops"}
        if unknown:
            raise InvalidValue(
                f"datadisksdetails: {', '.join(sorted(unknown))[:100]} is nothing that a data disk has: send "
                "diskofferingid, size, deviceid, miniops and maxiops"
            )
        number = (_whole(row, name) for name in ("size", "deviceid", "miniops", "maxiops"))
        found.append(Disk(offering, *number))
    if len(found) > MOST:
        raise InvalidValue(f"datadisksdetails asks for {len(found)} data disks: at most {MOST} fit on a machine")
    return found


def _whole(row: Mapping[str, str], name: str) -> int | None:
    text = row.get(name, "").strip()
    if text and (not text.isdecimal() or len(text) > 12):
        raise InvalidValue(f"datadisksdetails: {name}={text[:50]} is no number")
    return int(text) if text else None


@dataclass(frozen=True)
class Root:
    """What the root disk is made of: its template or ISO; a disk that is there already, or a snapshot, instead."""

    source: Template  # a template, or the ISO that it will be installed from
    offering: ServiceOffering
    disk: DiskOffering | None = None  # instead of the service offering's own
    size: int | None = None  # GiB
    existing: Volume | None = None
    snapshot: Snapshot | None = None

    @property
    def disk_offering_id(self) -> int:
        return self.disk.id if self.disk is not None else self.offering.disk_offering_id


def check_open(root: Root) -> None:
    """Raises InvalidValue for a size of the root disk that is not the caller's to choose."""
    if root.existing is not None and (root.size is not None or root.disk is not None):
        raise InvalidValue(
            f"The disk {root.existing.name} keeps its size and offering: leave rootdisksize and "
            "overridediskofferingid out"
        )
    if root.disk is not None:
        name, own = root.disk.name, 0 if root.disk.customized else root.disk.size
    else:
        name, own = root.offering.name, root.offering.root_disk_size or 0
    if own and root.size is not None and root.size * GIB != own:
        raise InvalidValue(
            f"The offering {name} gives a root disk of {own // GIB} GiB: leave rootdisksize out, or choose another "
            "offering"
        )


def root_size(root: Root) -> int:
    """Bytes of a new root disk. Raises InvalidValue for less than the template has."""
    name = "snapshot" if root.snapshot is not None else "template" if root.source.format != "ISO" else "ISO"
    least = root.snapshot.size if root.snapshot is not None else root.source.size or GIB if name == "template" else 0
    if root.size is not None:
        if root.size * GIB < max(least, 1):
            raise InvalidValue(f"rootdisksize={root.size} GiB is less than the {name}'s {-(-least // GIB)} GiB")
        return sizes.checked(root.size * GIB)
    if root.disk is not None and not root.disk.customized and root.disk.size:
        if root.disk.size < least:
            raise InvalidValue(f"The disk offering {root.disk.name} is smaller than the {name} {root.source.name}")
        return sizes.checked(root.disk.size)
    if name == "ISO" and not root.offering.root_disk_size:
        raise InvalidValue("The size of the root disk is open: send rootdisksize in GiB")
    return max(root.offering.root_disk_size or 0, least)


def add_root(tx: Session, vm: Vm, root: Root) -> Volume:
    """The root disk, empty until the machine first starts."""
    if root.existing is not None:
        volume = root.existing
        volume.vm_id, volume.kind, volume.device, volume.slot = vm.id, "ROOT", 0, 0
        return volume
    iso = root.source.format == "ISO"
    volume = Volume(
        name=f"ROOT-{vm.id}",
        kind="ROOT",
        size=root_size(root),
        device=0,
        slot=0,
        template_id=None if iso else root.source.id,
        iso_id=root.source.id if iso else None,
        snapshot_id=root.snapshot.id if root.snapshot is not None else None,
        disk_offering_id=root.disk_offering_id,
        **_common(vm),
    )
    tx.add(volume)
    counted.volumes_come(tx, [volume])
    return volume


def add_data(tx: Session, vm: Vm, disks: Sequence[Disk]) -> None:
    """The data disks, each at the place that it asked for or the next free one."""
    taken = {0, DRIVE}
    for disk in disks:
        if disk.device is not None:
            if disk.device in taken:
                raise InvalidValue(f"deviceid={disk.device} is taken, or none that a data disk can have: 1, 2, 4, ...")
            taken.add(disk.device)
    for number, disk in enumerate(disks):
        device = disk.device if disk.device is not None else next(d for d in range(1, 100) if d not in taken)
        taken.add(device)
        least, most = sizes.operations(disk.offering, disk.least_operations, disk.most_operations)
        volume = Volume(
            name=f"DATA-{vm.id}" if number == 0 else f"DATA-{vm.id}-{number}",
            kind="DATADISK",
            size=disk.bytes,
            template_id=disk.template.id if disk.template is not None else None,
            device=device,
            slot=device,
            disk_offering_id=disk.offering.id,
            provisioning=disk.offering.provisioning,
            min_iops=least,
            max_iops=most,
            **_common(vm),
        )
        tx.add(volume)
        counted.volumes_come(tx, [volume])


def _common(vm: Vm) -> dict[str, Any]:
    return {"zone_id": vm.zone_id, "account_id": vm.account_id, "domain_id": vm.domain_id, "vm_id": vm.id}
