"""What takes time with management controllers."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from mgmt_server.jobs import Job
from mgmt_server.jobs.flow import gives_up
from mgmt_server.model.ha import OutOfBand
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.outofband import rows


def power(job: Job, host_id: int, action: str, timeout: int) -> None:
    state = job.call(rows.act, host_id, action, timeout)
    job.answer(action=action, status=True, powerstate=state)


def switch(job: Job, host_id: int, enabled: bool) -> None:
    job.write(switched, host_id, enabled)
    job.answer(enabled=enabled, status=True)


def switched(tx: Session, host_id: int, enabled: bool) -> None:
    power = "Unknown" if enabled else "Disabled"
    mine = update(OutOfBand).where(OutOfBand.host_id == host_id).values(enabled=enabled, power=power)
    tx.execute(mine.execution_options(synchronize_session=False))


def switch_cluster(job: Job, cluster_id: int, key: str, enabled: bool) -> None:
    job.write(_cluster, cluster_id, key, enabled)


def _cluster(tx: Session, cluster_id: int, key: str, enabled: bool) -> None:
    cluster = tx.get_one(Cluster, cluster_id, with_for_update=True)
    cluster.details = {**cluster.details, key: str(enabled).lower()}


def switch_zone(job: Job, zone_id: int, key: str, enabled: bool) -> None:
    job.write(_zone, zone_id, key, enabled)


def _zone(tx: Session, zone_id: int, key: str, enabled: bool) -> None:
    zone = tx.get_one(Zone, zone_id, with_for_update=True)
    zone.details = {**zone.details, key: str(enabled).lower()}


def _drop(tx: Session, host_id: int) -> None:
    """The password that was to be set is not kept when the controller did not take it."""
    mine = update(OutOfBand).where(OutOfBand.host_id == host_id).values(next_password=None)
    tx.execute(mine.execution_options(synchronize_session=False))


@gives_up(_drop)
def change_password(job: Job, host_id: int) -> None:
    job.call(rows.change_password, host_id)
    job.write(changed, host_id)
    job.answer(status=True)


def changed(tx: Session, host_id: int) -> None:
    row = rows.row_of(tx, host_id)
    if row is not None and row.next_password is not None:
        row.password, row.next_password = row.next_password, None
