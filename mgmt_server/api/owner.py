"""Whose a new thing shall be: the caller's, or that of the account, domain or project named with the call."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.context import Context
from mgmt_server.api.parameters import no_entity
from mgmt_server.api.projects import active
from mgmt_server.errors import AccountError, InvalidValue
from mgmt_server.model.account import ACCOUNT_TYPES, Account, Domain, Project


def owner(
    ctx: Context, account: str | None = None, domainid: Domain | None = None, projectid: Project | None = None
) -> Account:
    """The account that shall own. Raises InvalidValue for one that is missing or that the caller has no say over."""
    session, caller = ctx.session, ctx.caller
    if projectid is not None:
        if account:
            raise InvalidValue("account and projectid exclude each other: send one of them")
        return session.get_one(Account, active(session, projectid).account_id)
    if account is None:
        if domainid is not None and domainid.id != caller.domain_id:
            raise InvalidValue("domainid needs account: say which account of that domain shall own it")
        mine = session.get_one(Account, caller.account_id)
        return _enabled(mine)
    domain = domainid.id if domainid is not None else caller.domain_id
    rows = select(Account).where(Account.name == account, Account.domain_id == domain, Account.operable_by(caller))
    # a project is named by projectid alone: by its account's name it would be used past its state and its roles
    named = rows.where(Account.removed.is_(None), Account.type != ACCOUNT_TYPES["Project"])
    found = session.scalar(named)
    if found is None:
        raise no_entity("account", account)
    return _enabled(found)


def _enabled(account: Account) -> Account:
    if account.state != "enabled":
        raise AccountError(f"the account {account.name} is {account.state}: enable it first")
    return account
