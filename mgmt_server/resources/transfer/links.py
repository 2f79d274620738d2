"""Links from which an account's clients fetch images of secondary storage, until they expire.

    told = make_link(tx, volume, "Volume", volume.uuid, "data.qcow2", store.id, path)      told.url

A link is a token that nobody can guess; the database knows its hash alone. It is good while its account is enabled.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from urllib.parse import urlsplit

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import new_uuid, now
from mgmt_server.drivers.storage.simulator import place_of
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account
from mgmt_server.model.settings import Setting
from mgmt_server.model.simulator import SimulatedFile
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.transfer import ExtractLink
from mgmt_server.resources.checks import one_of

EXPIRES = Setting("extract.url.expiration.interval", "Seconds for which a link to an image is good", least=60)
ENDPOINT = Setting(
    "endpoint.url",
    "The API's address for clients, such as https://cloud.example.org/client/api: links to images and forms for "
    "uploads lead there; with the default, to the server that made them",
)
FORBIDDEN = Setting("disable.extraction", "Whether disks, templates and ISOs cannot be downloaded by anybody")
PATH = "/userdata"  # of links, below the server's address

_base = "http://localhost:8080"


class Owned(Protocol):
    @property
    def account_id(self) -> int: ...
    @property
    def domain_id(self) -> int: ...


@dataclass(frozen=True)
class Holder:
    """Whose a link is, where that is its client and not the image's owner."""

    account_id: int
    domain_id: int


@dataclass(frozen=True)
class Link:
    """What the client is told. The URL is a secret: it stands in no log and no event."""

    uuid: str
    url: str


@dataclass(frozen=True)
class Target:
    """What a link leads to. `content` is what a simulated image holds, which is no file."""

    store: str
    path: str
    file_name: str
    content: int | None


def check_extraction(mode: str) -> None:
    """Refuse a link of another kind than there are, or any where downloads are switched off."""
    if one_of("mode", mode, ("HTTP_DOWNLOAD", "FTP_UPLOAD")) == "FTP_UPLOAD":
        raise InvalidValue("mode=FTP_UPLOAD is not supported: send HTTP_DOWNLOAD, and fetch the link of the answer")
    if FORBIDDEN.flag():
        raise InvalidValue(f"Downloads are switched off here (setting {FORBIDDEN.name})")


def use_base(url: str) -> None:
    """Where this server is reached, for links made while nobody says better."""
    global _base
    _base = url.rstrip("/")


def base() -> str:
    told = ENDPOINT.text().strip()
    if not told or told == ENDPOINT.default:
        return _base
    parts = urlsplit(told)
    return f"{parts.scheme or 'http'}://{parts.netloc}"


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def make_link(
    tx: Session,
    owner: Owned,
    kind: str,
    subject: str,
    file_name: str,
    store_id: int,
    path: str,
    *,
    size: int = 0,
    temporary: bool = False,
) -> Link:
    """A new link of the owner's account to a file on a store.

    kind, subject: Volume, Template, Iso or Snapshot, and its uuid
    file_name: what the client saves it as
    temporary: whether the file goes with the link
    """
    token, uuid = secrets.token_urlsafe(32), new_uuid()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file_name).strip("-.")[-100:] or "image"
    row = ExtractLink(
        uuid=uuid,
        account_id=owner.account_id,
        domain_id=owner.domain_id,
        token_hash=hash_of(token),
        kind=kind,
        subject=subject,
        file_name=name,
        store_id=store_id,
        path=path,
        size=size,
        temporary=temporary,
        expires=now() + timedelta(seconds=EXPIRES.number()),
    )
    tx.add(row)
    tx.flush()
    return Link(uuid, f"{base()}{PATH}/{token}/{name}")


def target_of(session: Session, token: str) -> Target | None:
    """What a link leads to; None for one that is not there, has expired, or whose account may no longer fetch."""
    rows = (
        select(ImageStore.url, ExtractLink.path, ExtractLink.file_name)
        .join(ExtractLink, ExtractLink.store_id == ImageStore.id)
        .join(Account, Account.id == ExtractLink.account_id)
        .where(
            ExtractLink.token_hash == hash_of(token),
            ExtractLink.removed.is_(None),
            ExtractLink.expires > now(),
            ImageStore.removed.is_(None),
            Account.state == "enabled",
            Account.removed.is_(None),
        )
    )
    found = session.execute(rows).first()
    if found is None:
        return None
    simulated = select(SimulatedFile.content).where(
        SimulatedFile.place == place_of(found.url), SimulatedFile.name == found.path
    )
    return Target(found.url, found.path, found.file_name, session.scalar(simulated))


def expire_links(tx: Session, subject: str) -> None:
    """End all links to what is gone, or was made anew. Files that were made for them go at the next clean-up."""
    mine = update(ExtractLink).where(ExtractLink.subject == subject, ExtractLink.removed.is_(None))
    ended = mine.where(ExtractLink.expires > now()).values(expires=now())
    tx.execute(ended.execution_options(synchronize_session=False))
