"""The second factor of users at their log-in."""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from mgmt_server.api import lockout, sessions
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.api.scopes import of_domain
from mgmt_server.db import after_commit, cache_of_rows, write
from mgmt_server.errors import ApiError, InvalidValue, NotPermitted
from mgmt_server.model.account import Account, Login, User
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.resources.account.rights import check_rank
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.twofactor import rules

MOST_WRONG, WINDOW = 10, 900.0  # wrong codes of a user in seconds, on each node: root administrators are not disabled


class WrongCode(ApiError):
    code = 511


class TooMany(ApiError):
    code = 429


@command("listUserTwoFactorAuthenticatorProviders", roles=EVERYONE, key="providers", reads=True)
def list_providers(ctx: Context, name: str | None = None) -> list[dict[str, Any]]:
    """List what can make the codes of a second factor.

    name: this one alone
    """
    found = [p for p in rules.PROVIDERS.values() if name is None or p.name == name.lower()]
    if not found:
        raise InvalidValue(f"name={(name or '')[:100]} is no provider: it is one of {', '.join(rules.PROVIDERS)}")
    return [{"name": p.name, "description": p.description} for p in found]


@command("setupUserTwoFactorAuthentication", roles=EVERYONE, key="setup2fa")
def setup(
    ctx: Context, enable: bool = True, provider: str | None = None, userid: Operate[User] | None = None
) -> dict[str, Any]:
    """Give the caller a second factor, or take it away, from another user too. It counts when a first code was right.

    enable: false takes it away
    provider: totp or staticpin; what holds for the domain by default
    userid: whose to take away, for administrators; the caller's own by default
    """
    own = ctx.session.get_one(User, ctx.caller.user_id)
    user = userid if userid is not None else own
    if enable:
        if user.id != own.id:
            raise InvalidValue("a second factor is set up by whom it belongs to: leave userid out")
        return _enabled(ctx, own, provider)
    if user.id != own.id:
        if ctx.caller.role not in ADMINS:
            raise NotPermitted("only administrators take away the second factor of others")
        check_rank(ctx.session, ctx.caller, user)
        sessions.end_all(ctx.session, user.id)
    elif own.two_factor:
        _not_pending(ctx.session)
    rules.forget(ctx.session, user.id)
    ctx.describe(f"taking away the second factor of user {user.username}")
    ctx.event("USER.UPDATE", user)
    return {"id": user.uuid, "username": user.username}


def _enabled(ctx: Context, user: User, provider: str | None) -> dict[str, Any]:
    account = ctx.session.get_one(Account, user.account_id)
    scopes = of_domain(ctx.session, account.domain_id)
    if not (rules.ENABLED.flag(*scopes) or rules.MANDATED.flag(*scopes) or user.two_factor_mandated):
        raise InvalidValue(f"second factors are off in this domain: setting {rules.ENABLED.name}")
    if user.two_factor:
        raise InvalidValue("there is a second factor already: take it away first, with enable=false")
    chosen = str(one_of("provider", (provider or rules.DEFAULT.text(*scopes)).lower(), tuple(rules.PROVIDERS)))
    secret = rules.new_secret(chosen)
    rules.keep(
        ctx.session, user.id, two_factor_secret=secret, two_factor_provider=chosen, two_factor=False, two_factor_used=0
    )
    ctx.describe(f"setting up a second factor ({chosen}) for user {user.username}")
    ctx.event("USER.UPDATE", user)
    return {"id": user.uuid, "username": user.username, "accountid": account.uuid, "secretcode": secret}


def _not_pending(session: Session) -> None:
    """Whoever still owes the code must not get rid of it."""
    row = session.query(Login).where(Login.id_hash == sessions.here.get()).first()
    if row is not None and row.pending == rules.CODE:
        raise WrongCode("the second factor is missing: call validateUserTwoFactorAuthenticationCode first")


@command("validateUserTwoFactorAuthenticationCode", roles=EVERYONE, outside=True)
def validate(ctx: Context, codefor2fa: str) -> None:
    """Prove the second factor, after a log-in or when it is set up. A wrong code ends a session that waits for it.

    codefor2fa: the six digits
    """
    user_id, here = ctx.caller.user_id, sessions.here.get()
    with lockout.turn(user_id):
        _check_tries(user_id)
        most = lockout.allowed(user_id)
        if write(lockout.count, user_id, most) and write(_proven, user_id, here, codefor2fa):
            return
        _wrong_at(user_id)
        write(lockout.went_wrong, user_id, most)
        write(_ended, here)
    raise WrongCode("the code is wrong, or was used before: log in again and send the one that is shown now")


def _proven(tx: Session, user_id: int, here: str, code: str) -> bool:
    user = tx.get_one(User, user_id)
    if not user.two_factor_secret:
        raise InvalidValue("there is no second factor yet: call setupUserTwoFactorAuthentication first")
    if not rules.right(tx, user, code.strip()):
        return False
    rules.keep(tx, user_id, two_factor=True, failures=0)
    domain = tx.get_one(Account, user.account_id).domain_id
    left = rules.after_code(tx, user, domain)
    tx.execute(update(Login).where(Login.id_hash == here, Login.user_id == user_id).values(pending=left))
    after_commit(sessions.forget)
    return True


def _ended(tx: Session, here: str) -> None:
    tx.execute(delete(Login).where(Login.id_hash == here, Login.pending == rules.CODE))
    after_commit(sessions.forget)


_lock = Lock()
_wrong: OrderedDict[int, list[float]] = OrderedDict()


@cache_of_rows
def forget_tries() -> None:
    _wrong.clear()


def _check_tries(user_id: int) -> None:
    with _lock:
        recent = [at for at in _wrong.get(user_id, []) if at > time.monotonic() - WINDOW]
    if len(recent) >= MOST_WRONG:
        raise TooMany(f"{MOST_WRONG} wrong codes in {int(WINDOW / 60)} minutes: try again later")


def _wrong_at(user_id: int) -> None:
    with _lock:
        _wrong[user_id] = [*_wrong.get(user_id, []), time.monotonic()][-MOST_WRONG:]
        _wrong.move_to_end(user_id)
        while len(_wrong) > 20_000:
            _wrong.popitem(last=False)
