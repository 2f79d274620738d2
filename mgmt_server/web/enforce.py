"""What is asked of calls besides a valid key or session: their method, their age, the page they come from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from mgmt_server.api.command import Command
from mgmt_server.errors import ApiError, Unauthenticated
from mgmt_server.model.settings import Setting
from mgmt_server.web.origin import check_page
from mgmt_server.web.signature import REFUSED, moment_of

STRICT = Setting(
    "enforce.post.requests.and.timestamps",
    "Whether changes must come by POST, and signed calls expire (signatureVersion=3) within 15 minutes",
)
EXPIRING = Setting(
    "api.signature.expiry.required",
    "Whether signed calls must expire (signatureVersion=3 with expires); old clients sign without",
    type="Boolean",
    default="false",
)
POST_ONLY = Setting(
    "session.changes.by.post",
    "Whether what changes something must come by POST when it comes by session",
    type="Boolean",
    default="false",
)
SECURE = Setting("enable.secure.session.cookie", "Whether the cookies of sessions are for TLS alone")
SAME_SITE = Setting(
    "api.sessionkey.cookie.samesite",
    "Whether browsers send the cookies of sessions along from pages of other sites",
    options=("Lax", "Strict", "NoneAndSecure", "null"),
)
FARTHEST = timedelta(minutes=15)
READS = ("get", "list", "query", "find")


class BadRequest(ApiError):
    code = 400


def check_age(sent: Mapping[str, str]) -> None:
    """Of a signed call whose signature holds; names in lower case. Raises Unauthenticated."""
    strict = STRICT.flag()
    if not strict and not EXPIRING.flag():
        return
    if sent.get("signatureversion") != "3":
        raise Unauthenticated(
            f"{REFUSED}: calls must expire here (setting {(STRICT if strict else EXPIRING).name}): "
            "sign with signatureVersion=3 and expires"
        )
    if strict and moment_of(sent.get("expires", "")) > datetime.now(UTC) + FARTHEST:
        raise Unauthenticated(f"{REFUSED}: expires is more than 15 minutes ahead")


def check_method(command: Command, method: str, by_session: bool, headers: Mapping[str, str]) -> None:
    """Raises BadRequest, or WrongPage for what a page of another site has a browser do."""
    if command.reads:
        return
    if by_session:
        check_page(headers)
    if method == "POST" or command.name.startswith(READS):
        return
    for setting in (STRICT, *((POST_ONLY,) if by_session else ())):
        if setting.flag():
            raise BadRequest(f"{command.name} changes something: send it by POST (setting {setting.name})")


def cookie(name: str, value: str, secure: bool, age: int | None = None) -> str:
    """A Set-Cookie header's value. `secure`: the call came by TLS."""
    site = SAME_SITE.text()
    text = f"{name}={value}; Path=/client; HttpOnly"
    if site == "NoneAndSecure":
        return f"{text}; SameSite=None; Secure" + (f"; Max-Age={age}" if age is not None else "")
    if site != "null":
        text += f"; SameSite={site}"
    if secure or SECURE.flag():
        text += "; Secure"
    return text + (f"; Max-Age={age}" if age is not None else "")
