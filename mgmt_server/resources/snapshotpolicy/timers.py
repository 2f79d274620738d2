"""The clock of policies."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.db import now, reading, write
from mgmt_server.errors import ApiError
from mgmt_server.jobs.worker import every
from mgmt_server.model.settings import Setting
from mgmt_server.model.snapshot import SnapshotPolicy
from mgmt_server.resources.snapshotpolicy import flows

POLL = Setting("snapshot.poll.interval", "Seconds between two looks for snapshots of policies that are due", least=1)
AT_ONCE = 200  # policies that one round starts


@every(POLL.number, "snapshotpolicy.due")
def due() -> None:
    """Start what is due. What was missed while no server ran is made up for once."""
    with reading() as session:
        rows = select(SnapshotPolicy.id).where(SnapshotPolicy.next_run <= now(), SnapshotPolicy.removed.is_(None))
        found = list(session.scalars(rows.order_by(SnapshotPolicy.next_run).limit(AT_ONCE)))
    for policy in found:
        try:
            write(flows.run, policy)
        except ApiError as error:
            write(flows.miss, policy, str(error))
