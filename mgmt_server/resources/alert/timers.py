"""Looks for what is wrong, mails what was told, and forgets what is old."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import changed, now, reading, write
from mgmt_server.drivers import mail
from mgmt_server.errors import ApiError
from mgmt_server.jobs.worker import every
from mgmt_server.model.event import Alert
from mgmt_server.model.settings import Setting
from mgmt_server.model.zone import Zone
from mgmt_server.resources.alert import conditions
from mgmt_server.resources.alert.certificates import DELAY as LOOK
from mgmt_server.resources.alert.certificates import certificates
from mgmt_server.resources.alert.telling import STRAY, settle

log = logging.getLogger("cloudwright.alerts")

PERIOD = Setting("capacity.check.period", "Milliseconds between two looks at how full everything is", least=1000)
DELAY = Setting("alert.purge.delay", "Days for which alerts are kept; 0 keeps them for ever", least=0)
INTERVAL = Setting("alert.purge.interval", "Seconds between two looks for alerts that are too old", least=1)
ADDRESSES = Setting("alert.email.addresses", "Whom alerts are mailed to, comma separated; empty mails none")
SENDER = Setting("alert.email.sender", "The address that mailed alerts come from")
HOST = Setting("alert.smtp.host", "The mail server that alerts are handed to")
PORT = Setting("alert.smtp.port", "Its port; TLS from the first byte on 465", least=1, most=65535)
TIMEOUT = Setting("alert.smtp.timeout", "Milliseconds that the mail server may take for an answer", least=100)
DIAL = Setting("alert.smtp.connectiontimeout", "Milliseconds to wait for a connection to the mail server", least=100)
WITH_LOGIN = Setting("alert.smtp.useAuth", "Whether to log in to the mail server", scopes=("Global",))
USERNAME = Setting("alert.smtp.username", "The user to log in to the mail server as")
PASSWORD = Setting("alert.smtp.password", "That user's password")
START_TLS = Setting("alert.smtp.useStartTLS", "Whether to switch the link to the mail server to TLS")
TLS_VERSIONS = Setting(
    "alert.smtp.enabledSecurityProtocols",
    "Versions of TLS that may be used with that mail server, with spaces between; empty: those that the system allows",
    options=tuple(mail.PROTOCOLS),
)
TLS_PORT = 465
TOO_LATE = timedelta(days=1)  # older ones are not mailed any more: nobody wants all of them once mail is set up
AT_ONCE = 20
FAMILIES: dict[str, Callable[[Session], conditions.Found]] = {
    "host": conditions.hosts,
    "node": conditions.nodes,
    "router": conditions.routers,
    STRAY: conditions.strays,
}


@every(lambda: PERIOD.number() / 1000, "alerts.capacity")
def look_at_capacity() -> None:
    write(_settle, "capacity", conditions.capacity)


@every(LOOK.number, "alerts.certificates")
def look_at_certificates() -> None:
    write(_settle, "certificate", certificates)


@every(15, "alerts.conditions")
def look() -> None:
    for family, found in FAMILIES.items():
        write(_settle, family, found)


def _settle(tx: Session, family: str, found: Callable[[Session], conditions.Found]) -> None:
    settle(tx, family, dict(found(tx)))


class BackOff:
    """Waits longer after each failure: 30 seconds first, an hour at most."""

    FIRST, MOST = 30.0, 3600.0

    def __init__(self) -> None:
        self._until, self._next = 0.0, self.FIRST

    def waits(self) -> bool:
        return time.monotonic() < self._until

    def failed(self) -> float:
        waits = self._next
        self._until, self._next = time.monotonic() + waits, min(waits * 2, self.MOST)
        return waits

    def worked(self) -> None:
        self._until, self._next = 0.0, self.FIRST


patience = BackOff()


@every(10, "alerts.mail")
def post() -> None:
    """Mail what was told. When the mail server fails, what was not sent is tried again later."""
    to = ADDRESSES.words()
    if not to or not HOST.text() or patience.waits():
        return
    with reading() as session:
        rows = select(Alert).where(Alert.sent.is_(None), ~Alert.archived, Alert.removed.is_(None))
        waiting = list(session.scalars(rows.where(Alert.created > now() - TOO_LATE).order_by(Alert.id).limit(AT_ONCE)))
        zones = {z.id: z.name for z in session.scalars(select(Zone))} if waiting else {}
    for alert in waiting:
        if not write(_take, alert.id):
            continue
        try:
            mail.send(_server(), SENDER.text(), to, f"[{alert.name}] {alert.subject}", _text(alert, zones))
        except ApiError as error:
            write(_give_back, alert.id)
            log.warning("alert %s was not mailed, next try in %.0f s: %s", alert.uuid, patience.failed(), error)
            return
        patience.worked()


def _server() -> mail.Server:
    login = WITH_LOGIN.flag()
    return mail.Server(
        HOST.text(),
        PORT.number(),
        USERNAME.text() if login else "",
        PASSWORD.text() if login else "",
        START_TLS.flag(),
        PORT.number() == TLS_PORT and not START_TLS.flag(),
        TIMEOUT.number() / 1000,
        DIAL.number() / 1000,
        tuple(TLS_VERSIONS.text().split()),
    )


def _text(alert: Alert, zones: dict[int, str]) -> str:
    lines = [alert.subject, "", f"Raised: {alert.created:%Y-%m-%d %H:%M:%S} UTC", f"Type: {alert.name} ({alert.type})"]
    lines += [f"Zone: {zones[alert.zone_id]}"] if alert.zone_id in zones else []
    return "\n".join([*lines, "", alert.content or ""]).rstrip() + "\n"


def _take(tx: Session, number: int) -> bool:
    """Claim an alert before it is mailed, so that no other node mails it too."""
    mine = update(Alert).where(Alert.id == number, Alert.sent.is_(None)).values(sent=now())
    return changed(tx.execute(mine.execution_options(synchronize_session=False))) == 1


def _give_back(tx: Session, number: int) -> None:
    tx.execute(update(Alert).where(Alert.id == number).values(sent=None).execution_options(synchronize_session=False))


@every(INTERVAL.number, "alerts.purge")
def purge() -> None:
    write(_purge)


def _purge(tx: Session) -> None:
    gone = Alert.removed.is_not(None)
    if DELAY.number():
        gone = or_(gone, Alert.created < now() - timedelta(days=DELAY.number()))
    tx.execute(delete(Alert).where(gone, Alert.lasting.is_(None)))
