"""What changes of a disk without anything outside."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.jobs import Job
from mgmt_server.model.vm import Volume
from mgmt_server.resources.volume import stored


def changed(job: Job, volume_id: int) -> None:
    """Its call has changed it already: the protocol wants a job."""


def give(tx: Session, volume: Volume, account_id: int, domain_id: int) -> None:
    """A disk, and what it counts for, goes to another account."""
    row = stored.row_of(tx, volume.id)
    held = row.physical_size if row is not None else 0
    counted.volumes_go(tx, [volume])
    counted.upload_goes(tx, volume, held)
    volume.account_id, volume.domain_id = account_id, domain_id
    tx.flush()
    counted.volumes_come(tx, [volume])
    counted.upload_comes(tx, volume, held)
