"""Deletions of accounts that could not be finished, because a host or a store was away, are tried again."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import write
from mgmt_server.jobs import Asker, enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.account import SYSTEM_USER, Account
from mgmt_server.model.settings import Setting
from mgmt_server.resources.account import flows

INTERVAL = Setting(
    "account.cleanup.interval", "Seconds after which a deletion of an account that failed is tried again", least=60
)


@every(lambda: float(INTERVAL.number()), "finish deletions of accounts")
def finish_deletions() -> None:
    write(_queue)


def _queue(tx: Session) -> None:
    busy = select(JobRow.lock).where(JobRow.lock.startswith("account:"), JobRow.state.in_(OPEN))
    locks = set(tx.scalars(busy))
    for account in tx.scalars(select(Account).where(Account.state == flows.LEAVING, Account.removed.is_(None))):
        if f"account:{account.id}" not in locks:
            asker = Asker(account_id=account.id, domain_id=account.domain_id, user_id=SYSTEM_USER)
            told = ("Account", account.uuid)
            enqueue(tx, flows.delete, (account.id,), lock=f"account:{account.id}", instance=told, asker=asker)
