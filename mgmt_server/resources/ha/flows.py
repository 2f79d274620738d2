"""Switching high availability of hosts on and off."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from mgmt_server.jobs import Job
from mgmt_server.model.ha import OutOfBand
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.resources.ha import rows
from mgmt_server.resources.ha.hosts import could_prove, policy_of
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
    """Whether what is taken for a proof could ever be had of the host."""
    return any(found for _, found in provable(tx, Host.id == host.id))


def provable(tx: Session, *which: ColumnElement[bool]) -> Iterator[tuple[Host, bool]]:
    """Hosts, each with whether it could be proven dead: by a controller, or storage that others see too, or both."""
    controller = exists().where(OutOfBand.host_id == Host.id, OutOfBand.enabled, OutOfBand.removed.is_(None))
    shared = exists().where(
        PoolHost.host_id == Host.id, Pool.id == PoolHost.pool_id, Pool.scope != "HOST", Pool.removed.is_(None)
    )
    for host, power, life in tx.execute(select(Host, controller, shared).where(*which).order_by(Host.id)):
        tells = power and controllers.above_lets(tx, host, controllers.SWITCHED)
        yield host, could_prove(policy_of(host), tells, life)
