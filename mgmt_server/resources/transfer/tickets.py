"""Tickets with which a browser's form sends an image, and what becomes of the image.

    told = make_ticket(tx, volume, "Volume", volume.uuid)      told.url, told.signature, told.expires, told.metadata

Whoever registers something to be sent gives a `Receiver` for its kind: what is expected, and what to do when it came.
A ticket is good for one image. The form posts the file as multipart/form-data with the headers X-signature, X-expires
and X-metadata, as CloudStack's web client does.
"""

from __future__ import annotations

import base64
import secrets
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import orjson
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import changed, now, reading, write
from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import ApiError, InvalidValue, ParameterError
from mgmt_server.model.account import Account
from mgmt_server.model.settings import Setting
from mgmt_server.model.transfer import UploadTicket
from mgmt_server.protocol.checksum import checked
from mgmt_server.resources.template.bring import Brought, clear, keep
from mgmt_server.resources.template.sound import made_sound
from mgmt_server.resources.transfer.flows import StoredFile, take_away
from mgmt_server.resources.transfer.links import Owned, base, hash_of

TIMEOUT = Setting("upload.operation.timeout", "Minutes for which the form of an upload is good", least=1)
PATH = "/upload"


@dataclass(frozen=True)
class Ticket:
    """What the form needs. The signature is a secret: it stands in no log and no event."""

    url: str
    signature: str
    expires: str
    metadata: str


@dataclass(frozen=True)
class Expected:
    """What the image shall be, and where it goes: a store's URL and a path below it. `most`: bytes, unpacked too."""

    format: str
    checksum: str
    store: str
    path: str
    most: int
    simulated: bool = False  # nothing is kept of it but a number
    several: bool = False  # all disks of an OVA are kept


class Receiver(Protocol):
    def expected(self, tx: Session, subject: str) -> Expected | None:
        """The image begins to come: None when it is not waited for any more."""

    def progress(self, tx: Session, subject: str, percent: int) -> None: ...

    def arrived(self, tx: Session, subject: str, brought: Brought) -> bool:
        """It is on its store, or there is `brought.error`. False: it has to be taken away again."""

    def cut_off(self, tx: Session, subject: str) -> None:
        """The client hung up, and may try again while its ticket is good."""

    def abandoned(self, tx: Session, subject: str) -> None:
        """Nothing came while the ticket was good."""


receivers: dict[str, Receiver] = {}  # by kind: Volume, Template, Iso


def make_ticket(tx: Session, owner: Owned, kind: str, subject: str) -> Ticket:
    """A ticket of the owner's account for what was registered as `subject` (uuid)."""
    token = secrets.token_urlsafe(32)
    expires = now() + timedelta(minutes=TIMEOUT.number())
    tx.add(
        UploadTicket(
            account_id=owner.account_id,
            domain_id=owner.domain_id,
            token_hash=hash_of(token),
            kind=kind,
            subject=subject,
            expires=expires,
        )
    )
    tx.flush()
    metadata = base64.b64encode(orjson.dumps({"id": subject, "type": kind.upper()})).decode()
    return Ticket(f"{base()}{PATH}/{subject}", token, f"{expires.isoformat(timespec='seconds')}+0000", metadata)


@dataclass(frozen=True)
class Coming:
    """An image that a client is sending."""

    ticket: int
    kind: str
    subject: str
    expected: Expected
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "image"


def open_ticket(subject: str, signature: str) -> Coming:
    """Let an image come. Raises ApiError; the folder is there then, and `close` takes it away."""
    coming = write(_open, subject, signature)
    shutil.rmtree(coming.folder, ignore_errors=True)
    coming.folder.mkdir(mode=0o700, parents=True)
    return coming


def _open(tx: Session, subject: str, signature: str) -> Coming:
    rows = select(UploadTicket).join(Account, Account.id == UploadTicket.account_id)
    rows = rows.where(
        UploadTicket.subject == subject,
        UploadTicket.token_hash == hash_of(signature),
        UploadTicket.removed.is_(None),
        UploadTicket.expires > now(),
        Account.state == "enabled",
        Account.removed.is_(None),
    )
    ticket = tx.scalar(rows)
    if ticket is None:
        raise _Refused("There is no upload waiting under this signature, or its time is over: ask for new parameters")
    _move(tx, ticket.id, "Open", "Receiving", "This upload has been sent, or is being sent: ask for new parameters")
    expected = receivers[ticket.kind].expected(tx, subject)
    if expected is None:
        raise _Refused("What this upload was for is gone: register it again")
    folder = nfs.large_files() / f"cloudwright-upload-{ticket.uuid}"
    return Coming(ticket.id, ticket.kind, subject, expected, folder)


class _Refused(ParameterError):
    code = 403


def _move(tx: Session, ticket: int, before: str, after: str, otherwise: str) -> None:
    mine = update(UploadTicket).where(
        UploadTicket.id == ticket, UploadTicket.state == before, UploadTicket.removed.is_(None)
    )
    if changed(tx.execute(mine.values(state=after).execution_options(synchronize_session=False))) != 1:
        raise InvalidValue(otherwise)


def progress(coming: Coming, percent: int) -> None:
    """So much is there. The ticket is good for as long as something comes."""

    def note(tx: Session) -> None:
        mine = update(UploadTicket).where(UploadTicket.id == coming.ticket)
        later = now() + timedelta(minutes=TIMEOUT.number())
        tx.execute(mine.values(expires=later).execution_options(synchronize_session=False))
        receivers[coming.kind].progress(tx, coming.subject, min(99, percent))

    write(note)


def cut_off(coming: Coming) -> None:
    """The client hung up before the image was whole."""
    shutil.rmtree(coming.folder, ignore_errors=True)

    def back(tx: Session) -> None:
        _move(tx, coming.ticket, "Receiving", "Open", "the upload is over")
        receivers[coming.kind].cut_off(tx, coming.subject)

    write(back)


def complete(coming: Coming) -> Brought:
    """All bytes are there: check, inspect and keep them. What is wrong with them is told in the answer."""
    try:
        brought = _kept(coming)
    except ApiError as error:
        brought = Brought(error=str(error))
    except OSError as error:
        brought = Brought(error=f"the server could not keep the image: {error.strerror or error}")
    finally:
        shutil.rmtree(coming.folder, ignore_errors=True)

    def arrived(tx: Session) -> bool:
        _move(tx, coming.ticket, "Receiving", "Used", "the upload's time is over")
        return receivers[coming.kind].arrived(tx, coming.subject, brought)

    try:
        keep = write(arrived)
    except ApiError:
        _clear(coming)
        raise
    if not keep and not brought.error:
        _clear(coming)
        return Brought(error="there is no room left for it: see listResourceLimits")
    return brought


def _kept(coming: Coming) -> Brought:
    expected = coming.expected
    if expected.simulated:
        size, checksum = coming.file.stat().st_size, checked(coming.file, expected.checksum)
        write(simulator.put, expected.store, expected.path, size)
        return Brought(size=size, physical_size=size, checksum=checksum)
    if expected.several:
        return keep(coming.file, expected, expected.most)
    sound = made_sound(coming.file, coming.folder, expected.format, expected.checksum, expected.most)
    nfs.put(sound.file, expected.store, expected.path)
    return Brought(size=sound.seen.virtual_size, physical_size=sound.seen.physical_size, checksum=sound.checksum)


def _clear(coming: Coming) -> None:
    expected = coming.expected
    if expected.several and not expected.simulated:
        clear(expected)
        return
    take_away(uuid4(), StoredFile(expected.store, expected.path, expected.simulated))


def abandon_expired(moment: datetime) -> int:
    """Tell of uploads for which nothing came in time: how many."""
    with reading() as session:
        late = select(UploadTicket.id).where(UploadTicket.expires <= moment, UploadTicket.removed.is_(None))
        numbers = list(session.scalars(late.order_by(UploadTicket.id).limit(100)))
    for number in numbers:
        write(_abandon, number)
    return len(numbers)


def _abandon(tx: Session, number: int) -> None:
    ticket = tx.get_one(UploadTicket, number, with_for_update=True)
    if ticket.removed is None:
        ticket.removed = now()
        if ticket.state != "Used" and ticket.kind in receivers:
            receivers[ticket.kind].abandoned(tx, ticket.subject)
