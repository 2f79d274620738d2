"""Files of pools that this cloud does not know: listed, taken over as disks, and disks let go."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, pools
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of_objects
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now, write
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted, Job
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.storage import Pool, TemplateOnPool
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.vm import VOLUME_STATES, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.machine import DiskFile
from mgmt_server.resources.snapshot.rows import of_volume
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.transfer.links import expire_links
from mgmt_server.resources.volume import changes
from mgmt_server.resources.volume.flows import end_policies
from mgmt_server.resources.volume.locks import check_state, lock_of
from mgmt_server.resources.volume.offerings import check_offering, open_offering
from mgmt_server.resources.volume.places import host_of
from mgmt_server.resources.volume.views import volume_view

AT_ONCE = 50  # files that a host looks into for one question
OURS = (".xml", ".part")  # ends of files that hosts keep beside disks
KINDS = ("qcow2", "vmdk", "vhd", "vhdx")  # what a disk image can be told by; anything may be raw


@command("listVolumesForImport", roles=ROOT, key="", outside=True)
def list_files(ctx: Context, storageid: Use[Pool], path: str | None = None) -> dict[str, Any]:
    """List disk images in a pool that are no disks of this cloud.

    storageid: the pool
    path: the file of this name alone
    """
    host = storage.ref(host_of(ctx.session, storageid))
    seen = storage.as_seen(storageid)
    known = known_in(ctx.session, storageid)
    names = [f.name for f in disks.files(host, seen) if not f.folder and not f.name.endswith(OURS)]
    unknown = [n for n in names if n not in known and path in (None, n)]
    found: list[DiskFile] = []
    for start in range(0, len(unknown), AT_ONCE):
        found += disks.look(host, seen, tuple(unknown[start : start + AT_ONCE]))
    told = [_shown(storageid, file) for file in found if file.format in KINDS]
    return page_of_objects(ctx, "volumeforimport", told)


def known_in(tx: Session, pool: Pool) -> set[str]:
    """Names in a pool that are disks or templates of this cloud, or about to be."""
    here = (Volume.pool_id == pool.id) | (Volume.target_pool_id == pool.id) | (Volume.last_pool_id == pool.id)
    mine = tx.scalars(select(Volume.path).where(here, Volume.removed.is_(None)))
    cached = tx.scalars(select(TemplateOnPool.name).where(TemplateOnPool.pool_id == pool.id))
    return {name for name in (*mine, *cached) if name}


def _shown(pool: Pool, file: DiskFile) -> dict[str, Any]:
    told = {
        "name": file.name,
        "path": file.name,
        "fullpath": f"{pool.path.rstrip('/')}/{file.name}",
        "format": file.format.upper(),
        "size": file.size,
        "virtualsize": file.virtual_size,
        "storage": pool.name,
        "storageid": pool.uuid,
        "storagetype": pool.type,
    }
    return told | ({"details": {"refused": file.refused}} if file.refused else {})


@command("importVolume", roles=ROOT, answers=volume_view, event="VOLUME.IMPORT", outside=True)
def import_volume(
    ctx: Context,
    path: str,
    storageid: Use[Pool],
    name: str | None = None,
    diskofferingid: Use[DiskOffering] | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Accepted:
    """Take over a disk image that lies in a pool, as a detached data disk. It is looked into first.

    path: its name in the pool
    storageid: the pool
    name: what people call the disk; its name in the pool by default
    diskofferingid: what it gets; one of a size that users choose by default
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    host = storage.ref(host_of(ctx.session, storageid))
    (file,) = disks.look(host, storage.as_seen(storageid), (path,))
    if file.refused:
        raise InvalidValue(f"{path} in the pool {storageid.name} cannot be a disk: {file.refused}")

    def take(tx: Session) -> Accepted:
        ctx.session = tx
        pool = tx.get_one(Pool, storageid.id, with_for_update=True)  # of two that import one file, one comes second
        whose = owner(ctx, account, domainid, projectid)
        offering = _offering(ctx, diskofferingid, pool, file)
        volume = _adopted(tx, pool, file, whose, offering, name or path)
        ctx.describe(f"taking over {path} of the pool {pool.name} as disk {volume.name}")
        return ctx.start(changes.changed, volume, lock=lock_of(volume))

    return write(take)


def _offering(ctx: Context, offering: DiskOffering | None, pool: Pool, file: DiskFile) -> DiskOffering:
    kind = "local" if pool.is_local else "shared"
    if offering is None:
        offering = open_offering(ctx, pool)
        if offering is None:
            raise InvalidValue(f"There is no disk offering of a custom size on {kind} storage: send diskofferingid")
        return offering
    check_offering(ctx, offering, ctx.session.get_one(Zone, pool.zone_id))
    if offering.storage_type != kind:
        raise InvalidValue(f"The pool {pool.name} is {kind} storage, and the offering {offering.name} asks for other")
    if not offering.customized and offering.size != file.virtual_size:
        raise InvalidValue(
            f"{file.name} is a disk of {file.virtual_size} bytes, and the offering {offering.name} is for another size"
        )
    return offering


def _adopted(tx: Session, pool: Pool, file: DiskFile, whose: Account, offering: DiskOffering, name: str) -> Volume:
    if file.name in known_in(tx, pool):
        raise InvalidValue(f"{file.name} in the pool {pool.name} is a disk or a template of this cloud already")
    if not pools.take(tx, pool.id, file.virtual_size):
        raise pools.full(pool)
    volume = Volume(
        name=name,
        kind="DATADISK",
        size=file.virtual_size,
        physical_size=file.size,
        zone_id=pool.zone_id,
        pod_id=pool.pod_id,
        pool_id=pool.id,
        path=file.name,
        state="Ready",
        state_changed=now(),
        account_id=whose.id,
        domain_id=whose.domain_id,
        disk_offering_id=offering.id,
        provisioning=offering.provisioning,
        details={},
    )
    tx.add(volume)
    tx.flush()
    counted.volumes_come(tx, [volume])
    return volume


@command("unmanageVolume", roles=ROOT, event="VOLUME.UNMANAGE")
def unmanage(ctx: Context, id: Operate[Volume]) -> Accepted:
    """Let a detached data disk go: this cloud forgets it, and its file stays in its pool.

    id: the disk
    """
    check_leaves(ctx.session, id)
    ctx.describe(f"letting disk {id.name} go; its file stays")
    return ctx.start(let_go, id, lock=lock_of(id))


def check_leaves(tx: Session, volume: Volume) -> None:
    """Raises InvalidValue for a disk of which more would be left than its file."""
    check_state(volume, ("Ready",), "there is no file of it in a pool")
    if volume.vm_id is not None:
        raise InvalidValue(f"The disk {volume.name} is attached to a machine: detach it first")
    if volume.delete_protection:
        raise InvalidValue(f"The disk {volume.name} is protected: switch deleteprotection off first")
    if volume.template_id is not None:
        raise InvalidValue(f"The disk {volume.name} was made from a template, on whose file it may stand: it stays")
    kept = [s.name for s in of_volume(tx, volume.id)]
    if kept:
        raise InvalidValue(f"The disk {volume.name} has snapshots ({', '.join(kept[:3])}): delete them first")


def let_go(job: Job, volume_id: int) -> None:
    job.write(forgotten, volume_id)


def forgotten(tx: Session, volume_id: int) -> None:
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    check_leaves(tx, volume)
    pools.give_back(tx, volume.pool_id or 0, volume.size)
    counted.volumes_go(tx, [volume])
    end_policies(tx, volume_id)
    expire_links(tx, volume.uuid)
    VOLUME_STATES.move(tx, volume_id, "Ready", "Expunged", removed=now(), slot=None, state_changed=now())
