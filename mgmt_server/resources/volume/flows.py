"""How a disk comes and goes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, pools
from mgmt_server.db import Conflict, now
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job, gives_up
from mgmt_server.model.snapshot import Snapshot, SnapshotPolicy
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.protocol.machine import Disk, Image
from mgmt_server.resources.snapshot.rows import chain_of, usable_in
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.transfer.links import expire_links
from mgmt_server.resources.volume import attach, sites, stored
from mgmt_server.resources.volume.locks import BUSY
from mgmt_server.resources.volume.places import Place, disk_in, gone
from mgmt_server.resources.volume.qos import limited

__all__ = ["create", "delete", "destroy", "expunge"]
GONE = ("Destroy", "Expunging", "Expunged")


@dataclass(frozen=True)
class Make:
    """A disk that is made at once, and what it is to hold."""

    host: HostRef
    disk: Disk
    chain: tuple[Image, ...] = ()


def never_made(tx: Session, volume_id: int, pool_id: int | None, vm_id: int | None) -> None:
    """What could not be made is not there."""
    volume = tx.get_one(Volume, volume_id)
    if volume.removed is None and volume.state not in GONE:  # else somebody has deleted it meanwhile
        counted.volumes_go(tx, [volume])
        VOLUME_STATES.move(tx, volume_id, volume.state, "Expunged", removed=now(), slot=None, state_changed=now())


@gives_up(never_made)
def create(job: Job, volume_id: int, pool_id: int | None, vm_id: int | None) -> None:
    """Make a new disk at once if it holds a snapshot or its pool was named, and attach it to the machine."""
    make = job.write(begin_create, volume_id, pool_id, vm_id, undo=uncreated)
    if make is not None:
        if make.chain:
            job.call(disks.load_disk, make.host, make.disk, make.chain, undo=attach.unload)
        else:
            job.call(disks.create_disk, make.host, make.disk, undo=attach.uncreate)
        job.write(created, volume_id)
    if vm_id is not None:
        attach.attach(job, volume_id, vm_id, None)


def begin_create(tx: Session, volume_id: int, pool_id: int | None, vm_id: int | None) -> Make | None:
    """Allocated -> Creating on a pool; None for a disk that is made when a machine first has it."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    if volume.snapshot_id is None and pool_id is None:
        return None
    snapshot = tx.get_one(Snapshot, volume.snapshot_id) if volume.snapshot_id is not None else None
    chain = chain_of(tx, usable_in(tx, snapshot, volume.zone_id)) if snapshot is not None else ()
    vm = tx.get(Vm, vm_id) if vm_id is not None else None
    hypervisor = vm.hypervisor if vm is not None else snapshot.hypervisor if snapshot is not None else None
    hosts = sites.hosts_for(tx, vm) if vm is not None else sites.hosts_in(tx, volume.zone_id, hypervisor)
    wanted = tx.get_one(Pool, pool_id) if pool_id is not None else None
    offering = sites.offering_of(tx, volume)
    pool, host = sites.take(tx, volume, hosts, offering, wanted)
    attach.settle(tx, volume, pool, "Allocated", "Creating")
    return Make(storage.ref(host), limited(disk_in(pool, volume), volume, offering), chain)


def uncreated(tx: Session, volume_id: int, pool_id: int | None, vm_id: int | None) -> None:
    """Undo of `begin_create`, whatever became of the disk after it."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    if volume.state == "Creating":
        attach.unsettle(tx, volume)
    elif volume.state == "Ready" and volume.pool_id is not None:
        pools.give_back(tx, volume.pool_id, volume.size)
        volume.pool_id = volume.path = None


def created(tx: Session, volume_id: int) -> None:
    size = tx.get_one(Volume, volume_id).size
    VOLUME_STATES.move(tx, volume_id, "Creating", "Ready", physical_size=size, state_changed=now())


# --- away ------------------------------------------------------------------------------------------------------------


def destroy(job: Job, volume_id: int, expunging: bool) -> None:
    """A disk is given up. It can be taken back until it is expunged."""
    job.write(destroyed, volume_id)
    if expunging:
        expunge(job, volume_id)


def destroyed(tx: Session, volume_id: int) -> None:
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    check_free(volume)
    if volume.state not in GONE:
        VOLUME_STATES.move(tx, volume_id, volume.state, "Destroy", state_changed=now())
        counted.volumes_go(tx, [volume])


def check_free(volume: Volume) -> None:
    """Raises InvalidValue for a disk that is in use."""
    if volume.vm_id is not None:
        raise InvalidValue(
            f"Please specify a volume that is not attached to any VM: detach the disk {volume.name} first"
        )
    if volume.state in BUSY and volume.state not in ("UploadOp", "Expunging"):
        raise InvalidValue(f"The disk {volume.name} {BUSY[volume.state]}: wait until that has ended")


def delete(job: Job, volume_id: int) -> None:
    """Remove a disk that no machine has."""
    expunge(job, volume_id)


def expunge(job: Job, volume_id: int) -> None:
    """Remove a disk for good: its file first, then its row."""
    file = job.write(begin_delete, volume_id, undo=not_deleted)
    if file is not None:
        job.call(disks.delete_disk, file.host, file.disk)
    stored.forget(job, volume_id)
    job.write(deleted, volume_id)


def begin_delete(tx: Session, volume_id: int) -> Place | None:
    """The file that goes with it, and a host that reaches it; None where there is none."""
    volume = tx.get_one(Volume, volume_id, with_for_update=True)
    if volume.removed is not None:
        return None
    check_free(volume)
    begin_removal(tx, volume)
    return gone(tx, volume)


def begin_removal(tx: Session, volume: Volume) -> None:
    """It counts no more, lists show it no more, and no link leads to what was saved of it."""
    if volume.state == "Expunging":
        return
    expire_links(tx, volume.uuid)
    if volume.state not in GONE:
        counted.volumes_go(tx, [volume])
    if "Expunging" not in VOLUME_STATES.moves[volume.state]:  # what never was anywhere, or is only being sent
        VOLUME_STATES.move(tx, volume.id, volume.state, "Destroy", state_changed=now())
        tx.refresh(volume)
    VOLUME_STATES.move(tx, volume.id, volume.state, "Expunging", state_changed=now())
    tx.refresh(volume)


def not_deleted(tx: Session, volume_id: int) -> None:
    """Undo of `begin_delete`: it is tried again when its time comes."""
    if tx.get_one(Volume, volume_id).state == "Expunging":
        VOLUME_STATES.move(tx, volume_id, "Expunging", "Destroy", state_changed=now())


def deleted(tx: Session, volume_id: int) -> None:
    volume = tx.get_one(Volume, volume_id)
    if volume.removed is not None:
        return
    if volume.pool_id is not None:
        pools.give_back(tx, volume.pool_id, volume.size)
    end_policies(tx, volume_id)
    if volume.state != "Expunging":
        raise Conflict("Volume", volume_id, "Expunging")
    VOLUME_STATES.move(tx, volume_id, "Expunging", "Expunged", removed=now(), slot=None, state_changed=now())


def end_policies(tx: Session, volume_id: int) -> None:
    """No snapshots of a disk any more that is gone."""
    policies = update(SnapshotPolicy).where(SnapshotPolicy.volume_id == volume_id, SnapshotPolicy.removed.is_(None))
    tx.execute(policies.values(removed=now()).execution_options(synchronize_session=False))
