"""Disk images that came from outside: looked at before anything opens them for real."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mgmt_server.agent.run import run
from mgmt_server.errors import Failed

# as registered -> what the content may look like, and how QEMU calls it
FORMATS = {"QCOW2": (("qcow2",), "qcow2"), "RAW": (("raw", "gpt"), "raw"), "ISO": (("iso", "gpt", "raw"), "raw")}


@dataclass(frozen=True)
class Inspected:
    format: str  # qcow2, raw
    virtual_size: int  # bytes


def inspect(path: str, registered: str) -> Inspected:
    """What the file is. Raises Failed when it is something else than registered, or refers to other files."""
    from oslo_utils.imageutils import format_inspector

    if registered not in FORMATS:
        raise Failed(f"images of the format {registered} cannot be used on KVM: register QCOW2, RAW or ISO")
    expected, qemu = FORMATS[registered]
    try:
        found = format_inspector.detect_file_format(path)
        if found is None or str(found) not in expected:
            raise Failed(f"the image was registered as {registered}, and its content is {found or 'unknown'}")
        if qemu == "qcow2":
            found.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        raise Failed(f"the image is refused: {'; '.join(str(e) for e in error.failures.values())}") from None
    except format_inspector.ImageFormatError as error:
        raise Failed(f"the image is refused: {error}") from None
    return information(path, qemu)


def information(path: str, format: str) -> Inspected:
    """What qemu-img says, run with bounds. Raises Failed for an image that refers to other files."""
    answer = json.loads(run(["qemu-img", "info", "--output=json", "-U", "-f", format, path], limited=True))
    data_file = answer.get("format-specific", {}).get("data", {}).get("data-file")
    if answer.get("backing-filename") or data_file:
        raise Failed("the image is refused: it refers to another file (backing or data file)")
    return Inspected(format, int(answer["virtual-size"]))
