"""Disk images: those from outside are looked at before anything opens them for real, whole or in an archive."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgmt_server.agent.run import run
from mgmt_server.errors import Failed
from mgmt_server.protocol.content import contents

# as registered -> what the content may look like, and how QEMU calls it
FORMATS = {
    "QCOW2": (("qcow2",), "qcow2"),
    "RAW": (("raw", "gpt"), "raw"),
    "ISO": (("iso", "gpt"), "raw"),  # both are in those that start from disks too
    "VHD": (("vhd",), "vpc"),
    "VHDX": (("vhdx",), "vhdx"),
    "VMDK": (("vmdk",), "vmdk"),
    "OVA": (("vmdk",), "vmdk"),  # its first disk
}
AS_THEY_ARE = ("QCOW2", "RAW", "ISO")  # the others become qcow2
CONVERTING = 6 * 3600.0  # seconds


@dataclass(frozen=True)
class Inspected:
    format: str  # as QEMU calls it
    virtual_size: int  # bytes


def format_of(path: str) -> str:
    """What a file's content looks like; empty for nothing that is known."""
    from oslo_utils.imageutils import format_inspector

    try:
        found = format_inspector.detect_file_format(path)
    except format_inspector.ImageFormatError:
        return ""
    return str(found) if found is not None else ""


def inspect(path: str, registered: str) -> Inspected:
    """What the file is. Raises Failed when it is something else than registered, or refers to other files."""
    return information(path, looks_like(path, registered))


def looks_like(path: str, registered: str) -> str:
    """How QEMU calls what the file is, of which its beginning is enough. Raises Failed as `inspect` does."""
    from oslo_utils.imageutils import format_inspector

    if registered not in FORMATS:
        raise Failed(f"images of the format {registered} cannot be used on KVM: register {', '.join(FORMATS)}")
    expected, qemu = FORMATS[registered]
    try:
        found = contents(path)
        if not found.keys() <= set(expected) or not ("iso" in found if registered == "ISO" else len(found) == 1):
            told = "+".join(sorted(found)) or "unknown"
            raise Failed(f"the image was registered as {registered}, and its content is {told}")
        if qemu != "raw":
            found[expected[0]].safety_check()
    except format_inspector.SafetyCheckFailed as error:
        raise Failed(f"the image is refused: {'; '.join(str(e) for e in error.failures.values())}") from None
    except format_inspector.ImageFormatError as error:
        raise Failed(f"the image is refused: {error}") from None
    return qemu


def information(path: str, format: str) -> Inspected:
    """What qemu-img says, run with bounds. Raises Failed for an image that refers to other files."""
    answer = described(path, format)
    data_file = answer.get("format-specific", {}).get("data", {}).get("data-file")
    if answer.get("backing-filename") or data_file:
        raise Failed("the image is refused: it refers to another file (backing or data file)")
    return Inspected(format, int(answer["virtual-size"]))


def described(path: str, format: str = "qcow2") -> dict[str, Any]:
    """What qemu-img says of an image, also of one in use."""
    found: dict[str, Any] = json.loads(
        run(["qemu-img", "info", "--output=json", "-U", "-f", format, path], limited=True)
    )
    return found


def backing_of(path: str) -> str:
    """What a disk of ours stands on, as its header says; empty: on nothing."""
    found = described(path)
    return str(found.get("full-backing-filename") or found.get("backing-filename") or "")


def bitmaps(path: str) -> list[str]:
    """Names of the moments since which a disk's changes are followed."""
    data = described(path).get("format-specific", {}).get("data", {})
    return [b["name"] for b in data.get("bitmaps", ())]


def snapshots(path: str) -> dict[str, int]:
    """Snapshots within a disk: name -> bytes of memory kept with it."""
    return {s["name"]: int(s.get("vm-state-size", 0)) for s in described(path).get("snapshots", ())}


def forget_changes(path: str) -> None:
    """Follow no changes any more: what the bitmaps of a disk say is not true after what comes next."""
    for name in bitmaps(path):
        run(["qemu-img", "bitmap", "--remove", "-f", "qcow2", path, name])


def to_qcow2(path: str, found: Inspected, target: str) -> None:
    run(["qemu-img", "convert", "-q", "-f", found.format, "-O", "qcow2", path, target], CONVERTING)


def unpack_ova(archive: str, target: Path, limit: int) -> None:
    """The first disk of an appliance. Only its bytes are taken: no name, link or permission of the archive counts."""
    try:
        with tarfile.open(archive, "r:") as tar:
            while (member := tar.next()) is not None:
                if not member.isreg() or not member.name.lower().endswith(".vmdk"):
                    continue
                if member.size > limit:
                    raise Failed(f"the appliance's disk has {member.size} bytes, more than there is room for")
                source = tar.extractfile(member)
                if source is None:
                    continue
                with source, open(target, "wb") as file:
                    while chunk := source.read(1 << 20):
                        file.write(chunk)
                return
    except (tarfile.TarError, OSError) as error:
        raise Failed(f"the appliance cannot be read: {error}") from None
    raise Failed("the appliance has no disk: an OVA holds a .vmdk file")
