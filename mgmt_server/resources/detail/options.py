"""Details of machines that change them, and their values.

A test holds this against what the hosts' agent takes (agent/domain.py). An empty list: any text of the right form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mgmt_server.errors import InvalidValue

CONTROLLERS = ["virtio", "scsi", "ide", "sata"]
OF_MACHINES: dict[str, list[str]] = {
    "rootDiskController": CONTROLLERS,
    "dataDiskController": CONTROLLERS,
    "nicAdapter": ["virtio", "e1000", "rtl8139"],
    "video.hardware": ["vga", "cirrus", "virtio", "qxl"],
    "video.ram": [],
    "keyboard": [
        "de",
        "de-ch",
        "en-us",
        "es",
        "es-latam",
        "fi",
        "fr",
        "fr-be",
        "fr-ch",
        "is",
        "it",
        "jp",
        "nl-be",
        "no",
        "pt",
        "uk",
        "us",
    ],  # fmt: skip
    "cpu.corespersocket": ["1", "2", "4", "8"],
    "nic.multiqueue.number": [],
    "nic.packed.virtqueues.enabled": ["true", "false"],
    "iothreads": ["true", "false"],
    "io.policy": ["native", "threads", "io_uring", "storage_specific"],
}
OPTIONS: dict[str, dict[str, list[str]]] = {"UserVm": OF_MACHINES}
FORMS = {  # of values that cannot be counted up
    "video.ram": (re.compile(r"[1-9]\d{3,5}"), "KiB, 1000 to 999999"),
    "cpu.corespersocket": (re.compile(r"[1-9]\d{0,2}"), "1 to 999"),
}


def check(details: Mapping[str, str]) -> None:
    """Raises InvalidValue for a value that a host would not follow."""
    for name in OF_MACHINES.keys() & details.keys():
        value = str(details[name])
        form, takes = FORMS.get(name, (None, ", ".join(OF_MACHINES[name])))
        fits = form.fullmatch(value) if form is not None else not takes or value in OF_MACHINES[name]
        if not fits:
            raise InvalidValue(f"{name}={value[:50]} cannot be: it takes {takes}")
