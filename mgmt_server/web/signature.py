"""Signatures of calls: HMAC-SHA1 over the sorted, encoded, lower-cased pairs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from mgmt_server.api.callers import Known, by_key
from mgmt_server.errors import Unauthenticated

REFUSED = "unable to verify user credentials and/or request signature"
_PLAIN = re.compile(r"[A-Za-z0-9._*-]*").fullmatch


def verified(sent: Mapping[str, str], lower: Mapping[str, str]) -> Known:
    """Who signed the call. `sent` has names as they came, `lower` in lower case.

    Raises Unauthenticated, always with the same text.
    """
    signature, key = lower.get("signature"), lower.get("apikey")
    if not signature or not key:
        raise Unauthenticated(REFUSED)
    if lower.get("signatureversion") == "3" and moment_of(lower.get("expires", "")) < datetime.now(UTC):
        raise Unauthenticated(REFUSED)
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
    return value if _PLAIN(value) else quote(value, safe="*").replace("~", "%7E")


def moment_of(text: str) -> datetime:
    """When a call expires. Raises Unauthenticated for what is no date."""
    try:
        return datetime.strptime(text.strip().replace("Z", "+0000").replace(" ", "+"), "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        raise Unauthenticated(REFUSED) from None
