"""Switching high availability of hosts on and off."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.resources.ha import rows
from mgmt_server.resources.outofband import rows as controllers


def configure(job: Job, host_id: int, provider: str) -> None:
    job.write(_configured, host_id, provider)
    job.answer(status=True)


def _configured(tx: Session, host_id: int, provider: str) -> None:
    rows.kept(tx, host_id).provider = provider


def switch(job: Job, host_id: int, enabled: bool) -> None:
    job.write(_switched, host_id, enabled)
    job.answer(status=True)


def _switched(tx: Session, host_id: int, enabled: bool) -> None:
    host, row = tx.get_one(Host, host_id), rows.kept(tx, host_id)
    if enabled:
        row.enabled = True
        tx.flush()
        rows.move(tx, host, row, "Available" if eligible(tx, host) else "Ineligible", "it was enabled")
    else:
        rows.move(tx, host, row, "Disabled", "it was disabled")
        row.enabled = False


def eligible(tx: Session, host: Host) -> bool:
    """Whether something could ever prove that the host is dead: a controller, or storage that others see too."""
    if controllers.is_on(tx, host, controllers.row_of(tx, host.id)):
        return True
    shared = select(Pool.id).join(PoolHost, PoolHost.pool_id == Pool.id).where(PoolHost.host_id == host.id)
    return tx.scalar(shared.where(Pool.scope != "HOST", Pool.removed.is_(None)).limit(1)) is not None
