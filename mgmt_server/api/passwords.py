"""Passwords: scrypt, slow on purpose. Never on the path of a signed call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets

COST, BLOCK, PARALLEL = 2**14, 8, 1


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
    same = hmac.compare_digest(_digest(password, base64.b64decode(salt)), base64.b64decode(digest))
    return same and bool(stored) and "\0" not in password  # HMAC fills its key up with NULs: more of them hash alike


def generated(length: int = 20) -> str:
    """A password that nobody could guess, of characters that nobody mistakes."""
    letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return "".join(secrets.choice(letters) for _ in range(length))


def new_key() -> str:
    """An API key or secret key, as long as clients expect: 86 characters."""
    return base64.urlsafe_b64encode(os.urandom(64)).decode().rstrip("=")


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=PARALLEL, dklen=32)
