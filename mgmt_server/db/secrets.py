"""Secrets at rest: AES-256-GCM under keys that the database never holds.

A sealed text is `v1:KEYID:BASE64(nonce + ciphertext)`; the key id lets old and new keys stand side by side while the
key is being changed.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Dialect
from sqlalchemy.types import TypeDecorator

from mgmt_server.db import LongText

_keys: dict[str, AESGCM] = {}
_current = ""


class Locked(Exception):
    """A secret cannot be read: its key was not given."""


def key_id(key: bytes) -> str:
    return hashlib.sha256(b"cloudwright key id" + key).hexdigest()[:12]


def unlock(key: bytes, *older: bytes) -> None:
    """Use `key` (32 bytes) for all that is sealed from now on; `older` ones only to open."""
    global _current
    if len(key) != 32:
        raise ValueError("the encryption key must be 32 bytes: make one with `cloudwright setup`")
    _keys.clear()
    for each in (key, *older):
        _keys[key_id(each)] = AESGCM(each)
    _current = key_id(key)


def seal(text: str) -> str:
    if not _current:
        raise Locked("no encryption key is loaded")
    nonce = os.urandom(12)
    sealed = _keys[_current].encrypt(nonce, text.encode(), _current.encode())
    return f"v1:{_current}:{base64.b64encode(nonce + sealed).decode()}"


def unseal(sealed: str) -> str:
    version, name, body = sealed.split(":", 2)
    if version != "v1" or name not in _keys:
        raise Locked(f"this secret is sealed with the key {name}, which was not given")
    raw = base64.b64decode(body)
    try:
        return _keys[name].decrypt(raw[:12], raw[12:], name.encode()).decode()
    except InvalidTag:
        raise Locked(f"this secret was altered, or {name} is another key of the same name") from None


class Secret(TypeDecorator[str]):
    """A column whose text is sealed in the database and plain in Python."""

    impl = LongText
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else seal(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else unseal(value)
