"""The keys of users: with which calls are signed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.api.passwords import new_key
from mgmt_server.api.scopes import of_domain
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import SYSTEM_USER, Account, User
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.resources.account.rights import check_rank
from mgmt_server.resources.user.views import user_view

SECRET_AGAIN = Setting(
    "api.secret.key.readable",
    "Whether getUserKeys tells the secret key too, as clients expect that look keys up instead of making them",
    type="Boolean",
    default="false",
    scopes=("Domain",),
)


@command("getUser", roles=ROOT, answers=user_view, key="user", reads=True)
def get_user(ctx: Context, userapikey: str) -> User:
    """Find a user by API key.

    userapikey: the API key
    """
    found = ctx.session.scalar(select(User).where(User.api_key == userapikey, User.removed.is_(None)))
    if found is None:
        raise InvalidValue("User with specified API key does not exist: registerUserKeys makes a new pair")
    return found


@command("registerUserKeys", roles=EVERYONE, key="userkeys")
def register_keys(ctx: Context, id: Operate[User]) -> dict[str, Any]:
    """Make a new pair of keys for a user. Calls signed with the old pair are refused from then on.

    id: the user
    """
    check_rank(ctx.session, ctx.caller, id)
    id.api_key, id.secret_key = new_key(), new_key()
    after_commit(callers.forget)
    ctx.describe(f"making new keys for user {id.username}")
    ctx.event("REGISTER.USER.KEY", id)
    return {"apikey": id.api_key, "secretkey": id.secret_key}


@command("getUserKeys", roles=EVERYONE, key="userkeys", reads=True)
def get_keys(ctx: Context, id: Operate[User]) -> dict[str, Any]:
    """Tell the API key of a user, and whether calls with it are answered. The secret key is told when it is made.

    id: the user
    """
    check_rank(ctx.session, ctx.caller, id)
    account = ctx.session.get_one(Account, id.account_id)
    told: dict[str, Any] = {"apikeyaccess": callers.key_access(ctx.session, id, account)}
    if id.api_key:
        told["apikey"] = id.api_key
        if id.secret_key and _tells_secret(ctx, account):
            told["secretkey"] = id.secret_key
    return told


def _tells_secret(ctx: Context, account: Account) -> bool:
    """On the integration port, where test clients fetch the administrator's keys: who reaches it has all rights
    without any key. Elsewhere only where the setting says so."""
    return ctx.caller.user_id == SYSTEM_USER or SECRET_AGAIN.flag(*of_domain(ctx.session, account.domain_id))
