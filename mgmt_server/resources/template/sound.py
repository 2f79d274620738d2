"""Images that came from outside: checked, unpacked, looked into, converted where hosts cannot take them as they are."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgmt_server.agent.run import run
from mgmt_server.drivers.image import ova
from mgmt_server.drivers.image.inspect import Inspected, inspect
from mgmt_server.drivers.image.ovf import Disk
from mgmt_server.errors import Failed
from mgmt_server.model.settings import Setting
from mgmt_server.protocol.checksum import checked

LARGEST = Setting(
    "max.template.iso.size", "The largest image that is fetched, and the largest disk in one, in GiB", least=1
)
GIB = 1 << 30
CONVERTING, MEMORY = 7200, 2 << 30  # seconds of CPU, bytes of address space
CONVERTED = {"VHD": "vpc", "VHDX": "vhdx", "VMDK": "vmdk", "OVA": "vmdk"}  # as registered -> as QEMU calls it
CHUNK = 1 << 20
PACKED: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)


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
    """Check a file, unpack it, look into it, and convert it where hosts cannot take it as it is. An OVA has one disk.

    `folder` holds what is made meanwhile. Raises Failed for an image that must not be used.
    """
    told = checked(file, checksum)
    file = unpacked(file, folder / "unpacked", largest)
    if format == "OVA":
        ova.disk_of_ova(file, folder / "disk", largest)
        file = folder / "disk"
    return _looked_into(file, folder, format, told, largest)


def disk_made_sound(archive: Path, disk: Disk, folder: Path, largest: int) -> Sound:
    """The same of one disk of an OVA that was looked into."""
    if not disk.file:
        _check_size(disk, largest)
        target = folder / "blank"
        target.unlink(missing_ok=True)
        run([*_bounds(), "qemu-img", "create", "-q", "-f", "qcow2", str(target), str(disk.size)], 60.0)
        return Sound(target, inspect(target, "QCOW2", largest), "")
    ova.take_out(archive, disk.file, folder / "disk")
    return _looked_into(unpacked(folder / "disk", folder / "unpacked-disk", largest), folder, "OVA", "", largest)


def _check_size(disk: Disk, largest: int) -> None:
    if not 0 < disk.size <= largest:
        raise Failed(f"{disk.name[:100]} would be a disk of {disk.size} bytes: at most {largest} are allowed")


def _looked_into(file: Path, folder: Path, format: str, checksum: str, largest: int) -> Sound:
    seen = inspect(file, "VMDK" if format == "OVA" else format, largest)
    if format not in CONVERTED:
        return Sound(file, seen, checksum)
    target = folder / "converted"
    target.unlink(missing_ok=True)
    _convert(file, CONVERTED[format], target)
    return Sound(target, inspect(target, "QCOW2", largest + GIB), checksum)  # formats round sizes up


def _convert(file: Path, format: str, target: Path) -> None:
    argv = [*_bounds(), "qemu-img", "convert", "-q", "-f", format, "-O", "qcow2", str(file), str(target)]
    run(argv, 2.0 * CONVERTING)


def _bounds() -> list[str]:
    """What qemu-img is run with. Raises Failed where it is missing."""
    if shutil.which("qemu-img") is None:
        raise Failed(
            "images in the formats of other hypervisors are converted here, and qemu-img is missing: install "
            "qemu-utils on the management server, or register the image as QCOW2"
        )
    return ["prlimit", f"--as={MEMORY}", f"--cpu={CONVERTING}", "--core=0", "--"]


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
