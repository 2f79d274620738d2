"""What has to be done with disks again and again."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now, write
from mgmt_server.jobs import Asker, enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Volume
from mgmt_server.resources.storage.settings import CLEAN
from mgmt_server.resources.volume import flows

DELAY = Setting("storage.cleanup.delay", "Seconds after which a destroyed disk is removed for good", least=1)
INTERVAL = Setting("storage.cleanup.interval", "Seconds between two looks for disks to remove for good", least=1)
AT_ONCE = 50  # disks that one round removes


@every(INTERVAL.number, "remove destroyed disks")
def expunge_destroyed() -> None:
    if CLEAN.flag():
        write(_queue)


def _queue(tx: Session) -> None:
    before = now() - timedelta(seconds=DELAY.number())
    busy = select(JobRow.instance_uuid).where(JobRow.instance_type == "Volume", JobRow.state.in_(OPEN))
    over = Volume.state.in_(("Destroy", "Expunging")) & (Volume.state_changed < before)
    rows = select(Volume).where(over, Volume.removed.is_(None), Volume.vm_id.is_(None), Volume.uuid.not_in(busy))
    for volume in tx.scalars(rows.order_by(Volume.id).limit(AT_ONCE)):
        asker = Asker(account_id=volume.account_id, domain_id=volume.domain_id, user_id=SYSTEM_USER)
        lock = f"volume:{volume.id}"
        enqueue(tx, flows.expunge, (volume.id,), lock=lock, instance=("Volume", volume.uuid), asker=asker)
