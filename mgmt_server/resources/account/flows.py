"""Accounts that are shut out, and accounts that go with all they own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.api import callers
from mgmt_server.db import after_commit, now
from mgmt_server.errors import Failed
from mgmt_server.jobs import Job
from mgmt_server.jobs.flow import CHILDREN, Child
from mgmt_server.model import settings
from mgmt_server.model.account import Account
from mgmt_server.resources.account import owned
from mgmt_server.resources.vm import flows as vm_flows

LEAVING = "removed"  # the state of an account that is being deleted, or whose deletion could not be finished
ROUNDS = 3  # what a call has still made that was under way goes in the second one


def shut(tx: Session, account: Account) -> None:
    """Let nobody in any more: what follows takes time."""
    account.state = LEAVING
    after_commit(callers.forget)


def disable(job: Job, account_id: int) -> None:
    """Stop the machines of an account that is disabled. A locked one's run on."""
    running = job.write(owned.to_stop, account_id)
    failed = run_all(
        job, (Child(vm_flows.stop, (m.id, False), m.lock("vm"), ("VirtualMachine", m.uuid)) for m in running)
    )
    if failed:
        raise Failed(spoken(failed))


def delete(job: Job, account_id: int) -> None:
    """Delete an account and all that it owns."""
    clean_up(job, account_id)
    job.write(gone, account_id)


def clean_up(job: Job, account_id: int) -> None:
    """Delete all that an account owns: what stands somewhere outside by the flows of its own kind, one kind after the
    other, then the rows. What fails is told, when all else is gone; the next try has only that before it."""
    for _ in range(ROUNDS):
        failed: list[str] = []
        for part in owned.PARTS:
            found = job.write(part.find, account_id)
            failed += run_all(job, (part.child(thing) for thing in found))
        if failed:
            raise Failed(spoken(failed))
        if not job.write(owned.drop_rows, account_id):
            return
    raise Failed("somebody goes on making things in the account while it is being deleted: try again")


def run_all(job: Job, children: Iterable[Child]) -> list[str]:
    """Run them, some at a time: what failed."""
    return [error for some in _batches(children) for error in job.wait_all(some)]


def _batches(children: Iterable[Child]) -> Iterator[list[Child]]:
    some: list[Child] = []
    for child in children:
        some.append(child)
        if len(some) == CHILDREN:
            yield some
            some = []
    if some:
        yield some


def spoken(failed: list[str]) -> str:
    more = f", and {len(failed) - 3} more" if len(failed) > 3 else ""
    return f"{len(failed)} of the account's things: {'; '.join(failed[:3])}{more}"


def gone(tx: Session, account_id: int) -> None:
    account = tx.get_one(Account, account_id)
    owned.drop_account(tx, account)
    account.removed, account.state = now(), LEAVING
    after_commit(callers.forget)
    after_commit(limits.forget)
    after_commit(settings.forget)
