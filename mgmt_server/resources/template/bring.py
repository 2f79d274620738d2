"""From a URL to secondary storage, through a file of the server's own: fetched, checked, looked at, put, removed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import logging
import lzma
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import changed, write
from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.image.download import Limits, fetch
from mgmt_server.drivers.image.inspect import inspect
from mgmt_server.drivers.image.system import SystemImage, find
from mgmt_server.errors import ApiError, Failed, InvalidValue
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import Template, TemplateInZone

log = logging.getLogger("cloudwright.template")
LARGEST = Setting(
    "max.template.iso.size", "The largest image that is fetched, and the largest disk in one, in GiB", least=1
)
INSIDE = Setting(
    "secstorage.allowed.internal.sites",
    "Networks of your own from which images may be fetched, such as 192.0.2.0/24, with commas between",
)
GIB = 1 << 30
TELL = 2.0  # seconds between two notes of the progress
CHUNK = 1 << 20
PACKED: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
DIGESTS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}


@dataclass(frozen=True)
class Order:
    """What is to be brought to a store, or taken off it."""

    on_store: int
    template: int
    uuid: str
    url: str
    format: str
    checksum: str
    store: str  # URL
    path: str  # below the store


@dataclass(frozen=True)
class Brought:
    """Sizes in bytes. `error` says why there is no image; then nothing is left of it."""

    size: int = 0
    physical_size: int = 0
    checksum: str = ""
    error: str = ""


def digest_of(text: str) -> tuple[str, str]:
    """Algorithm and hexadecimal digest of a checksum as clients send it: {SHA-256}ab12..., or the digest alone."""
    algorithm, _, digest = text.strip().rpartition("}")
    digest = digest.lower()
    name = algorithm.strip("{").replace("-", "").lower() or DIGESTS.get(len(digest), "")
    known = {v: k for k, v in DIGESTS.items()}
    if name not in known or len(digest) != known[name] or set(digest) - set("0123456789abcdef"):
        raise InvalidValue(
            f"checksum={text[:100]} is none: send a hexadecimal MD5, SHA-1 or SHA-2 digest, or {{SHA-256}}digest"
        )
    return name, digest


def bring(call: UUID, order: Order) -> Brought:
    """Fetch, check, inspect and put an image. What goes wrong is told in the answer, and nothing of it stays."""
    folder = _folder(order)
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier life of this server
    try:
        folder.mkdir(mode=0o700, parents=True)
        return _bring(order, folder)
    except ApiError as error:
        _clear(order)
        return Brought(error=str(error))
    except OSError as error:
        _clear(order)
        return Brought(error=f"the server could not keep the image: {error.strerror or error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def take_away(call: UUID, order: Order) -> None:
    """Undo `bring`."""
    shutil.rmtree(_folder(order), ignore_errors=True)
    _clear(order)


def remove(call: UUID, order: Order) -> None:
    """Take an image off its store. One that is not there is fine. Raises Unavailable when the store does not answer."""
    nfs.remove(order.store, order.path)


def find_system(call: UUID, store_url: str) -> SystemImage | None:
    """The system VM image of KVM hosts on a store; None for a store without it, or one that does not answer."""
    try:
        return find(store_url)
    except (ApiError, OSError) as error:
        log.info("looking for the system VM image on %s: %s", store_url, error)
        return None


def _folder(order: Order) -> Path:
    """A place that holds large files, which /tmp on many systems does not."""
    return Path(os.environ.get("TMPDIR") or "/var/tmp") / f"cloudwright-template-{order.uuid}-{order.on_store}"  # noqa: S108


def _clear(order: Order) -> None:
    try:
        nfs.remove(order.store, order.path)
    except ApiError as error:
        log.warning("what was left of template %s on %s stays there: %s", order.uuid, order.store, error)


def _bring(order: Order, folder: Path) -> Brought:
    largest = LARGEST.number() * GIB
    file = folder / "image"
    fetch(order.url, file, Limits(allowed=tuple(INSIDE.words()), size=largest), _Teller(order))
    checksum = _check(file, order.checksum)
    file = _unpacked(file, folder / "unpacked", largest)
    seen = inspect(file, order.format, largest)
    _wanted_still(order, 99)
    nfs.put(file, order.store, order.path)
    return Brought(size=seen.virtual_size, physical_size=seen.physical_size, checksum=checksum)


class _Teller:
    """Notes the progress every other second, and ends the download of a template that was deleted."""

    def __init__(self, order: Order) -> None:
        self.order, self.last = order, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.last < TELL:
            return
        self.last = time.monotonic()
        _wanted_still(self.order, min(99, done * 100 // total) if total else 0)


def _wanted_still(order: Order, percent: int) -> None:
    if not write(_note, order, percent):
        raise Failed("the template was deleted while its image was fetched")


def _note(tx: Session, order: Order, percent: int) -> bool:
    gone = select(Template.id).where(Template.id == order.template, Template.removed.is_not(None)).exists()
    left = select(TemplateInZone.id).where(
        TemplateInZone.template_id == order.template,
        TemplateInZone.zone_id == TemplateOnStore.zone_id,
        TemplateInZone.removed.is_not(None),
    )
    mine = update(TemplateOnStore).where(
        TemplateOnStore.id == order.on_store, TemplateOnStore.state == "Creating", ~gone, ~left.exists()
    )
    return changed(tx.execute(mine.values(progress=percent).execution_options(synchronize_session=False))) == 1


def _check(file: Path, expected: str) -> str:
    """The digest of a file, as clients read it. Raises Failed when it is not the expected one."""
    name, digest = digest_of(expected) if expected else ("sha256", "")
    with open(file, "rb") as source:
        found = hashlib.file_digest(source, name).hexdigest()
    if digest and found != digest:
        raise Failed(
            f"the checksum is wrong: the file's {name.upper()} is {found}, and {digest} was registered. Either the "
            "file was changed, or the checksum is of another one"
        )
    return expected or f"{{SHA-256}}{found}"


def _unpacked(file: Path, target: Path, largest: int) -> Path:
    """The image in a file that was packed with gzip, bzip2 or xz; the file itself when it was not."""
    with open(file, "rb") as source:
        start = source.read(8)
    opened = next((unpack for magic, unpack in PACKED if start.startswith(magic)), None)
    if opened is None:
        return file
    size = 0
    try:
        with opened(file, "rb") as source, open(target, "wb") as sink:
            while piece := source.read(CHUNK):
                size += len(piece)
                if size > largest:
                    raise Failed(f"unpacked it has more than {largest} bytes (setting {LARGEST.name})")
                sink.write(piece)
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise Failed(f"the file cannot be unpacked: {error}") from None
    file.unlink()
    return target
