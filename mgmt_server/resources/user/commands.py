"""Users: what may be asked."""

from __future__ import annotations

from sqlalchemy import func, select

from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, narrowed
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.passwords import give, matches, unlock
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import SYSTEM_USER, Account, Domain, User
from mgmt_server.model.tenancy import ADMINS, EVERYONE, ROOT
from mgmt_server.resources.account.rights import OfAccounts, check_account, check_not_default, check_rank
from mgmt_server.resources.account.rows import the_account
from mgmt_server.resources.checks import assign
from mgmt_server.resources.physicalnetwork.flows import done
from mgmt_server.resources.user import flows, keys, rows  # noqa: F401  keys: the commands about them
from mgmt_server.resources.user.rows import access, known_timezone
from mgmt_server.resources.user.views import listed_view, user_view


@command("listUsers", roles=EVERYONE, answers=listed_view)
def list_users(
    ctx: Context,
    id: Use[User] | None = None,
    username: str | None = None,
    accounttype: int | None = None,
    state: str | None = None,
    usersource: str | None = None,
    apikeyaccess: str | None = None,
    showicon: bool = False,
) -> Rows:
    """List users.

    id: this one alone
    username: those of this name
    accounttype: those in accounts of this type: 0 user, 1 root administrator, 2 domain administrator
    state: enabled, disabled or locked
    usersource: native, ldap and so on
    apikeyaccess: those whose own say on the use of API keys is Enabled, Disabled or Inherit
    showicon: accepted; there are no icons
    """
    return (
        Rows(listed_view)
        .where(id=id and id.id, username=username, state=state and state.lower(), source=usersource)
        .where(
            User.id != SYSTEM_USER,
            User.api_key_access.is_(access(apikeyaccess)) if apikeyaccess is not None else None,
            Account.type == accounttype if accounttype is not None else None,
            *narrowed(ctx, ctx.session, OfAccounts),
        )
    )


@command("createUser", roles=ADMINS, answers=user_view, event="USER.CREATE")
def create(
    ctx: Context,
    account: str,
    username: str,
    password: str,
    firstname: str,
    lastname: str,
    email: str,
    domainid: Operate[Domain] | None = None,
    timezone: str | None = None,
    userid: str | None = None,
) -> User:
    """Add a user to an account. It may do what the account's role allows.

    account: the account's name
    username: the name to log in with, of which there is one in a domain
    password: the password to begin with
    firstname: first name
    lastname: last name
    email: address
    domainid: the account's domain; the caller's own by default
    timezone: such as Europe/Zurich
    userid: a UUID to have, as a directory knows the user
    """
    owner = the_account(ctx, None, account, domainid)
    check_account(ctx.session, ctx.caller, owner)
    made = rows.make(
        ctx.session, owner, username=username, password=password, firstname=firstname, lastname=lastname, email=email,
        timezone=timezone, uuid=userid,
    )  # fmt: skip
    ctx.describe(f"creating user {username} of account {owner.name}")
    return made


@command(
    "updateUser",
    roles=EVERYONE,
    answers=user_view,
    event="USER.UPDATE",
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
    apikeyaccess: str | None = None,
    mandate2fa: bool = False,
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
    apikeyaccess: whether calls with its keys are answered: Enabled, Disabled, or Inherit for what the account says
    """
    check_rank(ctx.session, ctx.caller, id)
    known_timezone(timezone)
    if username is not None and username != id.username:
        rows.free_username(ctx.session, ctx.session.get_one(Account, id.account_id).domain_id, username)
    if password is not None:
        _new_password(ctx, id, password, currentpassword)
    if userapikey is not None or usersecretkey is not None:
        _given_keys(ctx, id, userapikey, usersecretkey)
    if apikeyaccess is not None:
        rows.set_access(ctx, id, apikeyaccess)
    if mandate2fa:
        id.two_factor_mandated = True
    changes = {"username": username, "firstname": firstname, "lastname": lastname, "email": email, "timezone": timezone}
    assign(id, changes)
    after_commit(callers.forget)
    ctx.describe(f"changing user {id.username}")
    return id


@command("enableUser", roles=ADMINS, answers=user_view, event="USER.ENABLE")
def enable(ctx: Context, id: Operate[User]) -> User:
    """Let a user in again who is disabled or locked.

    id: the user
    """
    check_rank(ctx.session, ctx.caller, id)
    unlock(id)
    after_commit(callers.forget)
    ctx.describe(f"enabling user {id.username}")
    return id


@command("disableUser", roles=ADMINS, answers=user_view, event="USER.DISABLE")
def disable(ctx: Context, id: Operate[User]) -> Accepted:
    """Shut a user out: no log-in and no call is answered until the user is enabled. Its machines run on.

    id: the user
    """
    _not_oneself(ctx, id, "disable")
    id.state = "disabled"
    after_commit(callers.forget)
    ctx.describe(f"disabling user {id.username}")
    return ctx.start(done, id)


@command("lockUser", roles=ADMINS, answers=user_view, event="USER.LOCK")
def lock(ctx: Context, id: Operate[User]) -> User:
    """Shut a user out at once, until the user is enabled.

    id: the user
    """
    _not_oneself(ctx, id, "lock")
    id.state = "locked"
    after_commit(callers.forget)
    ctx.describe(f"locking user {id.username}")
    return id


@command("deleteUser", roles=ADMINS, event="USER.DELETE")
def delete(ctx: Context, id: Operate[User]) -> None:
    """Delete a user, with its keys and sessions. What it made is the account's and stays.

    id: the user
    """
    _not_oneself(ctx, id, "delete")
    flows.gone(ctx.session, id)
    ctx.describe(f"deleting user {id.username}")


@command("moveUser", roles=ROOT, event="USER.MOVE")
def move(
    ctx: Context, id: Operate[User], accountid: Operate[Account] | None = None, account: str | None = None
) -> None:
    """Move a user to another account of its domain. Keys stay; sessions end.

    id: the user
    accountid: the account
    account: its name, instead of accountid
    """
    _not_oneself(ctx, id, "move")
    before = ctx.session.get_one(Account, id.account_id)
    after = the_account(ctx, accountid, account, ctx.session.get_one(Domain, before.domain_id))
    if after.id == before.id:
        raise InvalidValue(f"the user {id.username} is in the account {after.name} already")
    if after.domain_id != before.domain_id:
        raise InvalidValue(f"the account {after.name} is in another domain: a user moves within its domain only")
    check_account(ctx.session, ctx.caller, after)
    id.account_id = after.id
    flows.leave_projects(ctx.session, id.id)
    after_commit(callers.forget)
    ctx.describe(f"moving user {id.username} from account {before.name} to {after.name}")


def _not_oneself(ctx: Context, user: User, verb: str) -> None:
    check_rank(ctx.session, ctx.caller, user)
    check_not_default(user.id, f"the user {user.username}")
    if user.id == ctx.caller.user_id:
        raise InvalidValue(f"nobody can {verb} themselves: ask another administrator")


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
