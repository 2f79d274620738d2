"""Who may act on whom: never on somebody who may do more."""

from __future__ import annotations

from sqlalchemy import ColumnElement, false, select
from sqlalchemy.orm import Session

from mgmt_server.api.callers import ROLE_OF_TYPE
from mgmt_server.errors import NotPermitted
from mgmt_server.model.account import SYSTEM_USER, Account, Role, User
from mgmt_server.model.tenancy import ADMIN, DOMAIN_ADMIN, RESOURCE_ADMIN, USER, Caller

RANKS = {USER: 0, DOMAIN_ADMIN: 1, RESOURCE_ADMIN: 2, ADMIN: 3}


def role_of(session: Session, user: User) -> str:
    rows = select(Account.type, Role.type).outerjoin(Role, Role.id == Account.role_id)
    kind, role = session.execute(rows.where(Account.id == user.account_id)).one()
    return str(role or ROLE_OF_TYPE.get(kind, USER))


def check_rank(session: Session, caller: Caller, user: User) -> None:
    """Refuse to touch the credentials of a user who may do more than the caller, or of the system's own."""
    if user.id == SYSTEM_USER:
        raise NotPermitted("the user system is the server itself: it has no password and no keys")
    if RANKS[role_of(session, user)] > RANKS[caller.role]:
        raise NotPermitted(f"the user {user.username} may do more than you: ask an administrator of that rank")


class OfAccounts:
    """Lets a list of accounts, or of what belongs to them, be narrowed like lists of what accounts own."""

    account_id = Account.id
    domain_id = Account.domain_id

    @staticmethod
    def offered(_: Caller) -> ColumnElement[bool]:
        return false()
