"""Users, their accounts and domains, and their keys."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from sqlalchemy import ColumnElement, delete, func, select

from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, narrowed
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.passwords import give, matches, new_key
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import ACCOUNT_TYPES, SYSTEM_ACCOUNT, SYSTEM_USER, Account, Domain, Login, User
from mgmt_server.model.tenancy import ADMINS, EVERYONE, ROOT
from mgmt_server.resources.account.rights import OfAccounts, check_rank
from mgmt_server.resources.account.views import account_view, domain_view, user_view

STATES = ("enabled", "disabled", "locked")


@command("listUsers", roles=EVERYONE, answers=user_view, unsupported=("apikeyaccess",))
def list_users(
    ctx: Context,
    id: Use[User] | None = None,
    username: str | None = None,
    accounttype: int | None = None,
    state: str | None = None,
    usersource: str | None = None,
    showicon: bool = False,
) -> Rows:
    """List users.

    id: this one alone
    username: those of this name
    accounttype: those in accounts of this type: 0 user, 1 root administrator, 2 domain administrator
    state: enabled, disabled or locked
    usersource: native
    showicon: accepted; there are no icons
    """
    return (
        Rows(user_view)
        .where(id=id and id.id, username=username, state=state and state.lower(), source=usersource)
        .where(
            User.id != SYSTEM_USER,
            Account.type == accounttype if accounttype is not None else None,
            *narrowed(ctx, ctx.session, OfAccounts),
        )
    )


@command("listAccounts", roles=EVERYONE, answers=account_view, unsupported=("apikeyaccess", "tag"))
def list_accounts(
    ctx: Context,
    id: Use[Account] | None = None,
    name: str | None = None,
    accounttype: int | None = None,
    state: str | None = None,
    iscleanuprequired: bool | None = None,
    details: list[str] | None = None,
    showicon: bool = False,
) -> Rows:
    """List accounts.

    id: this one alone
    name: those of this name
    accounttype: 0 user, 1 root administrator, 2 domain administrator, 3 resource administrator
    state: enabled, disabled or locked
    iscleanuprequired: those whose deletion has to be finished; deletions finish by themselves, so there are none
    details: accepted; all details are answered
    showicon: accepted; there are no icons
    """
    hidden = Account.type != ACCOUNT_TYPES["Project"]
    return (
        Rows(account_view)
        .where(id=id and id.id, name=name, type=accounttype, state=state and state.lower())
        .where(
            Account.id != SYSTEM_ACCOUNT,
            hidden,
            Account.id == -1 if iscleanuprequired else None,
            *narrowed(ctx, ctx.session, OfAccounts),
        )
    )


@command("listDomains", roles=ADMINS, answers=domain_view, unsupported=("tag",))
def list_domains(
    ctx: Context,
    id: Use[Domain] | None = None,
    name: str | None = None,
    level: int | None = None,
    listall: bool = False,
    details: list[str] | None = None,
    showicon: bool = False,
) -> Rows:
    """List domains.

    id: this one alone
    name: those of this name
    level: those so many levels below ROOT
    listall: those below the caller's own too, which root administrators see anyway
    details: accepted; all details are answered
    showicon: accepted; there are no icons
    """
    own = None if listall or id is not None or ctx.caller.is_root else Domain.id == ctx.caller.domain_id
    return Rows(domain_view).where(own, id=id and id.id, name=name, level=level)


@command("listDomainChildren", roles=ADMINS, answers=domain_view)
def list_children(
    ctx: Context,
    id: Use[Domain] | None = None,
    name: str | None = None,
    isrecursive: bool = False,
    listall: bool = False,
    showicon: bool = False,
) -> Rows:
    """List the domains below one.

    id: the domain; the caller's own by default
    name: those of this name
    isrecursive: those below the children too
    listall: the same as isrecursive
    showicon: accepted; there are no icons
    """
    above = id if id is not None else ctx.session.get_one(Domain, ctx.caller.domain_id)
    below: ColumnElement[bool] = Domain.parent_id == above.id
    if isrecursive or listall:
        below = Domain.path.startswith(above.path, autoescape=True) & (Domain.id != above.id)
    return Rows(domain_view).where(below, name=name)


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


@command(
    "updateUser",
    roles=EVERYONE,
    answers=user_view,
    event="USER.UPDATE",
    unsupported=("apikeyaccess", "mandate2fa"),
)
def update(
    ctx: Context,
    id: Operate[User],
    username: str | None = None,
    firstname: str | None = None,
    lastname: str | None = None,
    email: str | None = None,
    timezone: str | None = None,
    password: str | None = None,
    currentpassword: str | None = None,
    userapikey: str | None = None,
    usersecretkey: str | None = None,
) -> User:
    """Change a user.

    id: the user
    username: the new name
    firstname: first name
    lastname: last name
    email: address
    timezone: such as Europe/Zurich
    password: the new password; the user's sessions end
    currentpassword: the password until now, which all but root administrators give to change their own
    userapikey: an API key to have; with usersecretkey
    usersecretkey: the secret key that belongs to it
    """
    check_rank(ctx.session, ctx.caller, id)
    if timezone is not None and timezone not in available_timezones():
        raise InvalidValue(f"timezone={timezone[:100]} is unknown: write it as Europe/Zurich")
    if username is not None and username != id.username:
        _free_username(ctx, id, username)
    if password is not None:
        _new_password(ctx, id, password, currentpassword)
    if userapikey is not None or usersecretkey is not None:
        _given_keys(ctx, id, userapikey, usersecretkey)
    changes = {"username": username, "firstname": firstname, "lastname": lastname, "email": email, "timezone": timezone}
    for column, value in changes.items():
        if value is not None:
            setattr(id, column, value)
    after_commit(callers.forget)
    ctx.describe(f"changing user {id.username}")
    return id


def _free_username(ctx: Context, user: User, name: str) -> None:
    """Names of users are unique in a domain: by them people log in. The domain's row is the lock."""
    domain = select(Account.domain_id).where(Account.id == user.account_id).scalar_subquery()
    ctx.session.scalar(select(Domain.id).where(Domain.id == domain).with_for_update())
    same = select(User.id).join(Account, Account.id == User.account_id)
    taken = same.where(User.username == name, User.removed.is_(None), Account.domain_id == domain)
    if ctx.session.scalar(taken.limit(1)) is not None:
        raise InvalidValue(f"there is a user {name} in this domain already: choose another name")


def _new_password(ctx: Context, user: User, password: str, current: str | None) -> None:
    if user.source != "native":
        raise InvalidValue(f"the password of {user.username} is kept by {user.source}: change it there")
    own = user.id == ctx.caller.user_id
    if (own or ctx.caller.role not in ADMINS) and not ctx.caller.is_root:
        if current is None:
            raise InvalidValue("currentpassword is missing: send the password until now with the new one")
        if not matches(current, user.password):
            raise InvalidValue("currentpassword is not the password of this user")
    domain = ctx.session.get_one(Account, user.account_id).domain_id
    give(ctx.session, domain, user, password, chosen_by_user=own)
    ctx.session.execute(delete(Login).where(Login.user_id == user.id))  # whoever knew the old one is logged out


def _given_keys(ctx: Context, user: User, api_key: str | None, secret_key: str | None) -> None:
    if not ctx.caller.is_root:
        raise InvalidValue(
            "userapikey and usersecretkey are for root administrators: registerUserKeys makes a new pair"
        )
    if not api_key or not secret_key:
        raise InvalidValue("userapikey and usersecretkey go together: send both")
    taken = select(func.count()).select_from(User).where(User.api_key == api_key, User.id != user.id)
    if ctx.session.scalar(taken):
        raise InvalidValue("userapikey is taken by another user: choose another, or let registerUserKeys make one")
    user.api_key, user.secret_key = api_key, secret_key
