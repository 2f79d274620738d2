"""When policies are due, and what becomes of them."""

from __future__ import annotations

import logging

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.jobs import Asker, Job, enqueue
from mgmt_server.model.account import SYSTEM_USER, Account, Project
from mgmt_server.model.event import Event, Tag
from mgmt_server.model.snapshot import Snapshot, SnapshotPolicy
from mgmt_server.model.vm import Volume
from mgmt_server.resources.snapshot import flows as snapshots
from mgmt_server.resources.snapshot.make import GOES_ON, add
from mgmt_server.resources.snapshot.rows import lock_of
from mgmt_server.resources.snapshotpolicy.schedule import next_run

log = logging.getLogger("cloudwright.snapshot")
UNDER_WAY = ("Allocated", "CreatedOnPrimary", "BackingUp")


def changed(job: Job, policy_id: int) -> None:
    """The end of a call that changed a policy at once."""


def remove(tx: Session, policy: SnapshotPolicy) -> None:
    """Its snapshots stay."""
    policy.removed, policy.next_run = now(), None
    mine = delete(Tag).where(Tag.resource_type == "SnapshotPolicy", Tag.resource_uuid == policy.uuid)
    tx.execute(mine.execution_options(synchronize_session=False))
    tx.flush()


def plan(policy: SnapshotPolicy) -> None:
    policy.next_run = next_run(policy.kind, policy.schedule, policy.timezone, now())


def run(tx: Session, policy_id: int) -> None:
    """Start the snapshot that is due, once however many were missed, and plan the next one."""
    policy = tx.scalars(select(SnapshotPolicy).where(SnapshotPolicy.id == policy_id).with_for_update()).one()
    if policy.removed is not None or policy.next_run is None or policy.next_run > now():
        return  # another node was quicker
    volume = tx.get_one(Volume, policy.volume_id)
    if volume.removed is not None or volume.state in ("Destroy", "Expunging", "Expunged"):
        remove(tx, policy)
        return
    policy.account_id, policy.domain_id = volume.account_id, volume.domain_id  # it may have another owner now
    plan(policy)
    if volume.state not in GOES_ON or not _is_active(tx, volume.account_id) or _is_under_way(tx, policy):
        return
    snapshot = add(tx, volume, policy=policy)
    tags = select(Tag).where(Tag.resource_type == "SnapshotPolicy", Tag.resource_uuid == policy.uuid)
    for tag in list(tx.scalars(tags)):
        tx.add(
            Tag(resource_type="Snapshot", resource_uuid=snapshot.uuid, key=tag.key, value=tag.value,
                customer=tag.customer, account_id=volume.account_id, domain_id=volume.domain_id)
        )  # fmt: skip
    text = f"creating {policy.kind.lower()} snapshot {snapshot.name} of disk {volume.name}"
    asker = Asker(
        account_id=volume.account_id,
        domain_id=volume.domain_id,
        user_id=SYSTEM_USER,
        event={"type": "SNAPSHOT.CREATE", "description": text, "start": None},
    )
    zones = [z for z in policy.details.get("zones", ()) if z != volume.zone_id]
    instance = ("Snapshot", snapshot.uuid)
    enqueue(tx, snapshots.take, (snapshot.id, zones), lock=lock_of(volume), instance=instance, asker=asker)


def _is_active(tx: Session, account_id: int) -> bool:
    """Nothing is made for who is disabled or suspended."""
    if tx.get_one(Account, account_id).state != "enabled":
        return False
    project = tx.scalar(select(Project).where(Project.account_id == account_id))
    return project is None or (project.state == "Active" and project.removed is None)


def _is_under_way(tx: Session, policy: SnapshotPolicy) -> bool:
    """The one before is not finished: another behind it would only pile up."""
    rows = select(Snapshot.id).where(Snapshot.policy_id == policy.id, Snapshot.state.in_(UNDER_WAY))
    return tx.scalar(rows.where(Snapshot.removed.is_(None)).limit(1)) is not None


def miss(tx: Session, policy_id: int, reason: str) -> None:
    """Tell why a snapshot that was due could not be started, and plan the next one."""
    policy = tx.get_one(SnapshotPolicy, policy_id)
    volume = tx.get_one(Volume, policy.volume_id)
    plan(policy)
    text = f"the {policy.kind.lower()} snapshot of disk {volume.name} was not taken: {reason}"
    log.warning("%s", text)
    tx.add(
        Event(
            type="SNAPSHOT.CREATE",
            level="ERROR",
            state="Completed",
            description=text[:1024],
            user_id=SYSTEM_USER,
            account_id=volume.account_id,
            domain_id=volume.domain_id,
            resource_type="Volume",
            resource_uuid=volume.uuid,
        )
    )
