"""Sessions of people who logged in. A row is found by the hash of its cookie, so that the table opens no session.

They end by logout, by a wrong key, by being idle or old, when there are too many, and whenever the user's password,
state or account, or the account's role, state or domain changes: that is watched here, not left to the commands.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, event, func, inspect, select, update
from sqlalchemy.orm import Mapper, Session

from mgmt_server.db import after_commit, cache_of_rows, changed, now, reading, write
from mgmt_server.model.account import Account, Login, User
from mgmt_server.model.settings import Setting

TIMEOUT = Setting(
    "session.timeout", "Minutes after which a session that is not used ends", type="Integer", default="30", least=1
)
AGE = Setting(
    "session.age.max", "Hours after which a session ends although it is used", type="Integer", default="24", least=1
)
OF_USER = Setting(
    "session.max.per.user",
    "Sessions that a user has at once; a further log-in ends the one that was not used for longest",
    type="Integer",
    default="20",
    least=1,
)
IN_ALL = Setting(
    "session.max",
    "Sessions of all users together; a further log-in ends the one that was not used for longest",
    type="Integer",
    default="20000",
    least=1,
)
BOUND = Setting(
    "session.bound.to.address",
    "Whether a session may be used from the address alone from which it was opened",
    type="Boolean",
    default="false",
)
STANDS = (
    3.0  # seconds that a row is not read again: so long may a session go on, on other nodes than the one that ended it
)
TOUCHED = timedelta(seconds=20)  # its use is written down no more often


@dataclass(frozen=True)
class Opened:
    until: float
    user_id: int
    key: str
    address: str
    created: datetime
    pending: str = ""  # see Login.pending


here: ContextVar[str] = ContextVar("here", default="")  # the hash of the session that this call came with
_fresh: dict[str, Opened] = {}
_ended = 0  # counts: what was read before an end may not be kept after it


@cache_of_rows
def forget() -> None:
    global _ended
    _ended += 1
    _fresh.clear()


def random_text() -> str:
    return base64.urlsafe_b64encode(os.urandom(20)).decode().rstrip("=")


def hashed(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()


def open_for(tx: Session, number: str, key: str, user_id: int, address: str, pending: str = "") -> None:
    """Open a session for a user who proved who it is. Makes room where there are too many."""
    idle, old = now() - timedelta(minutes=TIMEOUT.number()), now() - timedelta(hours=AGE.number())
    tx.execute(delete(Login).where((Login.last_used < idle) | (Login.created < old)))
    _make_room(tx, OF_USER.number(), Login.user_id == user_id)
    _make_room(tx, IN_ALL.number())
    row = Login(id_hash=hashed(number), session_key=key, user_id=user_id, last_used=now(), address=address[:255])
    row.pending = pending
    tx.add(row)


def _make_room(tx: Session, most: int, *of: Any) -> None:
    over = (tx.scalar(select(func.count()).select_from(Login).where(*of)) or 0) - most + 1
    if over > 0:
        longest = select(Login.id).where(*of).order_by(Login.last_used, Login.id).limit(over)
        tx.execute(delete(Login).where(Login.id.in_(list(tx.scalars(longest)))))
        after_commit(forget)


def find(cookie: str) -> Opened | None:
    """The session that a cookie opens, and that it was used. None: there is none any more."""
    name = hashed(cookie)
    found = _fresh.get(name)
    if found is None or found.until < time.monotonic():
        before = _ended
        found = _read(name)
        if found is None:
            return None
        if len(_fresh) > 20_000:
            _fresh.clear()
        if before == _ended and not found.pending:  # that ends soon, perhaps on another node
            _fresh[name] = found
    return found if found.created > now() - timedelta(hours=AGE.number()) else None


def _read(name: str) -> Opened | None:
    with reading() as session:
        row = session.scalar(select(Login).where(Login.id_hash == name))
    if row is None or row.last_used < now() - timedelta(minutes=TIMEOUT.number()):
        return None
    if row.last_used < now() - TOUCHED:
        write(lambda tx: tx.execute(update(Login).where(Login.id_hash == name).values(last_used=now())))
    until = time.monotonic() + STANDS
    return Opened(until, row.user_id, row.session_key, row.address or "", row.created, row.pending)


def end(cookie: str) -> bool:
    """Whether there was a session to end."""
    return write(end_in, cookie)


def end_in(tx: Session, cookie: str) -> bool:
    """As `end`, in the caller's transaction."""
    ended = changed(tx.execute(delete(Login).where(Login.id_hash == hashed(cookie)))) > 0
    if ended:
        after_commit(forget)
    return ended


def end_all(tx: Session, user_id: int) -> None:
    """End every session of a user, in the caller's transaction."""
    tx.execute(delete(Login).where(Login.user_id == user_id))
    after_commit(forget)


# --- what ends sessions, whoever changes it ---

_OF_USERS = ("password", "state", "account_id", "removed", "two_factor_secret")
_OF_ACCOUNTS = ("role_id", "state", "domain_id", "removed", "type")


def _differs(row: Any, names: tuple[str, ...]) -> bool:
    attributes = inspect(row).attrs
    return any(attributes[name].history.has_changes() for name in names)


@event.listens_for(User, "after_update")
def _user_changed(_: Mapper[User], connection: Connection, user: User) -> None:
    if _differs(user, _OF_USERS):
        _end_where(connection, Login.user_id == user.id)


@event.listens_for(Account, "after_update")
def _account_changed(_: Mapper[Account], connection: Connection, account: Account) -> None:
    if _differs(account, _OF_ACCOUNTS):
        _end_where(connection, Login.user_id.in_(select(User.id).where(User.account_id == account.id)))


def _end_where(connection: Connection, condition: Any) -> None:
    connection.execute(delete(Login).where(condition))
    after_commit(forget)
