"""New disks: blank ones, and such as hold what a snapshot holds."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.allocation import counted
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import UUID_TEXT, Operate, Use
from mgmt_server.api.projects import check_active
from mgmt_server.db import new_uuid
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.snapshot.rows import usable_in
from mgmt_server.resources.volume import flows, sites
from mgmt_server.resources.volume.fitting import check_machine
from mgmt_server.resources.volume.offerings import check_offering, open_offering
from mgmt_server.resources.volume.sizes import operations, size_of
from mgmt_server.resources.volume.views import volume_view


@command("createVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.CREATE")
def create(
    ctx: Context,
    name: str | None = None,
    diskofferingid: Use[DiskOffering] | None = None,
    snapshotid: Use[Snapshot] | None = None,
    zoneid: Use[Zone] | None = None,
    size: int | None = None,
    miniops: int | None = None,
    maxiops: int | None = None,
    virtualmachineid: Operate[Vm] | None = None,
    storageid: Use[Pool] | None = None,
    displayvolume: bool = True,
    customid: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Accepted:
    """Create a disk. A blank one gets its place on storage when a machine first has it.

    name: its name; made up by default
    diskofferingid: what it gets; of a disk made from a snapshot, that of the snapshot's disk by default
    snapshotid: the snapshot whose content it shall hold
    zoneid: the zone; the machine's or the snapshot's by default
    size: GiB, where the offering leaves that open
    miniops: operations a second that it always gets, where the offering leaves that open
    maxiops: operations a second that it gets at most, where the offering leaves that open
    virtualmachineid: the machine to attach it to
    storageid: the pool in which it shall be at once
    displayvolume: whether users see it
    customid: its id
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    if diskofferingid is None and snapshotid is None:
        raise InvalidValue("diskofferingid and snapshotid are missing: send one of them")
    vm = virtualmachineid
    named = account or domainid or projectid
    whose = (
        ctx.session.get_one(Account, vm.account_id) if vm and not named else owner(ctx, account, domainid, projectid)
    )
    offering = diskofferingid or _of_snapshot(ctx, snapshotid)
    zone = _zone(ctx, zoneid, snapshotid, vm)
    check_offering(ctx, offering, zone)
    if snapshotid is not None:
        usable_in(ctx.session, snapshotid, zone.id)
    bytes_ = size_of(offering, size, snapshotid.size if snapshotid is not None else 0)
    least, most = operations(offering, miniops, maxiops)
    volume = Volume(
        uuid=_own_uuid(ctx, customid),
        name=name or new_uuid(),
        kind="DATADISK",
        size=bytes_,
        zone_id=zone.id,
        account_id=whose.id,
        domain_id=whose.domain_id,
        disk_offering_id=offering.id,
        provisioning=offering.provisioning,
        min_iops=least,
        max_iops=most,
        snapshot_id=snapshotid.id if snapshotid is not None else None,
        display=displayvolume,
        details={},
    )
    if vm is not None:
        check_active(ctx.session, vm)
        check_machine(ctx.session, volume, vm)
    if storageid is not None:
        sites.check_pool(storageid, volume)
    ctx.session.add(volume)
    ctx.session.flush()
    counted.volumes_come(ctx.session, [volume])
    ctx.describe(f"creating disk {volume.name}")
    lock = f"vm:{vm.id}" if vm is not None else f"volume:{volume.id}"
    return ctx.start(flows.create, volume, storageid and storageid.id, vm and vm.id, lock=lock)


def _zone(ctx: Context, zone: Zone | None, snapshot: Snapshot | None, vm: Vm | None) -> Zone:
    number = vm.zone_id if vm is not None else snapshot.zone_id if snapshot is not None and zone is None else None
    if zone is None:
        if number is None:
            raise InvalidValue("zoneid is missing: say in which zone the disk shall be")
        zone = ctx.session.get_one(Zone, number)
    elif vm is not None and zone.id != vm.zone_id:
        raise InvalidValue(f"The machine {vm.display_name or vm.name} is in another zone than {zone.name}")
    if zone.allocation_state != "Enabled" and not ctx.caller.is_root:
        raise InvalidValue(f"The zone {zone.name} is disabled: only root administrators make disks there")
    return zone


def _of_snapshot(ctx: Context, snapshot: Snapshot | None) -> DiskOffering:
    """The offering of the snapshot's disk; where that was a machine's root disk, one whose size users choose."""
    volume = ctx.session.get(Volume, snapshot.volume_id) if snapshot is not None else None
    offering = sites.offering_of(ctx.session, volume) if volume is not None else None
    if offering is not None and not offering.compute_only and offering.removed is None:
        return offering
    found = open_offering(ctx)
    if found is None:
        raise InvalidValue("There is no disk offering of a custom size to use: send diskofferingid")
    return found


def _own_uuid(ctx: Context, text: str | None) -> str:
    if text is None:
        return new_uuid()
    if not ctx.caller.is_root:
        raise InvalidValue("customid is for root administrators: leave it out")
    if not UUID_TEXT.fullmatch(text):
        raise InvalidValue(f"customid={text[:100]} is no UUID")
    if ctx.session.scalar(select(Volume.id).where(Volume.uuid == text.lower())) is not None:
        raise InvalidValue(f"customid={text} is the id of another disk: choose another")
    return text.lower()
