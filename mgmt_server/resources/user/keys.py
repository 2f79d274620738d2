"""The keys of users: with which calls are signed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.api.passwords import new_key
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import User
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.resources.account.rights import check_rank
from mgmt_server.resources.user.views import user_view


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
    """Tell the keys of a user.

    id: the user
    """
    check_rank(ctx.session, ctx.caller, id)
    keys = {"apikey": id.api_key, "secretkey": id.secret_key}
    return {name: key for name, key in keys.items() if key} | {"apikeyaccess": True}
