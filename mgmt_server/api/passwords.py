"""Passwords: what a new one has to be, and how they are kept: scrypt, slow on purpose. Never on the path of a signed
call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from datetime import timedelta

from sqlalchemy.orm import Session

from mgmt_server.api.scopes import of_domain
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import User
from mgmt_server.model.settings import Scope, Setting

COST, BLOCK, PARALLEL = 2**14, 8, 1
LONGEST = 1024  # characters: nobody types more, and each costs time

LENGTH = Setting("password.policy.minimum.length", "Characters that a user's password has at least", least=0)
DIGITS = Setting("password.policy.minimum.digits", "Digits that a user's password has at least", least=0)
LOWER = Setting("password.policy.minimum.lowercase.letters", "Lower case letters that it has at least", least=0)
UPPER = Setting("password.policy.minimum.uppercase.letters", "Upper case letters that it has at least", least=0)
SPECIAL = Setting(
    "password.policy.minimum.special.characters", "Characters that are neither letters nor digits, at least", least=0
)
NAMED = Setting(
    "password.policy.allowPasswordToContainUsername", "Whether the password may contain the name of its user"
)
PATTERN = Setting("password.policy.regex", "Regular expression that the whole password has to match")
FIRST_IS_CHANGED = Setting(
    "password.policy.change.first",
    "Whether a user has to replace the password that somebody else chose, at the first log-in",
    type="Boolean",
    default="false",
    scopes=("Domain",),
)
OLDEST = Setting(
    "password.policy.maximum.age.days",
    "Days after which a log-in succeeds only to change the password; 0: never",
    type="Integer",
    default="0",
    scopes=("Domain",),
    least=0,
)


def check_new(session: Session, domain_id: int, username: str, password: str) -> None:
    """Refuse a password that the domain's rules do not allow. Raises InvalidValue that says every rule it breaks."""
    if not password or len(password) > LONGEST or "\0" in password:
        raise InvalidValue(f"the password has to have 1 to {LONGEST} characters, none of them NUL")
    scopes = of_domain(session, domain_id)
    counts = (
        (LENGTH, "characters", len(password)),
        (DIGITS, "digits", sum(c.isdigit() for c in password)),
        (LOWER, "lower case letters", sum(c.islower() for c in password)),
        (UPPER, "upper case letters", sum(c.isupper() for c in password)),
        (SPECIAL, "characters that are neither letters nor digits", sum(not c.isalnum() for c in password)),
    )
    broken = [
        f"it has {has} {what}: {rule.number(*scopes)} at least (setting {rule.name})"
        for rule, what, has in counts
        if has < rule.number(*scopes)
    ]
    if username and username.casefold() in password.casefold() and not NAMED.flag(*scopes):
        broken.append(f"it contains the user's name (setting {NAMED.name})")
    if not _fits(password, scopes):
        broken.append(f"it does not match the expression of the setting {PATTERN.name}")
    if broken:
        raise InvalidValue("the password is refused: " + "; ".join(broken))


def _fits(password: str, scopes: tuple[Scope, ...]) -> bool:
    pattern = PATTERN.text(*scopes)
    try:
        return not pattern or re.fullmatch(pattern, password, re.S) is not None
    except re.error as error:
        raise InvalidValue(
            f"the setting {PATTERN.name} is no regular expression ({error}): an administrator has to correct it"
        ) from None


def give(session: Session, domain_id: int, user: User, password: str, *, chosen_by_user: bool) -> None:
    """Check a new password and make it the user's. The caller ends the sessions of a user that had another."""
    check_new(session, domain_id, user.username, password)
    if chosen_by_user and is_due(session, domain_id, user) and matches(password, user.password):
        raise InvalidValue("that is the password until now, which is due to be replaced: choose another")
    user.password, user.password_set, user.failures = hashed(password), now(), 0
    user.must_change_password = not chosen_by_user and FIRST_IS_CHANGED.flag(*of_domain(session, domain_id))
    user.reset_hash = user.reset_until = None


def is_due(session: Session, domain_id: int, user: User) -> bool:
    """Whether the password has to be replaced before the user may do anything else."""
    if user.source != "native":
        return False
    days = OLDEST.number(*of_domain(session, domain_id))
    since = user.password_set or user.created
    return user.must_change_password or (days > 0 and since is not None and since < now() - timedelta(days=days))


def unlock(user: User) -> None:
    """Let a user log in again after too many wrong passwords, or after being disabled."""
    user.state, user.failures = "enabled", 0


def hashed(password: str) -> str:
    salt = os.urandom(16)
    digest = _digest(password, salt)
    return f"scrypt:{base64.b64encode(salt).decode()}:{base64.b64encode(digest).decode()}"


def matches(password: str, stored: str | None) -> bool:
    """Whether it is the password; as slow for a user that does not exist."""
    kind, _, rest = (stored or "scrypt:AAAAAAAAAAAAAAAAAAAAAA==:").partition(":")
    salt, _, digest = rest.partition(":")
    if kind != "scrypt":
        return False
    # what is too long is hashed short, so that it costs what every other guess does
    same = hmac.compare_digest(_digest(password[:LONGEST], base64.b64decode(salt)), base64.b64decode(digest))
    # HMAC fills its key up with NULs: more of them hash alike
    return same and bool(stored) and "\0" not in password and len(password) <= LONGEST


def generated(length: int = 20) -> str:
    """A password that nobody could guess, of characters that nobody mistakes."""
    letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return "".join(secrets.choice(letters) for _ in range(length))


def new_key() -> str:
    """An API key or secret key, as long as clients expect: 86 characters."""
    return base64.urlsafe_b64encode(os.urandom(64)).decode().rstrip("=")


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(errors="surrogatepass"), salt=salt, n=COST, r=BLOCK, p=PARALLEL, dklen=32)
