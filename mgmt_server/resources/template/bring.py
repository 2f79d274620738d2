"""From a URL to secondary storage, through a file of the server's own: fetched, checked, looked at, put, removed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import logging
import lzma
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.agent.run import run
from mgmt_server.db import changed, write
from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.image.download import Limits, fetch
from mgmt_server.drivers.image.inspect import Inspected, disk_of_ova, inspect
from mgmt_server.drivers.image.system import SystemImage, find
from mgmt_server.errors import ApiError, Failed, InvalidValue, Unavailable
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
RETRIES = Setting(
    "template.download.retries",
    "How often the download of an image is tried again when its server does not answer or is cut off",
    type="Integer",
    default="3",
    least=0,
    most=100,
)
GIB = 1 << 30
PAUSE = 5.0  # seconds before a download is tried again; twice as long each time, LONGEST at most
LONGEST = 300.0
CONVERTING, MEMORY = 7200, 2 << 30  # seconds of CPU, bytes of address space
CONVERTED = {"VHD": "vpc", "VHDX": "vhdx", "VMDK": "vmdk", "OVA": "vmdk"}  # as registered -> as QEMU calls it
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
class Stored:
    """An image on a store, sizes in bytes."""

    store: str  # URL
    path: str
    size: int
    physical_size: int


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
    """Fetch, check, inspect and put an image. What goes wrong is told in the answer, and nothing of it stays.

    What an earlier life of this server has left of the download is gone on with, where that can be.
    """
    folder = _folder(order)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _bring(order, folder)
    except ApiError as error:
        _clear(order)
        return Brought(error=str(error))
    except OSError as error:
        _clear(order)
        return Brought(error=f"the server could not keep the image: {error.strerror or error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def carry(call: UUID, order: Order, source: Stored | None) -> Brought:
    """Copy an image from another store, by way of this server. It was looked into before it got there."""
    if source is None:
        return Brought(error="the template is on no secondary storage any more from which it could be copied")
    folder = _folder(order)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700, parents=True)
        nfs.get(source.store, source.path, folder / "image")
        if (folder / "image").stat().st_size != source.physical_size:
            raise Failed(f"{source.path} on {source.store} is not {source.physical_size} bytes long any more")
        _wanted_still(order, 50)
        nfs.put(folder / "image", order.store, order.path)
        return Brought(size=source.size, physical_size=source.physical_size)
    except ApiError as error:
        _clear(order)
        return Brought(error=str(error))
    except OSError as error:
        _clear(order)
        return Brought(error=f"the server could not copy the image: {error.strerror or error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def uncarry(call: UUID, order: Order, source: Stored | None) -> None:
    """Undo `carry`."""
    take_away(call, order)


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
    _fetch(order, file, Limits(allowed=tuple(INSIDE.words()), size=largest))
    sound = made_sound(file, folder, order.format, order.checksum, largest)
    _wanted_still(order, 99)
    nfs.put(sound.file, order.store, order.path)
    return Brought(size=sound.seen.virtual_size, physical_size=sound.seen.physical_size, checksum=sound.checksum)


def _fetch(order: Order, file: Path, limits: Limits) -> None:
    """Try again where what is wrong may pass, and tell why meanwhile."""
    tries, pause = RETRIES.number() + 1, PAUSE
    for number in range(1, tries + 1):
        try:
            fetch(order.url, file, limits, _Teller(order), resume=True)
            return
        except Unavailable as error:
            if number == tries:
                raise Unavailable(f"{error} (tried {tries} times)" if tries > 1 else str(error)) from None
            write(_note_cause, order, f"try {number} of {tries} failed: {error}")
        threading.Event().wait(pause)
        pause = min(2 * pause, LONGEST)
        _wanted_still(order, 0)


@dataclass(frozen=True)
class Sound:
    """An image that may go to a store."""

    file: Path
    seen: Inspected
    checksum: str


def kept_as(hypervisor: str, format: str) -> str:
    """The format in which an image is kept: hosts with KVM are given disks of other hypervisors as QCOW2."""
    return "QCOW2" if hypervisor == "KVM" and format in CONVERTED else format


def made_sound(file: Path, folder: Path, format: str, checksum: str, largest: int) -> Sound:
    """Check a file, unpack it, look into it, and convert it where hosts cannot take it as it is.

    `folder` holds what is made meanwhile. Raises Failed for an image that must not be used.
    """
    for left in ("unpacked", "disk", "converted"):
        (folder / left).unlink(missing_ok=True)
    told = checked(file, checksum)
    file = unpacked(file, folder / "unpacked", largest)
    if format == "OVA":
        disk_of_ova(file, folder / "disk", largest)
        file = folder / "disk"
    seen = inspect(file, "VMDK" if format == "OVA" else format, largest)
    if format in CONVERTED:
        target = folder / "converted"
        _convert(file, CONVERTED[format], target)
        file, seen = target, inspect(target, "QCOW2", largest + GIB)  # formats round sizes up
    return Sound(file, seen, told)


def _convert(file: Path, format: str, target: Path) -> None:
    if shutil.which("qemu-img") is None:
        raise Failed(
            f"images in the format {format} are converted here, and qemu-img is missing: install qemu-utils on the "
            "management server, or register the image as QCOW2"
        )
    bounds = ["prlimit", f"--as={MEMORY}", f"--cpu={CONVERTING}", "--core=0", "--"]
    run([*bounds, "qemu-img", "convert", "-q", "-f", format, "-O", "qcow2", str(file), str(target)], 2.0 * CONVERTING)


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


def _note_cause(tx: Session, order: Order, cause: str) -> None:
    mine = update(TemplateOnStore).where(TemplateOnStore.id == order.on_store, TemplateOnStore.state == "Creating")
    tx.execute(mine.values(error=cause[:2000]).execution_options(synchronize_session=False))


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


def checked(file: Path, expected: str) -> str:
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


def unpacked(file: Path, target: Path, largest: int) -> Path:
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
