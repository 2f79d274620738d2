"""Users and accounts of people whom a directory knows. No password of theirs is kept."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api import callers, lockout
from mgmt_server.db import after_commit
from mgmt_server.drivers.ldap import Person
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Role, User
from mgmt_server.model.tenancy import DOMAIN_ADMIN, USER
from mgmt_server.resources.user.rows import free_username, given_uuid, hold_domain, known_timezone

ROLE_OF_LINK = {0: USER, 2: DOMAIN_ADMIN}  # nobody becomes a root administrator by being in a group


def default_role(session: Session, kind: int) -> Role:
    if kind not in ROLE_OF_LINK:
        raise InvalidValue(f"accounttype={kind}: whom a directory makes is a user (0) or a domain administrator (2)")
    came = select(Role).where(Role.type == ROLE_OF_LINK[kind], Role.is_default, Role.removed.is_(None))
    return session.scalars(came.order_by(Role.id).limit(1)).one()


def account_named(session: Session, domain_id: int, name: str) -> Account | None:
    same = select(Account).where(Account.name == name, Account.domain_id == domain_id, Account.removed.is_(None))
    return session.scalar(same.limit(1))


def make_account(tx: Session, domain_id: int, name: str, role: Role, kind: int) -> Account:
    domain = hold_domain(tx, domain_id)
    if account_named(tx, domain_id, name) is not None:
        raise InvalidValue(f"The account {name} already exists in domain {domain.name}: choose another name")
    made = Account(name=name, type=kind, role_id=role.id, domain_id=domain_id, details={})
    tx.add(made)
    tx.flush()
    return made


def make_user(tx: Session, account: Account, who: Person, timezone: str | None = None) -> User:
    made = User(
        username=free_username(tx, account.domain_id, who.username),
        firstname=who.firstname,
        lastname=who.lastname,
        email=who.email,
        timezone=known_timezone(timezone),
        account_id=account.id,
        source="ldap",
    )
    tx.add(made)
    tx.flush()
    lockout.tell(tx, made, "USER.CREATE", f"user {who.username} of account {account.name} comes from the directory")
    after_commit(callers.forget)
    return made


def make_both(tx: Session, domain_id: int, who: Person, kind: int) -> User:
    """A user in an account of the same name."""
    return make_user(tx, make_account(tx, domain_id, who.username, default_role(tx, kind), kind), who)


__all__ = ["account_named", "default_role", "given_uuid", "make_account", "make_both", "make_user"]
