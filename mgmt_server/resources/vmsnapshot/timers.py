"""Snapshots of machines that have stood for long enough."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now, write
from mgmt_server.jobs import Asker, enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.snapshot import VmSnapshot
from mgmt_server.resources.vmsnapshot import flows

EXPIRE = Setting(
    "vmsnapshot.expire.interval", "Hours after which snapshots of machines are deleted; -1: never", least=-1
)
AT_ONCE = 50  # that one round deletes


@every(600, "vmsnapshot.expire")
def expire() -> None:
    write(_expire)


def _expire(tx: Session) -> None:
    old = select(VmSnapshot.account_id).where(VmSnapshot.removed.is_(None), VmSnapshot.state == "Ready").distinct()
    busy = select(JobRow.instance_uuid).where(JobRow.instance_type == "VmSnapshot", JobRow.state.in_(OPEN))
    for account in list(tx.scalars(old)):
        hours = EXPIRE.number(*of_account(tx, account))
        if hours <= 0:
            continue
        rows = select(VmSnapshot).where(
            VmSnapshot.account_id == account,
            VmSnapshot.removed.is_(None),
            VmSnapshot.state == "Ready",
            VmSnapshot.created < now() - timedelta(hours=hours),
            VmSnapshot.uuid.not_in(busy),
        )
        for snapshot in tx.scalars(rows.order_by(VmSnapshot.id).limit(AT_ONCE)):
            text = f"deleting snapshot {snapshot.display_name}: it is older than {hours} hours"
            asker = Asker(
                account_id=snapshot.account_id,
                domain_id=snapshot.domain_id,
                user_id=SYSTEM_USER,
                event={"type": "VMSNAPSHOT.DELETE", "description": text, "start": None},
            )
            instance = ("VmSnapshot", snapshot.uuid)
            enqueue(tx, flows.delete, (snapshot.id,), lock=f"vm:{snapshot.vm_id}", instance=instance, asker=asker)
