"""Sessions: login, logout, and the cookie with its key."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api import sessions
from mgmt_server.api.callers import Known, by_user
from mgmt_server.api.passwords import matches
from mgmt_server.api.sessions import TIMEOUT
from mgmt_server.db import reading, write
from mgmt_server.errors import AccountError, Unauthenticated
from mgmt_server.model.account import Account, Domain, User
from mgmt_server.model.settings import Setting
from mgmt_server.web.signature import REFUSED

LOCATIONS = Setting(
    "api.sessionkey.check.locations",
    "Where the session key must come: as the cookie and the parameter, as either, or as the parameter. The header "
    "sessionkey counts as the parameter",
    options=("CookieAndParameter", "CookieOrParameter", "ParameterOnly"),
)
FAILED = "Failed to authenticate user in domain; please provide valid credentials"


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
    number, key = sessions.random_text(), sessions.random_text()
    write(sessions.open_for, number, key, user.id, address)
    return _greeting(user, known, key), number, key


def of_request(cookie: str, sent: Mapping[str, str], key_cookie: str | None, address: str = "") -> Known:
    """Who calls with this session. A wrong key, or a call from elsewhere, ends it."""
    found = sessions.find(cookie)
    if found is None:
        raise Unauthenticated(REFUSED)
    elsewhere = sessions.BOUND.flag() and address != found.address
    known = None if elsewhere or not _has_key(found.key, sent.get("sessionkey"), key_cookie) else by_user(found.user_id)
    if known is None or known.reason:
        sessions.end(cookie)
        raise Unauthenticated(REFUSED)
    return known


def _has_key(key: str, parameter: str | None, cookie: str | None) -> bool:
    places = LOCATIONS.text()
    if places == "ParameterOnly":
        return _same(parameter, key)
    if places == "CookieOrParameter":
        return _same(parameter, key) or _same(cookie, key)
    return _same(parameter, key) and _same(cookie, key)


def _same(given: str | None, key: str) -> bool:
    return hmac.compare_digest((given or "").encode(), key.encode())


log_out = sessions.end


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
