"""Invitations that nobody accepted in time."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from mgmt_server.db import write
from mgmt_server.jobs.worker import every
from mgmt_server.model.account import ProjectInvitation
from mgmt_server.resources.projectinvitation.rows import oldest


@every(60, "expire invitations to projects")
def expire() -> None:
    write(_expire)


def _expire(tx: Session) -> None:
    late = update(ProjectInvitation).where(ProjectInvitation.state == "Pending", ProjectInvitation.created <= oldest())
    tx.execute(late.values(state="Expired", token_hash=None).execution_options(synchronize_session=False))
