"""Images from outside, looked at before anything opens them: format, size, and whether they name other files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oslo_utils.imageutils import format_inspector

from mgmt_server.errors import Failed

# as registered -> what the content may be
FORMATS = {
    "QCOW2": ("qcow2",),
    "RAW": ("raw", "gpt"),
    "ISO": ("iso", "gpt"),
    "VHD": ("vhd",),
    "VHDX": ("vhdx",),
    "VMDK": ("vmdk",),
}


@dataclass(frozen=True)
class Inspected:
    format: str  # as the content says: qcow2, raw, iso ...
    virtual_size: int  # bytes
    physical_size: int


def inspect(file: Path, registered: str, largest: int = 2 << 40) -> Inspected:
    """Raises Failed when the image is something else than `registered`, refers to other files, cannot be read, or
    would be larger than `largest` bytes."""
    allowed = FORMATS.get(registered.upper())
    if allowed is None:
        raise Failed(f"images of the format {registered} are not known: {', '.join(FORMATS)} are")
    size = file.stat().st_size
    if not size:
        raise Failed("the image is empty")
    try:
        found = format_inspector.detect_file_format(str(file))
        kind = str(found) if found is not None else "unknown"
        if found is None or kind not in allowed:
            raise Failed(f"the image was registered as {registered}, and its content is {kind}: register it as that")
        if kind not in ("raw", "gpt", "iso"):
            found.safety_check()
        virtual = size if kind in ("raw", "gpt", "iso") else int(found.virtual_size)
    except format_inspector.SafetyCheckFailed as error:
        why = "; ".join(str(e) for e in error.failures.values())
        raise Failed(f"the image is refused, since it could make a host read other files: {why}") from None
    except (format_inspector.ImageFormatError, ValueError, OSError) as error:
        raise Failed(f"the image cannot be read: {error}") from None
    if not 0 < virtual <= largest:
        raise Failed(f"the image would be a disk of {virtual} bytes: at most {largest} are allowed")
    return Inspected(kind, virtual, size)
