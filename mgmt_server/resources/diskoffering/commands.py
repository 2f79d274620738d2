"""Disk offerings: what a disk gets."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.allocation.counted import words
from mgmt_server.allocation.tags import lacking
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Domain
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import assign, one_of
from mgmt_server.resources.offering.rules import (
    CACHE,
    STATES,
    absent,
    check_bursts,
    disk_columns,
    rate_columns,
    storage_tags,
)
from mgmt_server.resources.offering.scope import check_tags, offer, offer_anew, usable_in
from mgmt_server.resources.offering.views import GIB, disk_offering_view

LARGEST = 1024 * 64  # GiB


@command(
    "createDiskOffering",
    roles=ADMINS,
    answers=disk_offering_view,
    event="DISK.OFFERING.CREATE",
    unsupported=("hypervisorsnapshotreserve", "storagepolicy"),
)
def create(
    ctx: Context,
    name: str,
    displaytext: str | None = None,
    disksize: int | None = None,
    customized: bool = False,
    storagetype: str = "shared",
    provisioningtype: str = "thin",
    cachemode: str | None = None,
    tags: str | None = None,
    displayoffering: bool = True,
    disksizestrictness: bool = False,
    encrypt: bool = False,
    customizediops: bool | None = None,
    miniops: int | None = None,
    maxiops: int | None = None,
    bytesreadrate: int | None = None,
    bytesreadratemax: int | None = None,
    bytesreadratemaxlength: int | None = None,
    byteswriterate: int | None = None,
    byteswriteratemax: int | None = None,
    byteswriteratemaxlength: int | None = None,
    iopsreadrate: int | None = None,
    iopsreadratemax: int | None = None,
    iopsreadratemaxlength: int | None = None,
    iopswriterate: int | None = None,
    iopswriteratemax: int | None = None,
    iopswriteratemaxlength: int | None = None,
    details: dict[str, str] | None = None,
    domainid: list[Use[Domain]] | None = None,
    zoneid: list[Use[Zone]] | None = None,
) -> DiskOffering:
    """Offer disks of a size.

    name: its name
    displaytext: what users read; the name by default
    disksize: GiB
    customized: whether users choose the size
    storagetype: shared or local
    provisioningtype: thin, sparse or fat
    cachemode: none, writeback, writethrough or hypervisor_default
    tags: tags that a pool needs
    displayoffering: whether users see it
    disksizestrictness: whether disks keep their size
    encrypt: not supported; false is accepted
    customizediops: whether users choose the operations a second
    miniops: operations a second that a disk always gets
    maxiops: operations a second that it gets at most
    bytesreadrate: bytes a second read
    bytesreadratemax: the same in bursts
    bytesreadratemaxlength: seconds that such a burst may last
    byteswriterate: bytes a second written
    byteswriteratemax: the same in bursts
    byteswriteratemaxlength: seconds that such a burst may last
    iopsreadrate: reads a second
    iopsreadratemax: the same in bursts
    iopsreadratemaxlength: seconds that such a burst may last
    iopswriterate: writes a second
    iopswriteratemax: the same in bursts
    iopswriteratemaxlength: seconds that such a burst may last
    details: free key-value pairs
    domainid: the domains that it is for; all by default
    zoneid: the zones that it is in; all by default
    """
    absent(encrypt=encrypt)
    if customized and disksize is not None:
        raise InvalidValue("Disksize is not allowed for a customized disk offering: leave it out, or customized")
    if not customized and not 1 <= (disksize or 0) <= LARGEST:
        raise InvalidValue(f"Please specify a disk size of at least 1 GB (and {LARGEST} at most) as disksize")
    columns = disk_columns(
        provisioningtype=provisioningtype, storagetype=storagetype, cachemode=cachemode, customizediops=customizediops,
        miniops=miniops, maxiops=maxiops, tags=tags, bytesreadrate=bytesreadrate, bytesreadratemax=bytesreadratemax,
        byteswriterate=byteswriterate, byteswriteratemax=byteswriteratemax, iopsreadrate=iopsreadrate,
        iopsreadratemax=iopsreadratemax, iopswriterate=iopswriterate, iopswriteratemax=iopswriteratemax,
        bytesreadratemaxlength=bytesreadratemaxlength,
        byteswriteratemaxlength=byteswriteratemaxlength, iopsreadratemaxlength=iopsreadratemaxlength,
        iopswriteratemaxlength=iopswriteratemaxlength,
    )  # fmt: skip
    offering = DiskOffering(
        name=name,
        display_text=displaytext or name,
        size=(disksize or 0) * GIB,
        customized=customized,
        display=displayoffering,
        disk_size_strictness=disksizestrictness,
        details=details or {},
        **columns,
    )
    ctx.session.add(offering)
    ctx.session.flush()
    check_tags(ctx, tags)
    offer(ctx, offering, domainid, zoneid)
    ctx.describe(f"creating disk offering {name}")
    return offering


@command(
    "updateDiskOffering",
    roles=ADMINS,
    answers=disk_offering_view,
    event="DISK.OFFERING.EDIT",
)
def update(
    ctx: Context,
    id: Operate[DiskOffering],
    name: str | None = None,
    displaytext: str | None = None,
    displayoffering: bool | None = None,
    sortkey: int | None = None,
    state: str | None = None,
    cachemode: str | None = None,
    tags: str | None = None,
    bytesreadrate: int | None = None,
    bytesreadratemax: int | None = None,
    bytesreadratemaxlength: int | None = None,
    byteswriterate: int | None = None,
    byteswriteratemax: int | None = None,
    byteswriteratemaxlength: int | None = None,
    iopsreadrate: int | None = None,
    iopsreadratemax: int | None = None,
    iopsreadratemaxlength: int | None = None,
    iopswriterate: int | None = None,
    iopswriteratemax: int | None = None,
    iopswriteratemaxlength: int | None = None,
    domainid: str | None = None,
    zoneid: str | None = None,
) -> DiskOffering:
    """Change a disk offering. Its size stays; disks that have it take the rest at their machine's next start.

    id: the disk offering
    name: its new name
    displaytext: what users read
    displayoffering: whether users see it
    sortkey: its place in lists, the lowest first
    state: Active or Inactive; an inactive one is not offered any more
    cachemode: none, writeback, writethrough or hypervisor_default
    tags: tags that a pool needs; empty: any pool will do
    bytesreadrate: bytes a second read
    bytesreadratemax: the same in bursts
    bytesreadratemaxlength: seconds that such a burst may last
    byteswriterate: bytes a second written
    byteswriteratemax: the same in bursts
    byteswriteratemaxlength: seconds that such a burst may last
    iopsreadrate: reads a second
    iopsreadratemax: the same in bursts
    iopsreadratemaxlength: seconds that such a burst may last
    iopswriterate: writes a second
    iopswriteratemax: the same in bursts
    iopswriteratemaxlength: seconds that such a burst may last
    domainid: ids of the domains that it is for, or public
    zoneid: ids of the zones that it is in, or all
    """
    rates = {
        "bytesreadrate": bytesreadrate, "bytesreadratemax": bytesreadratemax, "byteswriterate": byteswriterate,
        "byteswriteratemax": byteswriteratemax, "iopsreadrate": iopsreadrate, "iopsreadratemax": iopsreadratemax,
        "iopswriterate": iopswriterate, "iopswriteratemax": iopswriteratemax,
        "bytesreadratemaxlength": bytesreadratemaxlength, "byteswriteratemaxlength": byteswriteratemaxlength,
        "iopsreadratemaxlength": iopsreadratemaxlength, "iopswriteratemaxlength": iopswriteratemaxlength,
    }  # fmt: skip
    changes = {
        "name": name,
        "display_text": displaytext,
        "display": displayoffering,
        "sort_key": sortkey,
        "state": one_of("state", state, STATES),
        "cache_mode": one_of("cachemode", cachemode, CACHE),
        "tags": storage_tags(tags),
        **rate_columns(rates),
    }
    free_pool = ctx.emptied("tags") and bool(id.tags)
    check_tags(ctx, tags, gone=free_pool)
    assign(id, changes)
    if free_pool:
        id.tags = None
    check_bursts(lambda column: getattr(id, column))
    offer_anew(ctx, id, domainid, zoneid)
    ctx.describe(f"changing disk offering {id.name}")
    return id


@command("deleteDiskOffering", roles=ADMINS, event="DISK.OFFERING.DELETE")
def delete(ctx: Context, id: Operate[DiskOffering]) -> None:
    """Offer a disk offering no longer. Disks that have it keep it.

    id: the disk offering
    """
    id.removed, id.state = now(), "Inactive"
    ctx.describe(f"deleting disk offering {id.name}")


@command("listDiskOfferings", roles=EVERYONE, answers=disk_offering_view)
def list_offerings(
    ctx: Context,
    id: Use[DiskOffering] | None = None,
    name: str | None = None,
    state: str | None = None,
    storagetype: str | None = None,
    encrypt: bool = False,
    domainid: Use[Domain] | None = None,
    zoneid: Use[Zone] | None = None,
    storageid: Use[Pool] | None = None,
    volumeid: Use[Volume] | None = None,
    virtualmachineid: str | None = None,
) -> Rows:
    """List disk offerings.

    id: this one alone
    name: those of this name
    state: Active by default, Inactive or all
    storagetype: shared or local
    encrypt: not supported; false is accepted
    domainid: those that this domain may use
    zoneid: those in this zone
    storageid: those whose tags this pool has
    volumeid: those that this disk could change to
    virtualmachineid: accepted; all of them suit any machine
    """
    absent(encrypt=encrypt)
    rows = Rows(disk_offering_view).where(id=id and id.id, name=name, compute_only=False)
    rows = rows.where(storage_type=one_of("storagetype", storagetype, ("shared", "local")))
    if id is None:
        wanted = one_of("state", state, (*STATES, "all")) or "Active"
        rows = rows.where(state=None if wanted == "all" else wanted)
    if storageid is not None:
        rows = rows.where(DiskOffering.id.in_(_fitting(ctx, storageid)))
    if volumeid is not None and volumeid.disk_offering_id is not None:
        rows = rows.where(DiskOffering.id != volumeid.disk_offering_id)
    return rows.where(
        usable_in(ctx, DiskOffering, domainid),
        DiskOffering.in_zone(zoneid.id) if zoneid else None,
    )


def _fitting(ctx: Context, pool: Pool) -> list[int]:
    """Numbers of the offerings all of whose tags a pool has."""
    offered = ctx.session.execute(
        select(DiskOffering.id, DiskOffering.tags).where(
            DiskOffering.removed.is_(None),
            DiskOffering.compute_only.is_(False),
            DiskOffering.storage_type == ("local" if pool.is_local else "shared"),
        )
    )
    return [number for number, names in offered if not lacking(pool, words(names))]
