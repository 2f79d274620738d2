"""Which account a call means."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.context import Context
from mgmt_server.api.parameters import no_entity
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import ACCOUNT_TYPES, Account, Domain
from mgmt_server.resources.account.flows import LEAVING


def the_account(ctx: Context, id: Account | None, name: str | None, domain: Domain | None) -> Account:
    """The account of that id, or of that name in a domain (by default the caller's), which the caller may change."""
    if id is not None:
        return _staying(of_people(id))
    if name is None:
        raise InvalidValue("which account? Send its id, or account with domainid")
    place = domain.id if domain is not None else ctx.caller.domain_id
    rows = select(Account).where(
        Account.name == name,
        Account.domain_id == place,
        Account.operable_by(ctx.caller),
        Account.removed.is_(None),
        Account.type != ACCOUNT_TYPES["Project"],
    )
    found = ctx.session.scalar(rows)
    if found is None:
        raise no_entity("account", name)
    return _staying(found)


def _staying(account: Account) -> Account:
    if account.state == LEAVING:
        raise InvalidValue(f"the account {account.name} is being deleted: that cannot be taken back")
    return account


def of_people(account: Account) -> Account:
    """Refuse the account through which a project owns: what concerns it is done to the project."""
    if account.type == ACCOUNT_TYPES["Project"]:
        raise InvalidValue(f"the account {account.name} belongs to a project: use the commands about projects")
    return account
