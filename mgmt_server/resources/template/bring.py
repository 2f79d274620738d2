"""From a URL to secondary storage, through a file of the server's own: fetched, checked, looked at, put, removed."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import changed, write
from mgmt_server.drivers.image import nfs, ova
from mgmt_server.drivers.image.ovf import Nic
from mgmt_server.drivers.image.system import SystemImage, find
from mgmt_server.errors import ApiError, Failed, Unavailable
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import Template, TemplateInZone
from mgmt_server.protocol.checksum import checked
from mgmt_server.protocol.download import Limits, fetch
from mgmt_server.resources.template.sound import GIB, LARGEST, disk_made_sound, made_sound, unpacked

log = logging.getLogger("cloudwright.template")
R = TypeVar("R")
INSIDE = Setting(
    "secstorage.allowed.internal.sites",
    "Networks of your own from which images may be fetched, such as 192.0.2.0/24, with commas between",
)
FOLLOWED = Setting(
    "store.download.follow.redirects",
    "Whether the download of an image goes on where its server says that the image is at another URL",
)
RETRIES = Setting(
    "template.download.retries",
    "How often the download of an image is tried again when its server does not answer or is cut off",
    type="Integer",
    default="3",
    least=0,
    most=100,
)
PAUSE = 5.0  # seconds before a download is tried again; twice as long each time, LONGEST at most
LONGEST = 300.0
TELL = 2.0  # seconds between two notes of the progress


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
class Part:
    """A further disk of an OVA, on the same store: its name in the archive, sizes in bytes."""

    name: str
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
    parts: tuple[Part, ...] = ()
    nics: tuple[Nic, ...] = ()  # of an OVA


def bring(call: UUID, order: Order) -> Brought:
    """Fetch, check, inspect and put an image. What goes wrong is told in the answer, and nothing of it stays.

    What an earlier life of this server has left of the download is gone on with, where that can be.
    """
    folder = _folder(order)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _bring(order, folder)
    except ApiError as error:
        clear(order)
        return Brought(error=str(error))
    except OSError as error:
        clear(order)
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
        clear(order)
        return Brought(error=str(error))
    except OSError as error:
        clear(order)
        return Brought(error=f"the server could not copy the image: {error.strerror or error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def uncarry(call: UUID, order: Order, source: Stored | None) -> None:
    """Undo `carry`."""
    take_away(call, order)


def take_away(call: UUID, order: Order) -> None:
    """Undo `bring`."""
    shutil.rmtree(_folder(order), ignore_errors=True)
    clear(order)


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


class Wanted(Protocol):
    """An image that is to be kept on a store: its URL, and a path below it."""

    @property
    def format(self) -> str: ...
    @property
    def checksum(self) -> str: ...
    @property
    def store(self) -> str: ...
    @property
    def path(self) -> str: ...


def keep(file: Path, wanted: Wanted, largest: int, still: Callable[[], None] = lambda: None) -> Brought:
    """Check a file, make it sound and put it on its store: of an OVA all disks, one after the other.

    `still` raises when nobody wants it any more. Nothing stays on the store when something is wrong.
    """
    if wanted.format != "OVA":
        sound = made_sound(file, file.parent, wanted.format, wanted.checksum, largest)
        still()
        nfs.put(sound.file, wanted.store, wanted.path)
        return Brought(sound.seen.virtual_size, sound.seen.physical_size, sound.checksum)
    checksum = checked(file, wanted.checksum)
    archive = unpacked(file, file.parent / "unpacked", largest)
    machine = ova.look_into(archive, largest)
    kept: list[Part] = []
    try:
        for number, disk in enumerate(machine.disks):
            sound = disk_made_sound(archive, disk, file.parent, largest)
            still()
            kept.append(
                Part(disk.name, path_of(wanted.path, number), sound.seen.virtual_size, sound.seen.physical_size)
            )
            nfs.put(sound.file, wanted.store, kept[-1].path)
    except (ApiError, OSError):
        clear(wanted)
        raise
    root, *parts = kept
    return Brought(root.size, root.physical_size, checksum, parts=tuple(parts), nics=machine.nics)


def path_of(path: str, number: int) -> str:
    """Where a disk of an OVA is, beside the first one."""
    stem, dot, ending = path.rpartition(".")
    return f"{stem}-{number}{dot}{ending}" if number else path


def clear(wanted: Wanted) -> None:
    """Leave nothing of `keep` behind, as far as the store answers."""
    folder, _, name = wanted.path.rpartition("/")
    stem, _, ending = name.rpartition(".")
    try:
        nfs.remove(wanted.store, wanted.path)
        parts = nfs.names(wanted.store, folder) if wanted.format == "OVA" else []
        for part in parts:
            if re.fullmatch(rf"{re.escape(stem)}-[0-9]+\.{re.escape(ending)}", part):
                nfs.remove(wanted.store, f"{folder}/{part}")
    except ApiError as error:
        log.warning("what was left of %s on %s stays there: %s", wanted.path, wanted.store, error)


def _bring(order: Order, folder: Path) -> Brought:
    largest = LARGEST.number() * GIB
    file = folder / "image"
    _fetch(order, file, Limits(allowed=tuple(INSIDE.words()), size=largest, redirects=FOLLOWED.flag()))
    return keep(file, order, largest, lambda: _wanted_still(order, 99))


def _fetch(order: Order, file: Path, limits: Limits) -> None:
    tried(order, lambda: fetch(order.url, file, limits, _Teller(order), resume=True))


def tried(order: Order, work: Callable[[], R]) -> R:
    """Try again where what is wrong may pass, and tell why meanwhile."""
    tries, number, pause = RETRIES.number() + 1, 1, PAUSE
    while True:
        try:
            return work()
        except Unavailable as error:
            if number == tries:
                raise Unavailable(f"{error} (tried {tries} times)" if tries > 1 else str(error)) from None
            write(_note_cause, order, f"try {number} of {tries} failed: {error}")
        threading.Event().wait(pause)
        number, pause = number + 1, min(2 * pause, LONGEST)
        _wanted_still(order, 0)


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
