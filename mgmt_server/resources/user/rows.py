"""What making and changing users has in common with making accounts."""

from __future__ import annotations

from zoneinfo import available_timezones

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.context import Context
from mgmt_server.api.parameters import UUID_TEXT
from mgmt_server.api.passwords import give
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain, User
from mgmt_server.resources.checks import one_of

ACCESS = {"Enabled": True, "Disabled": False, "Inherit": None}


def known_timezone(name: str | None) -> str | None:
    if name is not None and name not in available_timezones():
        raise InvalidValue(f"timezone={name[:100]} is unknown: write it as Europe/Zurich")
    return name


def access(text: str) -> bool | None:
    """What apikeyaccess says: whether keys may be used; None for what is inherited."""
    return ACCESS[str(one_of("apikeyaccess", text, list(ACCESS)))]


_SPOKEN = {meant: word.upper() for word, meant in ACCESS.items()}


def spoken_access(value: bool | None) -> str:
    return _SPOKEN[value]


def set_access(ctx: Context, row: User | Account, text: str) -> None:
    """Say whether the keys of a user, or of an account's users, may be used. A change has an event of its own."""
    meant = access(text)
    if meant is row.api_key_access:
        return
    row.api_key_access = meant
    what = f"user {row.username}" if isinstance(row, User) else f"account {row.name}"
    ctx.event("API.KEY.ACCESS.UPDATE", row, text=f"API key access of {what} is {spoken_access(meant)}")


def given_uuid(session: Session, table: type[Account | User | Domain], parameter: str, text: str) -> str:
    """An id that the caller chose, as another region or a directory knows it."""
    if not UUID_TEXT.fullmatch(text):
        raise InvalidValue(f"{parameter}={text[:100]} is no UUID: leave it out, and one is made")
    if session.scalar(select(table.id).where(table.uuid == text.lower())) is not None:
        raise InvalidValue(f"{parameter}={text} is taken: leave it out, and one is made")
    return text.lower()


def hold_domain(session: Session, domain_id: int) -> Domain:
    """Names of users and of accounts are unique in a domain: its row is the lock of whoever takes one."""
    domain = session.get_one(Domain, domain_id, with_for_update=True, populate_existing=True)
    if domain.removed is not None or domain.state != "Active":
        raise InvalidValue(f"the domain {domain.name} is being deleted: choose another")
    return domain


def free_username(session: Session, domain_id: int, name: str) -> str:
    """Refuse a name by which somebody in the domain logs in already. The domain is held from then on."""
    domain = hold_domain(session, domain_id)
    same = select(User.id).join(Account, Account.id == User.account_id)
    taken = same.where(User.username == name, User.removed.is_(None), Account.domain_id == domain_id)
    if session.scalar(taken.limit(1)) is not None:
        raise InvalidValue(f"The user {name} already exists in domain {domain.name}: choose another name")
    return name


def make(
    session: Session,
    account: Account,
    *,
    username: str,
    password: str,
    firstname: str,
    lastname: str,
    email: str,
    timezone: str | None,
    uuid: str | None,
) -> User:
    """A user of an account, with a password that somebody else chose."""
    user = User(
        username=free_username(session, account.domain_id, username),
        firstname=firstname,
        lastname=lastname,
        email=email,
        timezone=known_timezone(timezone),
        account_id=account.id,
    )
    if uuid is not None:
        user.uuid = given_uuid(session, User, "userid", uuid)
    give(session, account.domain_id, user, password, chosen_by_user=False)
    session.add(user)
    session.flush()
    return user


def forget_secrets(user: User) -> None:
    """Take away everything by which a user who is gone could still come in."""
    user.password = user.api_key = user.secret_key = user.two_factor_secret = None
    user.reset_hash = user.reset_until = None
