"""The files of snapshots on secondary storage: deleted and copied as steps of flows."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from mgmt_server.db import write
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import ApiError, Failed
from mgmt_server.protocol.machine import Disk, File
from mgmt_server.resources.transfer import leftovers
from mgmt_server.resources.transfer.flows import StoredFile

log = logging.getLogger("cloudwright.snapshot")


@dataclass(frozen=True)
class OnStore:
    """A file below a store, as steps name it."""

    id: int  # of its row
    hypervisor: str  # a simulated disk's content is a row, and no file
    store: str  # URL
    path: str


@dataclass(frozen=True)
class Copied:
    """A file that is copied from one store to another."""

    source: OnStore
    target: OnStore


@dataclass(frozen=True)
class Point:
    """A moment that a disk follows changes from, and where it can be told to do so no more."""

    host: HostRef
    disk: Disk
    machine: str
    name: str


def remove(call: UUID, file: OnStore) -> None:
    """Delete a file. One that is not there is fine. Raises Unavailable when the store does not answer."""
    if file.hypervisor == "Simulator":
        write(simulator.remove, file.store, file.path)
    else:
        nfs.remove(file.store, file.path)


def unsave(call: UUID, host: HostRef, disk: Disk, machine: str, file: File, since: str, point: str) -> None:
    """Undo of `save_disk`: neither the file nor the point stays."""
    if point:
        forget(call, Point(host, disk, machine, point))
    leftovers.remove(call, _stored(host, file))


def unsave_point(call: UUID, host: HostRef, disk: Disk, machine: str, file: File, point: str) -> None:
    """Undo of `save_point`: the snapshot in the disk stays."""
    leftovers.remove(call, _stored(host, file))


def _stored(host: HostRef, file: File) -> StoredFile:
    return StoredFile(file.store.url, file.path, host.hypervisor == "Simulator")


def forget(call: UUID, point: Point) -> bool:
    """Have a disk follow changes from a point no more. One that cannot be told now is told at the next occasion."""
    try:
        disks.forget_point(call, point.host, point.disk, point.machine, point.name)
    except ApiError as error:
        log.info("the disk %s still follows changes from %s: %s", point.disk.name, point.name, error)
        return False
    return True


def copy(call: UUID, order: Copied) -> None:
    """Copy a file from store to store, by way of this server."""
    source, target = order.source, order.target
    if source.hypervisor == "Simulator":
        write(simulator.copy_file, source.store, source.path, target.store, target.path)
        return
    folder = Path(os.environ.get("TMPDIR") or "/var/tmp") / f"cloudwright-snapshot-{call}"  # noqa: S108  holds much
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier life of this server
    try:
        folder.mkdir(mode=0o700, parents=True)
        nfs.get(source.store, source.path, folder / "file")
        nfs.put(folder / "file", target.store, target.path)
    except OSError as error:
        raise Failed(f"the server could not copy {source.path} to {target.store}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def uncopy(call: UUID, order: Copied) -> None:
    """Undo of `copy`."""
    remove(call, order.target)
