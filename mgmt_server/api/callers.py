"""From a key, a session or a job to who calls. What was read stands for seconds, so that a call costs no SELECT."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from mgmt_server.api import roles
from mgmt_server.api.projects import memberships
from mgmt_server.api.scopes import of_domain
from mgmt_server.db import cache_of_rows, reading
from mgmt_server.model.account import Account, Domain, Role, User
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import ADMIN, DOMAIN_ADMIN, RESOURCE_ADMIN, USER, Caller

STANDS = 3.0  # seconds: so long may a disabled user go on, on other nodes than the one that disabled it
KEY_ACCESS = Setting(
    "api.key.access", "Whether calls signed with API keys are answered, where neither user nor account says otherwise"
)
ROLE_OF_TYPE = {0: USER, 1: ADMIN, 2: DOMAIN_ADMIN, 3: RESOURCE_ADMIN}


@dataclass(frozen=True)
class Known:
    """A user as the wire needs it. `reason` says why it may not call, empty when it may."""

    caller: Caller
    secret: str
    reason: str


_lock = threading.Lock()
_by_key: dict[str, tuple[float, Known | None]] = {}
_by_user: dict[int, tuple[float, Known | None]] = {}


@cache_of_rows
def forget() -> None:
    """Read everything anew: something about users, accounts or roles changed."""
    roles.forget()
    with _lock:
        _by_key.clear()
        _by_user.clear()


def by_key(api_key: str) -> Known | None:
    found = _by_key.get(api_key)
    if found and found[0] > time.monotonic():
        return found[1]
    with reading() as session:
        known = _read(session, _users().where(User.api_key == api_key), signed=True)
    with _lock:
        if len(_by_key) > 20_000:
            _by_key.clear()
        _by_key[api_key] = (time.monotonic() + STANDS, known)
    return known


def by_user(user_id: int, session: Session | None = None) -> Known | None:
    found = _by_user.get(user_id)
    if found and found[0] > time.monotonic():
        return found[1]
    if session is not None:
        known = _read(session, _users().where(User.id == user_id))
    else:
        with reading() as own:
            known = _read(own, _users().where(User.id == user_id))
    with _lock:
        _by_user[user_id] = (time.monotonic() + STANDS, known)
    return known


def _users() -> Select[User, Account, Domain, Role]:
    return (
        select(User, Account, Domain, Role)
        .join(Account, Account.id == User.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .outerjoin(Role, Role.id == Account.role_id)
        .where(User.removed.is_(None), Account.removed.is_(None))
    )


def _read(session: Session, users: Select[User, Account, Domain, Role], *, signed: bool = False) -> Known | None:
    row = session.execute(users).first()
    if row is None:
        return None
    user, account, domain, role = row
    role_type = role.type if role else ROLE_OF_TYPE.get(account.type, USER)
    projects, rules = memberships(session, account.id, user.id) if role_type != ADMIN else ((), {})
    caller = Caller(
        user_id=user.id,
        user_uuid=user.uuid,
        username=user.username,
        account_id=account.id,
        account_uuid=account.uuid,
        account_name=account.name,
        account_type=account.type,
        domain_id=domain.id,
        domain_uuid=domain.uuid,
        domain_path=domain.path,
        role=role_type,
        projects=projects,
        project_rules=rules if role_type == USER else {},
        role_id=role.id if role else None,
        may=_may(session, role),
    )
    reason = ""
    if user.state != "enabled":
        reason = f"the user is {user.state}"
    elif account.state in ("disabled", "removed"):
        reason = f"the account is {account.state}"
    elif signed and not key_access(session, user, account):
        reason = "the use of API keys is off for this user"
    return Known(caller, user.secret_key or "", reason)


def key_access(session: Session, user: User, account: Account) -> bool:
    """Whether calls with the user's keys are answered: the user's own word counts first, then the account's."""
    for said in (user.api_key_access, account.api_key_access):
        if said is not None:
            return said
    return KEY_ACCESS.flag(*of_domain(session, account.domain_id))


def _may(session: Session, role: Role | None) -> Callable[[str, tuple[str, ...]], bool] | None:
    if role is None:
        return None
    return roles.rules_of(session, role) if role.state == "enabled" else roles.nothing
