"""Moving disks between pools, and to other owners."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.allocation import pools
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of_objects
from mgmt_server.api.parameters import UUID_TEXT, Operate, Use
from mgmt_server.api.projects import active
from mgmt_server.errors import AccountError, InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import ACCOUNT_TYPES, Account, Domain, Project
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ADMINS, EVERYONE, ROOT
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import alone, assign
from mgmt_server.resources.snapshot.rows import of_volume
from mgmt_server.resources.storage.views import pool_view
from mgmt_server.resources.transfer.links import expire_links
from mgmt_server.resources.volume import changes, moving, sites
from mgmt_server.resources.volume.locks import check_state, check_user_disk, lock_of
from mgmt_server.resources.volume.offerings import check_offering
from mgmt_server.resources.volume.views import volume_view


@command("migrateVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.MIGRATE")
def migrate_volume(
    ctx: Context,
    volumeid: Operate[Volume],
    storageid: Use[Pool],
    livemigrate: bool = False,
    newdiskofferingid: Use[DiskOffering] | None = None,
) -> Accepted:
    """Move a disk to another pool.

    volumeid: the disk
    storageid: the pool
    livemigrate: whether it may move while its machine runs
    newdiskofferingid: the offering that it has there
    """
    volume = volumeid
    check_user_disk(ctx.session, volume)
    check_state(volume, ("Ready",), "it cannot be moved")
    vm = ctx.session.get(Vm, volume.vm_id) if volume.vm_id is not None else None
    if vm is not None and vm.state == "Running" and not livemigrate:
        raise InvalidValue(
            f"The disk {volume.name} is at the running machine {vm.display_name or vm.name}: send livemigrate=true, or "
            "stop the machine first"
        )
    if newdiskofferingid is not None:
        check_offering(ctx, newdiskofferingid, ctx.session.get_one(Zone, volume.zone_id))
        if not newdiskofferingid.customized and newdiskofferingid.size != volume.size:
            raise InvalidValue(
                f"The offering {newdiskofferingid.name} is for another size: use changeOfferingForVolume"
            )
    sites.check_pool(storageid, volume)
    if storageid.id == volume.pool_id:
        raise InvalidValue(f"The disk {volume.name} is in the pool {storageid.name} already: choose another")
    ctx.describe(f"moving disk {volume.name} to the pool {storageid.name}")
    offering = newdiskofferingid.id if newdiskofferingid is not None else None
    return ctx.start(moving.migrate, volume, volume.vm_id, storageid.id, offering, lock=lock_of(volume))


@command("findStoragePoolsForMigration", roles=ROOT, key="", reads=True)
def find_pools(ctx: Context, id: Use[Volume]) -> dict[str, Any]:
    """List the pools to which a disk could move, and whether each suits its offering.

    id: the disk
    """
    tx = ctx.session
    vm = tx.get(Vm, id.vm_id) if id.vm_id is not None else None
    here = tx.get(Pool, id.pool_id) if id.pool_id is not None else None
    if vm is not None:
        hosts = sites.hosts_for(tx, vm) if vm.host_id is not None else sites.hosts_in(tx, id.zone_id, vm.hypervisor)
    else:
        hosts = sites.hosts_in(tx, id.zone_id, here.hypervisor if here is not None else None)
    space = sites.space_of(id, sites.offering_of(tx, id))
    rows = select(Pool).where(Pool.zone_id == id.zone_id, Pool.removed.is_(None), Pool.state == "Up")
    usable = {p.id for p in pools.usable(tx, id.zone_id, id.account_id)}
    found = []
    for pool in tx.scalars(rows.where(Pool.id != (id.pool_id or 0)).order_by(Pool.id)).all():
        if any(pools.reachable(pool, h) for h in hosts):
            told = pool_view.one(tx, ctx.caller, pool.id)
            suits = pool.id in usable and not pools.why_not(pool, space)
            found.append(told | {"suitableformigration": suits})
    found.sort(key=lambda one: not one["suitableformigration"])
    return page_of_objects(ctx, "storagepool", found)


@command("assignVolume", roles=ADMINS, answers=volume_view, event="VOLUME.CREATE")
def assign_volume(
    ctx: Context,
    volumeid: Operate[Volume],
    accountid: Operate[Account] | None = None,
    projectid: Use[Project] | None = None,
) -> Volume:
    """Give a detached disk to another account, or to a project.

    volumeid: the disk
    accountid: the account
    projectid: the project
    """
    volume = volumeid
    if (accountid is None) == (projectid is None):
        raise InvalidValue("Say whose the disk shall be: send accountid or projectid, and not both")
    alone(ctx, volume)
    if volume.vm_id is not None:
        raise InvalidValue(f"The disk {volume.name} is attached to a machine: detach it, or see assignVirtualMachine")
    check_state(volume, ("Allocated", "Ready", "Uploaded"), "it cannot be given to others")
    snapshots = [s.name for s in of_volume(ctx.session, volume.id)]
    if snapshots:
        raise InvalidValue(f"The disk {volume.name} has snapshots ({', '.join(snapshots[:3])}): delete them first")
    whose = _owner(ctx, accountid, projectid)
    if whose.id == volume.account_id:
        raise InvalidValue(f"The disk {volume.name} belongs to {whose.name} already")
    offering = sites.offering_of(ctx.session, volume)
    path = ctx.session.scalar(select(Domain.path).where(Domain.id == whose.domain_id)) or "/"
    if offering is not None:
        theirs = select(DiskOffering.id).where(DiskOffering.id == offering.id, DiskOffering.for_domain(path))
        if ctx.session.scalar(theirs) is None:
            raise InvalidValue(
                f"The offering {offering.name} of the disk {volume.name} is not for {whose.name}'s domain"
            )
    changes.give(ctx.session, volume, whose.id, whose.domain_id)
    expire_links(ctx.session, volume.uuid)
    ctx.describe(f"giving disk {volume.name} to {whose.name}")
    return volume


def _owner(ctx: Context, account: Account | None, project: Project | None) -> Account:
    if project is not None:
        return ctx.session.get_one(Account, active(ctx.session, project).account_id)
    assert account is not None  # noqa: S101  one of them was sent
    if account.type == ACCOUNT_TYPES["Project"]:
        raise InvalidValue("accountid is a project's: send projectid")
    if account.state != "enabled":
        raise AccountError(f"the account {account.name} is {account.state}: enable it first")
    return account


@command(
    "updateVolume",
    roles=ROOT,
    answers=volume_view,
    event="VOLUME.UPDATE",
    unsupported=("chaininfo", "path", "state", "storageid"),
)
def update_volume(
    ctx: Context,
    id: Operate[Volume] | None = None,
    name: str | None = None,
    displayvolume: bool | None = None,
    deleteprotection: bool | None = None,
    customid: str | None = None,
) -> Accepted:
    """Change what is known of a disk.

    id: the disk
    name: its new name
    displayvolume: whether users see it
    deleteprotection: whether it is kept from being deleted
    customid: its new id
    """
    if id is None:
        raise InvalidValue("id is missing: say which disk is meant")
    if customid is not None:
        if not UUID_TEXT.fullmatch(customid):
            raise InvalidValue(f"customid={customid[:100]} is no UUID")
        taken = select(Volume.id).where(Volume.uuid == customid.lower(), Volume.id != id.id)
        if ctx.session.scalar(taken) is not None:
            raise InvalidValue(f"customid={customid} is the id of another disk: choose another")
        id.uuid = customid.lower()
    assign(id, {"name": name, "display": displayvolume, "delete_protection": deleteprotection})
    ctx.describe(f"changing disk {id.name}")
    return ctx.start(changes.changed, id, lock=lock_of(id))
