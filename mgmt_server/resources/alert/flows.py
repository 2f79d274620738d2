"""Alerts that somebody raises by hand."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mgmt_server.jobs import Job
from mgmt_server.model.event import Alert


def generate(job: Job, _: int, type: int, name: str, description: str, zone_id: int | None, pod_id: int | None) -> None:
    job.write(written, type, name, description, zone_id, pod_id)


def written(tx: Session, type: int, name: str, description: str, zone_id: int | None, pod_id: int | None) -> None:
    tx.add(Alert(type=type, name=name, subject=description, zone_id=zone_id, pod_id=pod_id))
