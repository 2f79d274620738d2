"""Log-in of those whom a directory knows: the password is theirs when the directory lets them in with it.

In a domain that is linked to a group or a unit, who is in it becomes a user at the first log-in, and who is in it no
more is disabled at the next. What the directory does not say for certain, because it does not answer, changes nobody.
"""

from __future__ import annotations

import logging
import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api import callers, lockout
from mgmt_server.db import after_commit, reading, write
from mgmt_server.drivers import ldap
from mgmt_server.drivers.ldap import Directory, Person
from mgmt_server.errors import ApiError
from mgmt_server.model.account import Account, LdapLink, User
from mgmt_server.resources.ldap.rows import make_both, make_user
from mgmt_server.resources.ldap.settings import directory as directory_of

log = logging.getLogger("cloudwright.login")


def prove(domain_id: int, user_id: int | None, name: str, password: str) -> bool:
    """Whether it is the password of the user, or of somebody who becomes one now. Never raises for what it hears."""
    with reading() as session:
        directory = directory_of(session, domain_id)
        rows = select(LdapLink).outerjoin(Account, Account.id == LdapLink.account_id)
        rows = rows.where(LdapLink.domain_id == domain_id, LdapLink.removed.is_(None), Account.removed.is_(None))
        links = list(session.scalars(rows.order_by(LdapLink.id)))
    if directory is None or not name or not password or (user_id is None and not links):
        return False
    try:
        return _prove(directory, links, domain_id, user_id, name, password)
    except ApiError as error:
        log.warning("a log-in in domain %d could not be checked with the directory: %s", domain_id, error)
        return False


def _prove(
    directory: Directory, links: list[LdapLink], domain_id: int, user_id: int | None, name: str, password: str
) -> bool:
    who = ldap.person(directory, name)
    if who is not None and who.username != name:
        who = None  # directories take ANN for ann: she would be two users here
    fits = [link for link in links if who is not None and belongs(directory, who, link)]
    why = _reason_to_disable(who, links, fits)
    if why:
        if user_id is not None:
            write(_disable, user_id, why)
        who = None
    if who is None:
        # costs a bind, as that of somebody who is there
        ldap.knows(directory, f"{directory.username}={secrets.token_hex(8)},{directory.base}", password)
        return False
    if not ldap.knows(directory, who.dn, password):
        return False
    if user_id is None:
        write(_make, domain_id, who, fits[0].id)
    elif fits and fits[0].account_id is not None:
        write(_move, user_id, fits[0].account_id)
    return True


def _reason_to_disable(who: Person | None, links: list[LdapLink], fits: list[LdapLink]) -> str:
    if who is None:
        return "the directory does not know it"
    if who.disabled:
        return "the directory has it disabled"
    if links and not fits:
        return "it is in no group or unit of the directory that is linked here"
    if len(fits) > 1 and any(link.account_id is not None for link in fits):
        return "it is in groups that are linked to several accounts here"
    return ""


def belongs(directory: Directory, who: Person, link: LdapLink) -> bool:
    if link.kind == "OU":
        return ldap.is_under(who, link.name)
    return ldap.is_in(directory, who, link.name)


def _make(tx: Session, domain_id: int, who: Person, link_id: int) -> None:
    link = tx.get_one(LdapLink, link_id)
    if link.account_id is None:
        make_both(tx, domain_id, who, link.account_type)
    else:
        make_user(tx, tx.get_one(Account, link.account_id), who)


def _move(tx: Session, user_id: int, account_id: int) -> None:
    user, account = tx.get_one(User, user_id), tx.get_one(Account, account_id)
    if user.account_id != account.id and account.removed is None:
        user.account_id = account.id
        after_commit(callers.forget)
        lockout.tell(tx, user, "USER.MOVE", f"user {user.username} is in account {account.name}, as its group says")


def _disable(tx: Session, user_id: int, why: str) -> None:
    user = tx.get_one(User, user_id)
    if user.source == "ldap" and user.state == "enabled":
        user.state = "disabled"
        after_commit(callers.forget)
        lockout.tell(tx, user, "USER.DISABLE", f"user {user.username} is disabled: {why}", "WARN")
