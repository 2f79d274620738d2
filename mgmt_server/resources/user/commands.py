"""Users: what may be asked."""

from __future__ import annotations

from zoneinfo import available_timezones

from sqlalchemy import delete, func, select

from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, narrowed
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.passwords import give, matches
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import SYSTEM_USER, Account, Domain, Login, User
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.resources.account.rights import OfAccounts, check_rank
from mgmt_server.resources.user import keys  # noqa: F401  the commands about keys
from mgmt_server.resources.user.views import user_view


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
