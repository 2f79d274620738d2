"""A disk that was found Migrating with no job on it: which file its machine has decides, as long as somebody knows."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import dispatch
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Failed
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.resources.alert.telling import tell as alert
from mgmt_server.resources.reconcile.telling import tell
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import target as targets
from mgmt_server.resources.volume import leftovers
from mgmt_server.resources.volume.carrying import Copy
from mgmt_server.resources.volume.moving import doubted
from mgmt_server.resources.volume.places import Place, disk_in, host_of, reaching


@dataclass(frozen=True)
class Untold:
    """Nobody is left to ask."""


@dataclass(frozen=True)
class Files:
    """Both files of a disk that nobody tells about. None: no host reaches that pool any more."""

    source: Place | None
    target: Place | None


def repair(job: Job, volume_id: int) -> None:
    """Runs under the lock of its machine. Fails, to be tried again, while the machine's host does not tell."""
    copy = job.write(about, volume_id)
    there = job.call(find, copy) if copy is not None else False
    if there is not None:
        job.write(settle, volume_id, there)
        return
    files = job.write(both, volume_id)
    if files is not None:
        here, there = job.call(is_there, files.source), job.call(is_there, files.target)
        job.write(settle_unknown, volume_id, here, there)


def about(tx: Session, volume_id: int) -> Copy | Untold | None:
    """The move of a disk that a machine runs with, or ran with when it began. None: it was copied at rest.

    A host knows of a machine that does not run any more which file it had last.
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
        return Untold()
    source, target = tx.get_one(Pool, volume.pool_id), tx.get_one(Pool, volume.target_pool_id)
    return Copy(storage.ref(host), disk_in(source, volume), disk_in(target, volume), vm.instance)


def find(call: UUID, copy: Copy | Untold) -> bool | None:
    """Whether it lies at its target. None: the host that could tell is gone, or was made anew since."""
    if isinstance(copy, Untold):
        return None
    try:
        return disks.settle_disk(call, copy.host, copy.source, copy.target, copy.machine)
    except Failed:
        if any(m.name == copy.machine for m in dispatch.machines(copy.host)):
            raise
    return None


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


def both(tx: Session, volume_id: int) -> Files | None:
    """Raises Unavailable while hosts reach a pool and none of them is up."""
    volume = _found(tx, volume_id)
    if volume is None or volume.target_pool_id is None:
        return None
    return Files(*(_file(tx, volume, number) for number in (volume.pool_id, volume.target_pool_id)))


def _file(tx: Session, volume: Volume, pool_id: int | None) -> Place | None:
    pool = tx.get_one(Pool, pool_id)
    if pool.removed is not None or reaching(tx, pool) is None:
        return None
    return Place(storage.ref(host_of(tx, pool)), disk_in(pool, volume))


def is_there(call: UUID, place: Place | None) -> bool:
    """A file that cannot be read counts: it is not to be passed over for the other one."""
    if place is None:
        return False
    files = disks.files(place.host, place.disk.pool)
    return any(f.name == place.disk.name for f in files)


def settle_unknown(tx: Session, volume_id: int, here: bool, there: bool) -> None:
    """Ready in the pool that alone has a file; of two, where it was. The other one stays, for whoever knows better.

    A copy that was not at its end is worth nothing, and one that was used holds what was written last: an alert tells.
    """
    volume = _found(tx, volume_id)
    if volume is None or volume.target_pool_id is None:
        return
    source, target = tx.get_one(Pool, volume.pool_id), tx.get_one(Pool, volume.target_pool_id)
    volume.last_pool_id = None  # the other file may be taken over as a disk of its own
    if not here and (there or source.removed is not None):
        targets.disk_moved(tx, volume)
        tx.refresh(volume)
        volume.last_pool_id = None
        text = f"it has arrived in {target.name}, which alone can have it, and is Ready"
    else:
        targets.disk_stays(tx, volume)
        text = f"it is Ready where it was, in {source.name}"
    found = f"{volume.name} was found Migrating, and no host knows any more to which file its machine wrote last"
    tell(tx, volume, "VOLUME.UPDATE", f"{found}: {text}")
    if here and there:
        subject = f"The disk {volume.name} is in {source.name} again, and another file of it in {target.name}"
        advice = (
            f"{found}. Look at what is on it. If what was written last is missing, stop its machine and take over the "
            f"file {volume.path} of {target.name} with importVolume; delete that file otherwise."
        )
        alert(tx, "ALERT.STORAGE.MISC", subject, advice, zone_id=volume.zone_id, pod_id=source.pod_id)


def _found(tx: Session, volume_id: int) -> Volume | None:
    volume = tx.get_one(Volume, volume_id, populate_existing=True)
    return volume if volume.removed is None and volume.state == "Migrating" else None
