"""How a disk goes."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, pools
from mgmt_server.db import now
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import VOLUME_STATES, Volume
from mgmt_server.protocol.machine import Disk
from mgmt_server.resources.vm import start
from mgmt_server.resources.vm.flows import Gone, _reaching


def delete(job: Job, volume_id: int) -> None:
    """Delete a disk that no machine has: its file first, then its row."""
    file = job.write(begin_delete, volume_id)
    if file is not None:
        job.call(disks.delete_disk, file.host, file.disk)
    job.write(deleted, volume_id)


def begin_delete(tx: Session, volume_id: int) -> Gone | None:
    """The file that goes with it, and a host that reaches it; None where there is none."""
    volume = tx.get_one(Volume, volume_id)
    if volume.removed is not None:
        return None
    if volume.vm_id is not None:
        raise InvalidValue(f"the disk {volume.name} is attached to a machine: detach it first")
    if volume.pool_id is None or not volume.path:
        return None
    pool = tx.get_one(Pool, volume.pool_id)
    host = _reaching(tx, pool)
    if host is None:
        return None
    return Gone(start.reference_of(host), Disk(volume.path, start.at_host_of(pool), volume.size, volume.device or 0))


def deleted(tx: Session, volume_id: int) -> None:
    volume = tx.get_one(Volume, volume_id)
    if volume.removed is not None:
        return
    counted.volumes_go(tx, [volume])
    if volume.pool_id is not None:
        pools.give_back(tx, volume.pool_id, volume.size)
    VOLUME_STATES.move(tx, volume_id, volume.state, "Expunged", removed=now(), slot=None)
