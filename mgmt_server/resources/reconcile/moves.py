"""A disk that was found Migrating with no job on it: which file its machine has decides, and nothing else does."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.resources.reconcile.telling import tell
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import target as targets
from mgmt_server.resources.volume import leftovers
from mgmt_server.resources.volume.carrying import Copy
from mgmt_server.resources.volume.moving import doubted
from mgmt_server.resources.volume.places import disk_in


def repair(job: Job, volume_id: int) -> None:
    """Runs under the lock of its machine. Fails, to be tried again, while the machine's host does not tell."""
    copy = job.write(about, volume_id)
    there = job.call(find, copy) if copy is not None else False
    job.write(settle, volume_id, there)


def about(tx: Session, volume_id: int) -> Copy | None:
    """The move of a disk that a machine runs with, or ran with when it began. None: it was copied at rest.

    A host knows of a machine that does not run any more which file it had last. Raises Unavailable where there is no
    such host.
    """
    volume = _found(tx, volume_id)
    vm = tx.get(Vm, volume.vm_id) if volume is not None and volume.vm_id is not None else None
    if volume is None or vm is None or volume.target_pool_id is None:
        return None
    if vm.state in ("Stopped", "Destroyed", "Error") and not doubted(volume):
        return None
    number = vm.host_id or vm.last_host_id
    host = tx.get(Host, number) if number is not None else None
    if host is None or host.removed is not None:
        raise Unavailable(f"The host that could tell where the disk {volume.name} lies is gone")
    source, target = tx.get_one(Pool, volume.pool_id), tx.get_one(Pool, volume.target_pool_id)
    return Copy(storage.ref(host), disk_in(source, volume), disk_in(target, volume), vm.instance)


def find(call: UUID, copy: Copy) -> bool:
    """Whether it lies at its target."""
    return disks.settle_disk(call, copy.host, copy.source, copy.target, copy.machine)


def settle(tx: Session, volume_id: int, there: bool) -> None:
    """Ready where it is. The other file goes: it is nobody's, if it is there at all."""
    volume = _found(tx, volume_id)
    if volume is None:
        return
    if volume.target_pool_id is None:
        VOLUME_STATES.move(tx, volume_id, "Migrating", "Ready", state_changed=now())
        text = "it is Ready"
    else:
        source, target = tx.get_one(Pool, volume.pool_id), tx.get_one(Pool, volume.target_pool_id)
        if there:
            targets.disk_moved(tx, volume)
            text = f"it has arrived in {target.name}, and is Ready"
        else:
            targets.disk_stays(tx, volume)
            text = f"it is Ready where it was, in {source.name}"
        leftovers.queue(tx, (source if there else target).uuid, volume.path or volume.uuid)
    tell(tx, volume, "VOLUME.UPDATE", f"{volume.name} was found Migrating and nobody at it: {text}")


def _found(tx: Session, volume_id: int) -> Volume | None:
    volume = tx.get_one(Volume, volume_id, populate_existing=True)
    return volume if volume.removed is None and volume.state == "Migrating" else None
