"""A disk that no machine runs with goes from pool to pool: by a host that reaches both, or over secondary storage."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import new_uuid, reading
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Volume
from mgmt_server.protocol.machine import Disk, File, Image, Saved
from mgmt_server.resources.snapshot.files import unsave
from mgmt_server.resources.snapshot.rows import at_host
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template.flows import stores_of
from mgmt_server.resources.transfer import leftovers as carriers
from mgmt_server.resources.transfer.flows import StoredFile
from mgmt_server.resources.vm.migrate import drop
from mgmt_server.resources.volume import leftovers
from mgmt_server.resources.volume.places import disk_in, host_of


@dataclass(frozen=True)
class Over:
    """A file of secondary storage that carries a disk between hosts which reach no pool together."""

    giver: HostRef  # that reaches the source
    file: File


@dataclass(frozen=True)
class Copy:
    """A disk that goes from pool to pool, and the host that copies it. `machine`: that runs with it there."""

    host: HostRef
    source: Disk
    target: Disk
    machine: str = ""
    over: Over | None = None


def between(tx: Session, volume: Volume, source: Pool, target: Pool) -> Copy:
    """How a disk gets from one pool to the other. Raises Unavailable where it cannot."""
    here, there = disk_in(source, volume), disk_in(target, volume)
    both = _copier(tx, source, target)
    if both is not None:
        return Copy(storage.ref(both), here, there)
    giver, taker = host_of(tx, source), host_of(tx, target)
    stores = stores_of(tx, volume.zone_id)
    if not stores:
        raise Unavailable(
            f"No host that is up reaches both {source.name} and {target.name}, and the zone has no secondary storage "
            "with room over which the disk could go: an administrator adds one with addImageStore"
        )
    path = f"volumes/{volume.account_id}/{volume.id}/{new_uuid()}.qcow2"
    return Copy(storage.ref(taker), here, there, over=Over(storage.ref(giver), File(at_host(stores[0]), path)))


def _copier(tx: Session, source: Pool, target: Pool) -> Host | None:
    """A host that is up and reaches both pools."""
    rows = select(Host).where(Host.removed.is_(None), Host.state == "Up").order_by(Host.id).limit(1)
    for pool in (source, target):
        if pool.host_id is not None:
            rows = rows.where(Host.id == pool.host_id)
        else:
            rows = rows.where(Host.id.in_(select(PoolHost.host_id).where(PoolHost.pool_id == pool.id)))
    return tx.scalar(rows)


def carry(job: Job, copy: Copy) -> None:
    """Have the disk in the target too. The source stays."""
    over = copy.over
    if over is None:
        job.call(disks.copy_disk, copy.host, copy.source, copy.target, undo=uncopied)
        return
    saved = job.call(disks.save_disk, over.giver, copy.source, "", over.file, "", "", undo=unsave)
    job.call(unpack, copy, saved, undo=unpacked_not)
    simulated = over.giver.hypervisor == "Simulator"
    job.call(carriers.remove, StoredFile(over.file.store.url, over.file.path, simulated))


def leave(job: Job, copy: Copy) -> None:
    """The disk is elsewhere: what it left behind goes."""
    job.call(drop, copy.over.giver if copy.over is not None else copy.host, copy.source)


def unpack(call: UUID, copy: Copy, saved: Saved) -> int:
    """Make the disk anew from what it was saved as."""
    assert copy.over is not None  # noqa: S101  else nothing was saved
    file = copy.over.file
    image = Image(copy.source.name, file.store, file.path, file.format, saved.physical_size, saved.size)
    return disks.load_disk(call, copy.host, copy.target, (image,))


def unpacked_not(call: UUID, copy: Copy, saved: Saved) -> None:
    """Undo of `unpack`."""
    uncopied(call, copy.host, copy.source, copy.target)


def uncopied(call: UUID, host: HostRef, source: Disk, target: Disk) -> None:
    """Undo of a copy: what was copied goes, unless the disk has moved there for good."""
    with reading() as session:
        there = select(Volume.id).join(Pool, Pool.id == Volume.pool_id)
        mine = there.where(Pool.uuid == target.pool.uuid, Volume.path == target.name)
        # one that was let go there had the same file, and is no reason to keep it
        if session.scalar(mine.where(Volume.removed.is_(None)).limit(1)) is not None:
            return
    leftovers.remove(call, host, target)
