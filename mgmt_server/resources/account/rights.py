"""Who may act on whom: never on somebody who may do more."""

from __future__ import annotations

from sqlalchemy import ColumnElement, false
from sqlalchemy.orm import Session

from mgmt_server.api.callers import ROLE_OF_TYPE
from mgmt_server.api.scopes import of_domain
from mgmt_server.errors import InvalidValue, NotPermitted
from mgmt_server.model.account import ADMIN_ACCOUNT, SYSTEM_ACCOUNT, SYSTEM_USER, Account, Role, User
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import ADMIN, DOMAIN_ADMIN, RESOURCE_ADMIN, USER, Caller
from mgmt_server.resources.role.rights import check_reach

RANKS = {USER: 0, DOMAIN_ADMIN: 1, RESOURCE_ADMIN: 2, ADMIN: 3}
EQUALS = Setting(
    "role.types.allowed.for.operations.on.accounts.of.same.role.type",
    "Types of roles, comma separated, whose holders may act on accounts and users with a role of the same type",
)
NEIGHBOURS = Setting("allow.operations.on.users.in.same.account", "Whether users may act on others of their account")


def check_rank(session: Session, caller: Caller, user: User) -> None:
    """Refuse to act on a user who may do more than the caller, or on the system's own."""
    if user.id == SYSTEM_USER:
        raise NotPermitted("the user system is the server itself: it has no password and no keys")
    if user.id == caller.user_id:
        return
    account = session.get_one(Account, user.account_id)
    if account.id == caller.account_id and not NEIGHBOURS.flag(*of_domain(session, account.domain_id)):
        raise NotPermitted(f"users may not act on others of their account here: setting {NEIGHBOURS.name}")
    _check(session, caller, account, f"the user {user.username}")


def check_account(session: Session, caller: Caller, account: Account) -> None:
    """Refuse to act on an account whose users may do more than the caller, or on the system's own."""
    if account.id == SYSTEM_ACCOUNT:
        raise NotPermitted("the account system is the server itself: it stays as it is")
    _check(session, caller, account, f"the account {account.name}")


def _check(session: Session, caller: Caller, account: Account, who: str) -> None:
    if account.id == caller.account_id or caller.user_id == SYSTEM_USER:
        return
    role = session.get(Role, account.role_id) if account.role_id is not None else None
    kind = role.type if role is not None else ROLE_OF_TYPE.get(account.type, USER)
    if RANKS[kind] > RANKS[caller.role]:
        raise NotPermitted(f"{who} may do more than you: ask an administrator of that rank")
    if kind == caller.role and kind not in EQUALS.words(*of_domain(session, account.domain_id)):
        raise NotPermitted(f"{who} has a role of your own type, {kind}: the setting {EQUALS.name} does not name it")
    if role is not None:
        check_reach(session, caller, role)


def check_not_default(number: int, who: str) -> None:
    """Refuse to take away or shut out the first administrator, without whom nobody could undo it."""
    if number <= ADMIN_ACCOUNT:
        raise InvalidValue(f"{who} came with the installation: it cannot be disabled, locked, moved or deleted")


class OfAccounts:
    """Lets a list of accounts, or of what belongs to them, be narrowed like lists of what accounts own."""

    account_id = Account.id
    domain_id = Account.domain_id

    @staticmethod
    def offered(_: Caller) -> ColumnElement[bool]:
        return false()
