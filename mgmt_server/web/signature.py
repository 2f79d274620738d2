"""Signatures of calls: HMAC-SHA1 over the sorted, encoded, lower-cased pairs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from mgmt_server.api.callers import Known, by_key
from mgmt_server.errors import Unauthenticated

REFUSED = "unable to verify user credentials and/or request signature"


def verified(sent: Mapping[str, str]) -> Known:
    """Who signed the call. `sent` has names as they came. Raises Unauthenticated, always with the same text."""
    lower = {name.lower(): value for name, value in sent.items()}
    signature, key = lower.get("signature"), lower.get("apikey")
    if not signature or not key:
        raise Unauthenticated(REFUSED)
    if lower.get("signatureversion") == "3":
        _not_expired(lower.get("expires", ""))
    known = by_key(key)
    if known is None or known.reason or not known.secret:
        raise Unauthenticated(REFUSED)
    try:
        given = base64.b64decode(signature.replace(" ", "+"), validate=True)
    except (binascii.Error, ValueError):
        raise Unauthenticated(REFUSED) from None
    if not hmac.compare_digest(given, digest(sent, known.secret)):
        raise Unauthenticated(REFUSED)
    return known


def digest(sent: Mapping[str, str], secret: str) -> bytes:
    """What the signature of these parameters must be; `signature` itself is left out."""
    pairs = sorted((name, value) for name, value in sent.items() if name.lower() != "signature")
    text = "&".join(f"{name}={encoded(value)}" for name, value in pairs).lower()
    return hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()


def encoded(value: str) -> str:
    return quote(value, safe="*").replace("~", "%7E")


def _not_expired(text: str) -> None:
    try:
        expires = datetime.strptime(text.strip().replace("Z", "+0000").replace(" ", "+"), "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        raise Unauthenticated(REFUSED) from None
    if expires < datetime.now(UTC):
        raise Unauthenticated(REFUSED)
