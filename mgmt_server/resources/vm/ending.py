"""Machines that go together with data disks of theirs."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.jobs import Job
from mgmt_server.model.vm import Volume
from mgmt_server.resources.vm import flows
from mgmt_server.resources.volume import flows as volume_flows


def destroy_with_disks(job: Job, vm_id: int, expunging: bool, volume_ids: list[int]) -> None:
    """Destroy a machine and these disks of it; expunged together, they are gone together."""
    flows.destroy(job, vm_id, expunging)
    for volume_id in job.write(let_go, vm_id, volume_ids, expunging):
        volume_flows.destroy(job, volume_id, expunging)


def let_go(tx: Session, vm_id: int, volume_ids: list[int], expunged: bool) -> list[int]:
    """Take from a destroyed machine those of these disks that are its still. An expunged one has none any more."""
    mine = Volume.vm_id.is_(None) if expunged else Volume.vm_id == vm_id
    rows = list(tx.scalars(select(Volume.id).where(Volume.id.in_(volume_ids), mine, Volume.removed.is_(None))))
    free = update(Volume).where(Volume.id.in_(rows)).values(vm_id=None, slot=None, device=None, attached=None)
    tx.execute(free.execution_options(synchronize_session=False))
    return rows
