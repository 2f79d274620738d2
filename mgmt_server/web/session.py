"""Sessions: login, logout, and the cookie with its key."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api import lockout, sessions
from mgmt_server.api.callers import Known, by_user
from mgmt_server.db import write
from mgmt_server.errors import AccountError, ApiError, Unauthenticated
from mgmt_server.model.account import Login, User
from mgmt_server.model.settings import Setting
from mgmt_server.resources.twofactor import rules as second
from mgmt_server.web.login import log_in
from mgmt_server.web.signature import REFUSED

LOCATIONS = Setting(
    "api.sessionkey.check.locations",
    "Where the session key must come: as the cookie and the parameter, as either, or as the parameter. The header "
    "sessionkey counts as the parameter",
    options=("CookieAndParameter", "CookieOrParameter", "ParameterOnly"),
)
# what a session may call that waits for the second factor
FOR_CODE = (
    "listIdps", "listApis", "setupUserTwoFactorAuthentication", "listUserTwoFactorAuthenticatorProviders",
    "validateUserTwoFactorAuthenticationCode",
)  # fmt: skip
FOR_PASSWORD = ("listApis", "updateUser")


class CodeNeeded(ApiError):
    code = 511


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
    _check_pending(cookie, found.pending, known, sent)
    sessions.here.set(sessions.hashed(cookie))
    return known


def _check_pending(cookie: str, pending: str, known: Known, sent: Mapping[str, str]) -> None:
    """What a session may do that lacks something yet. Whoever goes on without the second factor is out."""
    name = sent.get("command", "")
    if pending == second.CODE and name not in FOR_CODE:
        sessions.end(cookie)
        raise CodeNeeded(
            "the second factor is missing: log in again, then call validateUserTwoFactorAuthenticationCode with "
            "codefor2fa, or setupUserTwoFactorAuthentication first if there is none yet"
        )
    own = sent.get("id") in (known.caller.user_uuid, None) and "password" in sent
    if pending == second.PASSWORD and (name not in FOR_PASSWORD or (name == "updateUser" and not own)):
        raise AccountError(
            "the password has to be replaced first: call updateUser with your own id, password and currentpassword, "
            "then log in with the new one"
        )


def _has_key(key: str, parameter: str | None, cookie: str | None) -> bool:
    places = LOCATIONS.text()
    if places == "ParameterOnly":
        return _same(parameter, key)
    if places == "CookieOrParameter":
        return _same(parameter, key) or _same(cookie, key)
    return _same(parameter, key) and _same(cookie, key)


def _same(given: str | None, key: str) -> bool:
    return hmac.compare_digest((given or "").encode(), key.encode())


def log_out(cookie: str, address: str) -> bool:
    """Whether there was a session to end. Tells whose it was."""
    return write(_log_out, cookie, address)


def _log_out(tx: Session, cookie: str, address: str) -> bool:
    mine = select(User).join(Login, Login.user_id == User.id).where(Login.id_hash == sessions.hashed(cookie))
    user = tx.scalar(mine)
    if user is None or not sessions.end_in(tx, cookie):  # which one of two calls at once has ended it
        return False
    lockout.tell(tx, user, "USER.LOGOUT", f"user {user.username} has logged out from IP address {address}")
    return True


__all__ = ["log_in", "log_out", "of_request"]
