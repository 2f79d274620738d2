"""How domains go, with those below them and their accounts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as delete_rows
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.api import callers
from mgmt_server.db import after_commit
from mgmt_server.errors import Failed
from mgmt_server.jobs import Job
from mgmt_server.jobs.flow import Child
from mgmt_server.model import settings
from mgmt_server.model.account import ACCOUNT_TYPES, Account, Domain, LdapLink, Project, ProjectInvitation
from mgmt_server.model.event import SettingValue
from mgmt_server.model.limit import ResourceCount
from mgmt_server.model.network import Network
from mgmt_server.model.tenancy import Caller
from mgmt_server.model.zone import VlanRange
from mgmt_server.resources.account import flows as account_flows
from mgmt_server.resources.account.owned import Thing
from mgmt_server.resources.account.rights import check_account, check_not_default
from mgmt_server.resources.dedication.rows import release_all
from mgmt_server.resources.domain.tree import below, bury
from mgmt_server.resources.project import flows as project_flows


def check_accounts(session: Session, caller: Caller, domain: Domain) -> None:
    """Refuse to delete accounts on the way whom the caller could not delete one by one."""
    for account in session.scalars(_accounts(domain.path)):
        check_account(session, caller, account)
        check_not_default(account.id, f"the account {account.name}")


def delete(job: Job, domain_id: int, cleanup: bool) -> None:
    """Delete a domain. With `cleanup` its accounts and projects first, and the domains below it with theirs."""
    job.write(begin, domain_id, cleanup, undo=stays)
    if cleanup:
        failed = account_flows.run_all(job, (_project(t) for t in job.write(projects, domain_id)))
        failed += account_flows.run_all(job, (_account(t) for t in job.write(accounts, domain_id)))
        if failed:
            raise Failed(account_flows.spoken(failed))
    job.write(gone, domain_id)


def begin(tx: Session, domain_id: int, cleanup: bool) -> None:
    """Let nothing new into it, nor into those below."""
    domain = tx.get_one(Domain, domain_id)
    rows = select(Domain).where(below(domain.path), Domain.removed.is_(None)).with_for_update()
    for one in tx.scalars(rows.execution_options(populate_existing=True)):
        one.state = "Inactive"
    if not cleanup:
        _check_empty(tx, domain)
        return
    for account in tx.scalars(_accounts(domain.path)):
        account_flows.shut(tx, account)


def stays(tx: Session, domain_id: int, cleanup: bool) -> None:
    """Undo of `begin`. Accounts that were shut out stay so: they are half gone."""
    domain = tx.get_one(Domain, domain_id)
    whole = update(Domain).where(below(domain.path), Domain.removed.is_(None)).values(state="Active")
    tx.execute(whole.execution_options(synchronize_session=False))


def _check_empty(tx: Session, domain: Domain) -> None:
    live: list[tuple[str, Any, Any]] = [
        ("accounts", Account, (Account.domain_id == domain.id) & (Account.type != ACCOUNT_TYPES["Project"])),
        ("projects", Project, Project.domain_id == domain.id),
        ("domains", Domain, Domain.parent_id == domain.id),
        ("networks", Network, Network.domain_id == domain.id),
    ]
    found = []
    for what, table, condition in live:
        rows = select(table.name).where(condition, table.removed.is_(None)).order_by(table.id)
        names = list(tx.scalars(rows.limit(6)))
        if names:
            more = ", ..." if len(names) > 5 else ""
            found.append(f"{what} ({', '.join(names[:5])}{more})")
    if found:
        told = " and ".join(found)
        raise Failed(f"Delete failed on domain {domain.path}: it has {told}. Delete them first, or send cleanup=true")


def _accounts(path: str) -> Any:
    inside = select(Domain.id).where(below(path), Domain.removed.is_(None))
    people = select(Account).where(Account.domain_id.in_(inside), Account.type != ACCOUNT_TYPES["Project"])
    return people.where(Account.removed.is_(None)).order_by(Account.id)


def accounts(tx: Session, domain_id: int) -> list[Thing]:
    return [Thing(a.id, a.uuid) for a in tx.scalars(_accounts(tx.get_one(Domain, domain_id).path))]


def _account(thing: Thing) -> Child:
    return Child(account_flows.delete, (thing.id,), thing.lock("account"), ("Account", thing.uuid))


def projects(tx: Session, domain_id: int) -> list[Thing]:
    inside = select(Domain.id).where(below(tx.get_one(Domain, domain_id).path), Domain.removed.is_(None))
    rows = select(Project.id, Project.uuid).where(Project.domain_id.in_(inside), Project.removed.is_(None))
    return [Thing(*row) for row in tx.execute(rows.order_by(Project.id))]


def _project(thing: Thing) -> Child:
    return Child(project_flows.delete, (thing.id,), thing.lock("project"), ("Project", thing.uuid))


def gone(tx: Session, domain_id: int) -> None:
    """The domain and those below it, the deepest first. Each is looked at once more: something may have come."""
    top = tx.get_one(Domain, domain_id)
    rows = select(Domain).where(below(top.path), Domain.removed.is_(None)).order_by(Domain.level.desc())
    for domain in list(tx.scalars(rows.with_for_update())):
        _check_empty(tx, domain)
        _drop(tx, domain)
    after_commit(callers.forget)
    after_commit(limits.forget)
    after_commit(settings.forget)


def _drop(tx: Session, domain: Domain) -> None:
    """What is the domain's own goes or is everybody's again. Offerings that were for it alone stay out of sight."""
    release_all(tx, domain_id=domain.id)
    for table in (LdapLink, ProjectInvitation, ResourceCount):
        tx.execute(delete_rows(table).where(table.domain_id == domain.id).execution_options(synchronize_session=False))
    mine = (SettingValue.scope == "Domain", SettingValue.scope_id == domain.id)
    tx.execute(delete_rows(SettingValue).where(*mine).execution_options(synchronize_session=False))
    ranges = update(VlanRange).where(VlanRange.domain_id == domain.id).values(account_id=None, domain_id=None)
    tx.execute(ranges.execution_options(synchronize_session=False))
    above = tx.get_one(Domain, domain.parent_id)
    bury(tx, domain, above)
