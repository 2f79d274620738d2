"""Mail: one message to some people, through the operator's server. Kept by the standard library's smtplib."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr

from mgmt_server.errors import Failed, InvalidValue

# by the names that settings have for them; older ones are in no library any more
PROTOCOLS = {
    "TLSv1": (ssl.TLSVersion.TLSv1, ssl.OP_NO_TLSv1),
    "TLSv1.1": (ssl.TLSVersion.TLSv1_1, ssl.OP_NO_TLSv1_1),
    "TLSv1.2": (ssl.TLSVersion.TLSv1_2, ssl.OP_NO_TLSv1_2),
    "TLSv1.3": (ssl.TLSVersion.TLSv1_3, ssl.OP_NO_TLSv1_3),
}


@dataclass(frozen=True)
class Server:
    host: str
    port: int = 25
    username: str = ""
    password: str = ""
    start_tls: bool = False
    tls: bool = False  # from the first byte, as on port 465
    timeout: float = 30.0  # seconds for an answer
    dial: float = 30.0  # seconds for the connection
    protocols: tuple[str, ...] = ()  # of PROTOCOLS, those that TLS may use; empty: what the system allows


def address(text: str) -> str:
    """The address in `text`. Raises InvalidValue for what is none, or would be more than one header line."""
    found = parseaddr(text)[1]
    if "@" not in found.strip("@") or any(c in text for c in "\r\n") or len(found) > 254:
        raise InvalidValue(f"{text[:100]!r} is no mail address: write name@example.org")
    return found


def send(server: Server, sender: str, to: list[str], subject: str, text: str) -> None:
    """Hand a message over. Raises Failed that says what the server said."""
    message = EmailMessage()
    message["From"], message["To"] = address(sender), ", ".join(address(t) for t in to)
    message["Subject"] = " ".join(subject.split())[:200]
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=address(sender).partition("@")[2])
    message.set_content(text)
    context = _context(server.protocols)
    try:
        with _dialled(server, context) as link:
            link.timeout = server.timeout
            if link.sock is not None:
                link.sock.settimeout(server.timeout)
            if server.start_tls:
                link.starttls(context=context)
            if server.username:
                link.login(server.username, server.password)
            link.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise Failed(f"mail server {server.host}:{server.port}: {error}") from None


def _context(protocols: Collection[str]) -> ssl.SSLContext:
    """What TLS with the server has to be. A certificate that nobody vouches for is never taken."""
    context = ssl.create_default_context()
    chosen = [version for name, (version, _) in PROTOCOLS.items() if name in protocols]
    if not chosen:
        return context
    context.minimum_version, context.maximum_version = min(chosen), max(chosen)
    for name, (_, without) in PROTOCOLS.items():
        if name not in protocols:
            context.options |= without
    if min(chosen) < ssl.TLSVersion.TLSv1_2:  # they sign with what is too weak for the usual level
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def _dialled(server: Server, context: ssl.SSLContext) -> smtplib.SMTP:
    if server.tls:
        return smtplib.SMTP_SSL(server.host, server.port, timeout=server.dial, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=server.dial)
