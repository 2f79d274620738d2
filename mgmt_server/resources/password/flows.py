"""How a mail that lets set a new password comes about. All of it runs in a job: whether there is such a user shows
neither in the answer nor in the time it takes. The token is made where it is mailed: no job holds it, and the table
holds its hash."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now, write
from mgmt_server.drivers import mail
from mgmt_server.errors import ApiError, InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.account import Account, Domain, User
from mgmt_server.model.settings import Setting

log = logging.getLogger("cloudwright.password")
ENABLED = Setting("user.password.reset.enabled", "Whether people who forgot their password may have a link mailed")
MINUTES = Setting("user.password.reset.ttl", "Minutes for which such a link can be used", least=1)
SENDER = Setting("user.password.reset.email.sender", "Address from which the links are mailed")
URL = Setting(
    "user.password.reset.mail.domain.url", "Where people reach this cloud, as https://cloud.example.org; links begin so"
)
TEMPLATE = Setting(
    "user.password.reset.mail.template",
    "Text of the mail. {{username}}, {{firstName}}, {{lastName}}, {{token}} and {{resetLink}} are filled in",
    default=(
        "Hello {{username}},\n\nsomebody asked to set a new password for you. To choose one, open this link:\n\n"
        "{{{resetLink}}}\n\nIf that was not you, do nothing: your password stays as it is.\n"
    ),
)
HOST = Setting("user.password.reset.smtp.host", "Mail server that takes the links")
PORT = Setting("user.password.reset.smtp.port", "Its port; TLS from the first byte on 465", least=1, most=65535)
WITH_LOGIN = Setting("user.password.reset.smtp.useAuth", "Whether to log in to that mail server")
USERNAME = Setting("user.password.reset.smtp.username", "The user to log in to it as")
PASSWORD = Setting("user.password.reset.smtp.password", "That user's password", secret=True)
START_TLS = Setting("user.password.reset.smtp.useStartTLS", "Whether to switch the link to that mail server to TLS")
TLS_VERSIONS = Setting(
    "user.password.reset.smtp.enabledSecurityProtocols",
    "Versions of TLS that may be used with that mail server, with spaces between; empty: those that the system allows",
    options=tuple(mail.PROTOCOLS),
)
AGAIN = timedelta(minutes=1)  # a user is mailed no more often


def check_enabled() -> None:
    if not ENABLED.flag():
        raise InvalidValue(
            f"passwords are not reset by mail here (setting {ENABLED.name}): ask an administrator for a new one"
        )
    missing = [s.name for s in (HOST, SENDER, URL) if not s.text().strip()]
    if missing:
        raise InvalidValue(f"an administrator has to set {', '.join(missing)} first")


def digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def find(session: Session, username: str, path: str) -> User | None:
    """Who may have a new password by mail: whom this cloud keeps one for, and who may log in."""
    path = "/" + "".join(f"{p}/" for p in path.split("/") if p)
    users = select(User).join(Account, Account.id == User.account_id).join(Domain, Domain.id == Account.domain_id)
    found = session.scalar(
        users.where(
            User.username == username,
            User.source == "native",
            User.state == "enabled",
            User.removed.is_(None),
            User.email.is_not(None),
            Account.state == "enabled",
            Account.removed.is_(None),
            Domain.path == ("/" if path.upper() == "/ROOT/" else path),
            Domain.removed.is_(None),
        )
    )
    return found if found is not None and found.username == username else None


def mail_link(job: Job, username: str, path: str) -> None:
    job.call(_mailed, username, path)


def server() -> mail.Server:
    """The mail server that takes the links."""
    port, start_tls = PORT.number(), START_TLS.flag()
    name, word = (USERNAME.text(), PASSWORD.text()) if WITH_LOGIN.flag() else ("", "")
    return mail.Server(
        HOST.text().strip(), port, name, word, start_tls=start_tls, tls=port == 465 and not start_tls,
        protocols=tuple(TLS_VERSIONS.text().split()),
    )  # fmt: skip


def _mailed(_: UUID, username: str, path: str) -> None:
    made = write(_new_token, username, path)
    if made is None:
        return
    to, text = made
    try:
        mail.send(server(), SENDER.text().strip(), [to], "A new password", text)
    except ApiError as error:
        log.error("a link for a new password could not be mailed: %s", error)


def _new_token(tx: Session, username: str, path: str) -> tuple[str, str] | None:
    """The address and the text of the mail. Nothing where there is no such user, or it was mailed just now."""
    user = find(tx, username, path)
    if user is None or not user.email:
        return None
    valid = timedelta(minutes=MINUTES.number())
    if user.reset_until is not None and user.reset_until > now() + valid - AGAIN:
        return None
    token = secrets.token_urlsafe(32)
    user.reset_hash, user.reset_until = digest(token), now() + valid
    pairs = {"username": username, "token": token} | ({"domain": path} if path.strip("/") else {})
    values = {
        "username": user.username,
        "firstName": user.firstname or "",
        "lastName": user.lastname or "",
        "token": token,
        "resetLink": f"{URL.text().strip().rstrip('/')}/client/#/user/resetPassword?{urlencode(pairs)}",
    }
    text = re.sub(r"\{\{\{?\s*(\w+)\s*\}\}\}?", lambda m: values.get(m[1], ""), TEMPLATE.text())
    return user.email, text
