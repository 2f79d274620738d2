"""How often a log-in may go wrong. A try is counted before it is made: as many at once never make more than allowed."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.api import callers
from mgmt_server.api.callers import by_user
from mgmt_server.db import after_commit, changed
from mgmt_server.model.account import SYSTEM_USER, Account, User
from mgmt_server.model.event import Event
from mgmt_server.model.settings import Setting

log = logging.getLogger("cloudwright.login")
ALLOWED = Setting(
    "incorrect.login.attempts.allowed",
    "Wrong passwords or codes in a row after which a user is disabled, until an administrator enables it; 0: never. "
    "Root administrators are not disabled",
    least=0,
)
NO_LIMIT = 2**31 - 1
_turns = [threading.Lock() for _ in range(64)]


def turn(user_id: int) -> threading.Lock:
    """Held while a user's password or code is looked at: right ones at once need not fear each other's count."""
    return _turns[user_id % len(_turns)]


def allowed(user_id: int) -> int:
    """Tries of a user that may go wrong in a row."""
    known = by_user(user_id)
    if user_id == SYSTEM_USER or known is None or known.caller.is_root:
        return NO_LIMIT
    return ALLOWED.number() if ALLOWED.number() > 0 else NO_LIMIT


def count(tx: Session, user_id: int, most: int) -> bool:
    """Take one of the tries. False: there is none left, or the user or its account may not log in."""
    accounts = select(Account.id).where(Account.state == "enabled", Account.removed.is_(None))
    mine = update(User).where(User.id == user_id, User.state == "enabled", User.failures < most)
    mine = mine.where(User.account_id.in_(accounts)).values(failures=User.failures + 1)
    return changed(tx.execute(mine.execution_options(synchronize_session=False))) == 1


def went_wrong(tx: Session, user_id: int, most: int, address: str = "") -> None:
    """The last try that was counted was wrong: who has none left is disabled."""
    lost = select(User).where(User.id == user_id, User.state == "enabled", User.failures >= most)
    user = tx.scalar(lost.with_for_update())
    if user is None:
        return
    user.state = "disabled"
    after_commit(callers.forget)
    log.warning("user %s is disabled after %d wrong log-ins, the last from %s", user.uuid, most, address or "a session")
    text = f"user {user.username} is disabled after {most} wrong log-ins: enableUser lets it in again"
    tell(tx, user, "USER.DISABLE", text, "WARN")


def tell(tx: Session, user: User, kind: str, text: str, level: str = "INFO") -> None:
    """An event about a log-in, which no command is."""
    account = tx.get_one(Account, user.account_id)
    event = Event(type=kind, level=level, description=text[:1024], user_id=user.id, account_id=account.id)
    event.domain_id, event.resource_type, event.resource_uuid = account.domain_id, "User", user.uuid
    tx.add(event)
