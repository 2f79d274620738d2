"""Sessions: login, logout, and the cookie with its key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mgmt_server.api.callers import Known, by_user
from mgmt_server.api.passwords import matches
from mgmt_server.db import now, reading, write
from mgmt_server.errors import AccountError, Unauthenticated
from mgmt_server.model.account import Account, Domain, Login, User
from mgmt_server.model.settings import Setting
from mgmt_server.web.signature import REFUSED

TIMEOUT = Setting(
    "session.timeout", "Minutes after which a session that is not used ends", type="Integer", default="30", least=1
)
FAILED = "Failed to authenticate user in domain; please provide valid credentials"
_fresh: dict[str, tuple[float, int, str]] = {}  # id hash -> (until, user, session key): spares a SELECT a call


def log_in(sent: Mapping[str, str], address: str) -> tuple[dict[str, Any], str, str]:
    """The login's answer, the new session's id and its key. Raises AccountError (531)."""
    with reading() as session:
        user = _user(session, sent)
    known = by_user(user.id) if user else None
    if not matches(sent.get("password", ""), user.password if user else None) or known is None or known.reason:
        refused = AccountError(FAILED)
        refused.plain = True  # type: ignore[attr-defined]
        raise refused
    assert user is not None  # noqa: S101  for the type checker: known came from it
    number, key = _random(), _random()
    write(_open, number, key, user.id, address)
    return _greeting(user, known, key), number, key


def of_request(cookie: str, sent: Mapping[str, str], key_cookie: str | None) -> Known:
    """Who calls with this session. A wrong key ends the session."""
    name = _hash(cookie)
    found = _fresh.get(name)
    if found is None or found[0] < time.monotonic():
        found = write(_touch, name)
    if found is None:
        raise Unauthenticated(REFUSED)
    _fresh[name] = found
    _, user_id, key = found
    given = sent.get("sessionkey", "")
    if not hmac.compare_digest(given.encode(), key.encode()) or (key_cookie is not None and key_cookie != key):
        log_out(cookie)
        raise Unauthenticated(REFUSED)
    known = by_user(user_id)
    if known is None or known.reason:
        log_out(cookie)
        raise Unauthenticated(REFUSED)
    return known


def log_out(cookie: str) -> bool:
    name = _hash(cookie)
    _fresh.pop(name, None)

    def drop(tx: Session) -> bool:
        gone: Any = tx.execute(delete(Login).where(Login.id_hash == name))
        return bool(gone.rowcount)

    return write(drop)


def end_all(tx: Session, user_id: int) -> None:
    """End every session of a user, in the caller's transaction."""
    for name in tx.scalars(select(Login.id_hash).where(Login.user_id == user_id)):
        _fresh.pop(name, None)
    tx.execute(delete(Login).where(Login.user_id == user_id))


def _user(session: Session, sent: Mapping[str, str]) -> User | None:
    users = select(User).join(Account, Account.id == User.account_id).join(Domain, Domain.id == Account.domain_id)
    users = users.where(User.username == sent.get("username", ""), User.removed.is_(None), Account.removed.is_(None))
    number = sent.get("domainid")
    if number:
        domains = select(Domain.id).where(
            (Domain.uuid == number) | (Domain.id == (int(number) if number.isdecimal() and len(number) < 19 else -1))
        )
        domain = session.scalar(domains)
        if domain is None:
            raise Unauthenticated("Unable to find the domain by the given id")
        return session.scalar(users.where(Domain.id == domain))
    path = "/" + "".join(f"{p}/" for p in sent.get("domain", "").split("/") if p)
    if path.upper() == "/ROOT/":
        path = "/"
    return session.scalar(users.where(Domain.path == path))


def _open(tx: Session, number: str, key: str, user_id: int, address: str) -> None:
    tx.execute(delete(Login).where(Login.last_used < now() - timedelta(minutes=TIMEOUT.number())))
    tx.add(Login(id_hash=_hash(number), session_key=key, user_id=user_id, last_used=now(), address=address[:255]))


def _touch(tx: Session, name: str) -> tuple[float, int, str] | None:
    row = tx.scalar(select(Login).where(Login.id_hash == name))
    if row is None or row.last_used < now() - timedelta(minutes=TIMEOUT.number()):
        return None
    tx.execute(update(Login).where(Login.id_hash == name).values(last_used=now()))
    return time.monotonic() + 10, row.user_id, row.session_key


def _greeting(user: User, known: Known, key: str) -> dict[str, Any]:
    caller = known.caller
    return {
        "username": user.username,
        "userid": caller.user_uuid,
        "domainid": caller.domain_uuid,
        "timeout": TIMEOUT.number() * 60,
        "account": caller.account_name,
        "firstname": user.firstname or "",
        "lastname": user.lastname or "",
        "type": str(caller.account_type),
        "registered": "false",
        "sessionkey": key,
        "is2faenabled": "false",
        "is2faverified": "true",
        "issuerfor2fa": "CloudStack",
    } | ({"timezone": user.timezone} if user.timezone else {})


def _random() -> str:
    return base64.urlsafe_b64encode(os.urandom(20)).decode().rstrip("=")


def _hash(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()
