"""Log-in: a name, a domain and a password become a session.

Whether a user exists is told neither by the text nor by the time: a name that nobody has costs the same statements and
the same hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api import lockout, passwords, sessions
from mgmt_server.api.callers import Known, by_user
from mgmt_server.db import reading, write
from mgmt_server.errors import AccountError, Unauthenticated
from mgmt_server.jobs import queue
from mgmt_server.model.account import SYSTEM_USER, Account, Domain, User
from mgmt_server.resources.ldap import login as directory
from mgmt_server.resources.twofactor import rules as second


def log_in(sent: Mapping[str, str], address: str) -> tuple[dict[str, Any], str, str]:
    """The login's answer, the new session's id and its key. Raises AccountError (531)."""
    name, password = sent.get("username", ""), sent.get("password", "")
    with reading() as session:
        domain = _domain(session, sent)
        user = _user(session, domain, name)
    user_id = user.id if user else SYSTEM_USER  # whose row stands in for that of a name that nobody has
    with lockout.turn(user_id):
        most = lockout.allowed(user_id)
        counted = write(lockout.count, user_id, most)
        proven = _proven(user, domain, name, password) and (counted or user is None)
        if proven and user is None:
            user = _made_now(domain, name)
        opened = write(_open, user.id, address) if proven and user is not None else None
        if opened is None:
            write(lockout.went_wrong, user_id, most, address)
            raise plain(
                f"Failed to authenticate user {_shown(name)} in domain {domain.id}; please provide valid credentials"
            )
    number, key, pending = opened
    assert user is not None  # noqa: S101  for the type checker
    known = by_user(user.id)
    if known is None:
        raise plain("the user was deleted just now")
    return _greeting(user, known, key, pending), number, key


def plain(text: str) -> AccountError:
    """A refusal with no more than its code and text, as clients know it from log-ins."""
    refused = AccountError(text)
    refused.plain = True  # type: ignore[attr-defined]
    return refused


def _domain(session: Session, sent: Mapping[str, str]) -> Domain:
    number = sent.get("domainid")
    there = select(Domain).where(Domain.removed.is_(None))
    if number:
        inner = int(number) if number.isdecimal() and number.isascii() and len(number) < 19 else -1
        found = session.scalar(there.where((Domain.uuid == number) | (Domain.id == inner)))
        if found is None:
            raise Unauthenticated("Unable to find the domain by the given id")
        return found
    path = "/" + "".join(f"{p}/" for p in sent.get("domain", "").split("/") if p)
    if path.upper() == "/ROOT/":
        path = "/"
    found = session.scalar(there.where(Domain.path == path))
    if found is None:
        raise plain(f"Unable to find the domain from the path {_shown(path)}")
    return found


def _user(session: Session, domain: Domain, name: str) -> User | None:
    users = select(User).join(Account, Account.id == User.account_id)
    found = session.scalar(
        users.where(
            User.username == name,
            User.id != SYSTEM_USER,
            User.removed.is_(None),
            Account.removed.is_(None),
            Account.domain_id == domain.id,
        )
    )
    return found if found is not None and found.username == name else None  # MariaDB takes a for A, and ä for a


def _shown(text: str) -> str:
    return "".join(c for c in text[:255] if c.isprintable())


def _proven(user: User | None, domain: Domain, name: str, password: str) -> bool:
    if user is not None and user.source == "native":
        return passwords.matches(password, user.password)
    passwords.matches(password, None)  # costs what a native user's does
    if user is None or user.source == "ldap":
        return directory.prove(domain.id, user.id if user else None, name, password)
    return False


def _made_now(domain: Domain, name: str) -> User | None:
    """The user whom the directory's answer made."""
    with reading() as session:
        return _user(session, domain, name)


def _open(tx: Session, user_id: int, address: str) -> tuple[str, str, str] | None:
    """Open a session, unless the user was shut out meanwhile: its id, its key, and what it is for alone."""
    user = tx.get_one(User, user_id, with_for_update=True, populate_existing=True)
    account = tx.get_one(Account, user.account_id)
    if user.state != "enabled" or account.state != "enabled" or user.removed is not None:
        return None
    pending = second.pending(tx, user, account.domain_id)
    # who has the password alone must not get new tries for the code by it
    user.failures = max(0, user.failures - 1) if pending == second.CODE else 0
    number, key = sessions.random_text(), sessions.random_text()
    sessions.open_for(tx, number, key, user.id, address, pending)
    lockout.tell(tx, user, "USER.LOGIN", f"user {user.username} has logged in from IP address {address}")
    return number, key, pending


def _greeting(user: User, known: Known, key: str, pending: str) -> dict[str, Any]:
    caller = known.caller
    with reading() as session:
        issuer, provider = second.shown(session, user, caller.domain_id)
    greeting: dict[str, Any] = {
        "username": user.username,
        "userid": caller.user_uuid,
        "domainid": caller.domain_uuid,
        "timeout": sessions.TIMEOUT.number() * 60,
        "account": caller.account_name,
        "firstname": user.firstname or "",
        "lastname": user.lastname or "",
        "type": str(caller.account_type),
    }
    if user.timezone:
        offset = datetime.now(ZoneInfo(user.timezone)).utcoffset()
        hours = offset.total_seconds() / 3600 if offset else 0.0
        greeting |= {"timezone": user.timezone, "timezoneoffset": str(round(hours, 2))}
    greeting |= {
        "registered": "false",
        "sessionkey": key,
        "is2faenabled": "true" if pending == second.CODE else "false",
        "is2faverified": "false" if pending == second.CODE else "true",
        "issuerfor2fa": issuer,
    }
    if provider:
        greeting["providerfor2fa"] = provider
    if queue.joined is not None:
        greeting["managementserverid"] = queue.joined.uuid
    if pending == second.PASSWORD:
        greeting["passwordchangerequired"] = "true"
    return greeting
