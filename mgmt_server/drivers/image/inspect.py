"""Images from outside, looked at before anything opens them: format, size, and whether they name other files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from oslo_utils.imageutils import format_inspector

from mgmt_server.errors import Failed
from mgmt_server.protocol.content import contents

# as registered -> what the content may be
FORMATS = {
    "QCOW2": ("qcow2",),
    "RAW": ("raw", "gpt"),
    "ISO": ("iso", "gpt"),
    "VHD": ("vhd",),
    "VHDX": ("vhdx",),
    "VMDK": ("vmdk",),
}
LARGEST = 2 << 40
L1_LARGEST = 32 << 20  # bytes; QEMU takes no larger table either, and would read it whole
SLACK = 1 << 20  # an ISO's own size is rounded up by some programs
VHDX_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
VHDX_PARENT = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")


@dataclass(frozen=True)
class Inspected:
    format: str  # as the content says: qcow2, raw, iso ...
    virtual_size: int  # bytes
    physical_size: int


def inspect(file: Path, registered: str, largest: int = LARGEST) -> Inspected:
    """Raises Failed when the image is something else than `registered`, refers to other files, cannot be read, or
    would be larger than `largest` bytes."""
    allowed = FORMATS.get(registered.upper())
    if allowed is None:
        raise Failed(f"images of the format {registered} are not known: {', '.join(FORMATS)} are")
    size = file.stat().st_size
    if not size:
        raise Failed("the image is empty")
    try:
        if registered.upper() == "VHD" and _is_fixed_vhd(file, size):
            return _within(Inspected("vhd", size - 512, size), largest)
        found = contents(file)
        kind = _kind(found, registered)
        for inspector in found.values():
            if str(inspector) not in ("raw", "gpt", "iso"):
                inspector.safety_check()
        virtual = size if kind in ("raw", "gpt", "iso") else int(found[kind].virtual_size)
        with open(file, "rb") as source:
            why = CHECKS[kind](source, size) if kind in CHECKS else ""
    except format_inspector.SafetyCheckFailed as error:
        why = "; ".join(str(e) for e in error.failures.values())
        raise Failed(f"the image is refused, since it could make a host read other files: {why}") from None
    except (format_inspector.ImageFormatError, ValueError, KeyError, struct.error, OSError) as error:
        raise Failed(f"the image cannot be read: {error}") from None
    if why:
        raise Failed(f"the image is refused: {why}")
    return _within(Inspected(kind, virtual, size), largest)


def inspect_beginning(file: Path, registered: str, size: int, largest: int = LARGEST) -> int:
    """The virtual size of an image of which only the beginning is here, and `size` bytes in all. QCOW2, RAW or ISO.

    Raises Failed as `inspect` does, as far as the beginning tells.
    """
    try:
        found = contents(file)
        kind = _kind(found, registered)
        with open(file, "rb") as source:
            why = CHECKS[kind](source, size) if kind in CHECKS and size else ""
        virtual = int(found[kind].virtual_size) if kind == "qcow2" else size
        if kind == "qcow2":
            found[kind].safety_check()
    except format_inspector.SafetyCheckFailed as error:
        why = "; ".join(str(e) for e in error.failures.values())
    except (format_inspector.ImageFormatError, ValueError, KeyError, struct.error, OSError) as error:
        raise Failed(f"the image cannot be read: {error}") from None
    if why:
        raise Failed(f"the image is refused: {why}")
    return _within(Inspected(kind, virtual, size), largest).virtual_size


def _kind(found: dict[str, Any], registered: str) -> str:
    """What the content is. Raises Failed where that is not what was registered."""
    iso = registered.upper() == "ISO"
    if not set(found) <= set(FORMATS[registered.upper()]) or not ("iso" in found if iso else len(found) == 1):
        kind = "+".join(sorted(found)) or "unknown"
        raise Failed(f"the image was registered as {registered}, and its content is {kind}: register it as that")
    return "iso" if iso else next(iter(found))


def _within(found: Inspected, largest: int) -> Inspected:
    if not 0 < found.virtual_size <= largest:
        raise Failed(f"the image would be a disk of {found.virtual_size} bytes: at most {largest} are allowed")
    return found


def _is_fixed_vhd(file: Path, size: int) -> bool:
    """Whether it is a bare disk with a VHD's footer behind it: from the front it looks like any raw disk."""
    with open(file, "rb") as source:
        start = source.read(8)
        source.seek(max(0, size - 512))
        footer = source.read(512)
    return start != b"conectix" and footer[:8] == b"conectix" and footer[60:64] == b"\0\0\0\2"


# --- what the formats' own headers tell: why an image is refused, or nothing ------------------------------------------


def _qcow2(source: Any, size: int) -> str:
    head = source.read(104).ljust(104, b"\0")
    version, _, _, bits, virtual, encryption, l1_entries, l1_at, table_at, table_clusters = struct.unpack(
        ">IQIIQIIQQI", head[4:60]
    )
    features = struct.unpack(">Q", head[72:80])[0] if version >= 3 else 0
    if encryption:
        return "it is encrypted, and hosts have no key for it"
    if features & 2:
        return "it is marked as corrupt: repair it with qemu-img check -r all"
    if not 9 <= bits <= 21:
        return f"its clusters are of 2^{bits} bytes, which no program writes"
    needed = -(-virtual >> (2 * bits - 3)) if virtual else 0  # an L2 table maps 2^(bits-3) clusters
    if l1_entries * 8 > L1_LARGEST or l1_entries < needed:
        return f"its table of {l1_entries} entries does not fit a disk of {virtual} bytes"
    if l1_at + l1_entries * 8 > size or table_at >= size or (table_clusters << bits) > L1_LARGEST:
        return "its tables lie behind its end: it was cut off, or made to be read wrongly"
    return ""


def _vhd(source: Any, size: int) -> str:
    source.seek(max(0, size - 512))
    footer = source.read(512)
    if footer[:8] != b"conectix":
        return "its footer is missing: it was cut off"
    (kind,) = struct.unpack(">I", footer[60:64])
    return "" if kind in (2, 3) else "it holds only what differs from another disk: merge it with that first"


def _vhdx(source: Any, size: int) -> str:
    source.seek(192 << 10)
    regions = source.read(64 << 10)
    (count,) = struct.unpack("<I", regions[8:12])
    if regions[:4] != b"regi" or count > 2047:
        return "its region table cannot be read"
    for n in range(count):
        at = 16 + 32 * n
        if UUID(bytes_le=regions[at : at + 16]) == VHDX_METADATA:
            source.seek(struct.unpack("<Q", regions[at + 16 : at + 24])[0])
            table = source.read(64 << 10)
            return _vhdx_metadata(table)
    return "it has no metadata"


def _vhdx_metadata(table: bytes) -> str:
    (count,) = struct.unpack("<H", table[10:12])
    if table[:8] != b"metadata" or count > 2047:
        return "its metadata cannot be read"
    items = {UUID(bytes_le=table[32 + 32 * n : 48 + 32 * n]) for n in range(count)}
    return "it holds only what differs from another disk: merge it with that first" if VHDX_PARENT in items else ""


def _vmdk(source: Any, size: int) -> str:
    head = source.read(64)
    if head[:4] != b"KDMV":
        return "it is a description of other files, and no disk by itself: export it as one file (streamOptimized)"
    return "" if struct.unpack("<Q", head[12:20])[0] else "it has no size of its own and would be read as a description"


def _iso(source: Any, size: int) -> str:
    source.seek(32 << 10)
    volume = source.read(2048)
    if volume[1:6] != b"CD001" or volume[0] != 1:
        return "it is no ISO 9660 image: its first volume descriptor is missing"
    (blocks,), (length,) = struct.unpack("<L", volume[80:84]), struct.unpack("<H", volume[128:130])
    if blocks * length > size + SLACK:
        return f"it was cut off: it tells of {blocks * length} bytes and has {size}"
    return ""


CHECKS: dict[str, Callable[[Any, int], str]] = {
    "qcow2": _qcow2, "vhd": _vhd, "vhdx": _vhdx, "vmdk": _vmdk, "iso": _iso,
}  # fmt: skip
