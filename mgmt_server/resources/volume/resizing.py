"""Disks of another size, and of another offering."""

from __future__ import annotations

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.volume import resize, sites
from mgmt_server.resources.volume.locks import check_state, check_user_disk, lock_of
from mgmt_server.resources.volume.offerings import check_offering
from mgmt_server.resources.volume.resize import Change
from mgmt_server.resources.volume.sizes import GIB, check_custom, checked, operations, size_of
from mgmt_server.resources.volume.views import volume_view

RESIZABLE = ("Allocated", "Ready")


@command("resizeVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.RESIZE")
def resize_volume(
    ctx: Context,
    id: Operate[Volume],
    size: int | None = None,
    diskofferingid: Use[DiskOffering] | None = None,
    miniops: int | None = None,
    maxiops: int | None = None,
    shrinkok: bool = False,
    automigrate: bool = False,
) -> Accepted:
    """Change a disk's size: to a larger one also while its machine runs.

    id: the disk
    size: GiB, where its offering leaves that open, or of a root disk
    diskofferingid: another offering for it
    miniops: operations a second that it always gets, where the offering leaves that open
    maxiops: operations a second that it gets at most, where the offering leaves that open
    shrinkok: whether it may become smaller, which loses what is at its end; only while no machine runs with it
    automigrate: whether it may move to another pool when its own lacks the offering's tags
    """
    if size is None and diskofferingid is None and miniops is None and maxiops is None:
        raise InvalidValue("Nothing to change: send size, diskofferingid, or miniops and maxiops")
    return _start(ctx, id, size, diskofferingid, (miniops, maxiops), shrinkok, automigrate)


@command("changeOfferingForVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.CHANGE.DISK.OFFERING")
def change_offering(
    ctx: Context,
    id: Operate[Volume],
    diskofferingid: Use[DiskOffering],
    size: int | None = None,
    miniops: int | None = None,
    maxiops: int | None = None,
    shrinkok: bool = False,
    automigrate: bool = False,
) -> Accepted:
    """Give a disk another offering: its limits at once, also while its machine runs.

    id: the disk
    diskofferingid: the offering
    size: GiB, where the offering leaves that open; what it has by default
    miniops: operations a second that it always gets, where the offering leaves that open
    maxiops: operations a second that it gets at most, where the offering leaves that open
    shrinkok: whether it may become smaller, which loses what is at its end; only while no machine runs with it
    automigrate: whether it may move to another pool when its own lacks the offering's tags
    """
    if diskofferingid.id == id.disk_offering_id and size is None and miniops is None:
        raise InvalidValue(f"The disk {id.name} has the offering {diskofferingid.name} already")
    return _start(ctx, id, size, diskofferingid, (miniops, maxiops), shrinkok, automigrate)


def _start(
    ctx: Context,
    volume: Volume,
    size: int | None,
    offering: DiskOffering | None,
    iops: tuple[int | None, int | None],
    shrink: bool,
    migrate: bool,
) -> Accepted:
    check_user_disk(ctx.session, volume)
    check_state(volume, RESIZABLE, "it cannot be resized")
    before = sites.offering_of(ctx.session, volume)
    if offering is not None:
        check_offering(ctx, offering, ctx.session.get_one(Zone, volume.zone_id))
    if before is not None and before.disk_size_strictness and (offering is not None or size is not None):
        raise InvalidValue(f"The offering {before.name} of the disk {volume.name} does not let it change its size")
    after = offering or before
    bytes_ = _size(volume, size, offering, before)
    if bytes_ < volume.size and not shrink:
        raise InvalidValue(
            f"The disk {volume.name} would become smaller, from {volume.size // GIB} to {bytes_ // GIB} GiB, and lose "
            "what is at its end: send shrinkok=true if that is meant"
        )
    least, most = operations(after, *iops, before=volume) if after is not None else (None, None)
    change = Change(bytes_, after.id if after is not None else None, least, most, migrate)
    resize.check(ctx.session, volume, change)
    ctx.describe(f"changing disk {volume.name}")
    return ctx.start(resize.resize, volume, volume.vm_id, change, lock=lock_of(volume))


def _size(volume: Volume, size: int | None, offering: DiskOffering | None, before: DiskOffering | None) -> int:
    if offering is not None:
        return size_of(offering, size if size is not None or not offering.customized else -(-volume.size // GIB))
    if size is None:
        return volume.size
    if volume.kind == "ROOT":
        return checked(size * GIB)
    if before is not None and not before.customized:
        raise InvalidValue(f"The offering {before.name} has a size of its own: send diskofferingid for another")
    check_custom(size)
    return checked(size * GIB)
