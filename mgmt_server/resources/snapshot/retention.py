"""How many snapshots of a policy stay."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.jobs import Asker, enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.model.snapshot import Snapshot, SnapshotPolicy
from mgmt_server.model.vm import Volume
from mgmt_server.resources.snapshot.going import delete
from mgmt_server.resources.snapshot.rows import lock_of


def retire(tx: Session, policy_id: int) -> None:
    """Queue the deletion of a policy's oldest snapshots beyond those it keeps, and of those that failed."""
    policy = tx.get_one(SnapshotPolicy, policy_id)
    rows = select(Snapshot).where(Snapshot.policy_id == policy_id, Snapshot.removed.is_(None))
    # states move without telling the session's objects
    found = list(tx.scalars(rows.order_by(Snapshot.id.desc()).execution_options(populate_existing=True)))
    whole = [s for s in found if s.state in ("BackedUp", "Copying")]
    beyond = [*whole[policy.keep :], *(s for s in found if s.state == "Error")]
    for snapshot in beyond:
        busy = select(JobRow.id).where(JobRow.instance_uuid == snapshot.uuid, JobRow.state.in_(OPEN))
        if tx.scalar(busy.limit(1)) is None:
            queue_deletion(tx, snapshot, f"deleting snapshot {snapshot.name}: its policy keeps {policy.keep}")


def queue_deletion(tx: Session, snapshot: Snapshot, text: str) -> None:
    volume = tx.get_one(Volume, snapshot.volume_id)
    asker = Asker(
        account_id=snapshot.account_id,
        domain_id=snapshot.domain_id,
        user_id=SYSTEM_USER,
        event={"type": "SNAPSHOT.DELETE", "description": text, "start": None},
    )
    enqueue(tx, delete, (snapshot.id, None), lock=lock_of(volume), instance=("Snapshot", snapshot.uuid), asker=asker)
