"""Machines whose root disk is made of a snapshot before they first start."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.jobs import Job, gives_up
from mgmt_server.model.vm import Volume
from mgmt_server.resources.vm import flows
from mgmt_server.resources.vm import start as starting
from mgmt_server.resources.vm.placing import Options
from mgmt_server.resources.volume import flows as volume_flows


def gave_up(tx: Session, vm_id: int, options: Options, networks: list[int], told: list[str], starts: bool) -> None:
    starting.never_ran(tx, vm_id, options, networks, told)


@gives_up(gave_up)
def from_snapshot(job: Job, vm_id: int, options: Options, networks: list[int], told: list[str], starts: bool) -> None:
    """Make the root disk, then start."""
    volume_flows.create(job, job.write(root_of, vm_id), None, None)
    if starts:
        flows.start(job, vm_id, options, networks, told)


def root_of(tx: Session, vm_id: int) -> int:
    return tx.scalars(select(Volume.id).where(Volume.vm_id == vm_id, Volume.slot == 0)).one()
