"""OVAs: archives with the disks of one machine and its description. Nothing is unpacked by the names in them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mgmt_server.drivers.image.inspect import LARGEST
from mgmt_server.drivers.image.ovf import LONGEST, Described, Disk, described
from mgmt_server.errors import Failed

MEMBERS = 100  # files in one


def look_into(file: Path, largest: int = LARGEST) -> Described:
    """The machine in an archive. Raises Failed for one that holds anything that it should not, or lacks a disk."""
    with _opened(file) as archive:
        members = _members(archive, largest)
        told = described(_description(archive, members))
    disks = [m for m in members.values() if m.name.lower().endswith(".vmdk")]
    if not told.disks and len(disks) == 1:
        return Described((Disk(disks[0].name, disks[0].name, 0),), told.nics)
    if not told.disks:
        raise Failed(f"the archive holds {len(disks)} disks (.vmdk), and its description names none")
    for disk in told.disks:
        if disk.file and disk.file not in members:
            raise Failed(f"the disk {disk.file[:100]}, which the description names, is not in the archive")
    if not told.disks[0].file:
        raise Failed("the first disk of the archive is blank: no machine starts from it")
    return told


def take_out(file: Path, name: str, target: Path) -> None:
    """Copy one file of an archive that was looked into."""
    with _opened(file) as archive:
        member = archive.getmember(name)
        source = archive.extractfile(member)
        if source is None:
            raise Failed(f"{name[:100]} in the archive is no file")
        with source, open(target, "wb") as sink:
            while piece := source.read(1 << 20):
                sink.write(piece)
    if target.stat().st_size != member.size:
        raise Failed(f"{name[:100]} in the archive was cut off")


def disk_of_ova(file: Path, target: Path, largest: int = LARGEST) -> None:
    """Take the one disk out of an archive. Raises Failed where it has more."""
    disks = look_into(file, largest).disks
    if len(disks) > 1:
        raise Failed(f"the archive holds {len(disks)} disks, and here goes one: make a template of it")
    take_out(file, disks[0].file, target)


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, "r:") as archive:
            yield archive
    except tarfile.TarError as error:
        raise Failed(f"the image was registered as OVA, and is no archive that can be read: {error}") from None


def _members(archive: tarfile.TarFile, largest: int) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    for count, member in enumerate(archive, 1):
        name = member.name
        if count > MEMBERS:
            raise Failed(f"the archive is refused: it holds more than {MEMBERS} files")
        if not member.isreg() or name.startswith("/") or ".." in name.split("/"):
            raise Failed(f"the archive is refused: {name[:100]!r} is a link, a device or lies outside of it")
        if name in found:
            raise Failed(f"the archive is refused: it holds {name[:100]!r} twice")
        if member.size > largest:
            raise Failed(f"{name[:100]} in the archive has {member.size} bytes: at most {largest} are allowed")
        found[name] = member
    return found


def _description(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> bytes:
    names = [name for name in members if name.lower().endswith(".ovf")]
    if len(names) != 1:
        raise Failed(f"the archive is no OVA: it has {len(names)} descriptions (.ovf) instead of one")
    source = archive.extractfile(members[names[0]])
    return source.read(LONGEST + 1) if source is not None else b""
