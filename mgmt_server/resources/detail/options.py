"""Details of machines that change them, and their values.

A test holds this against what the hosts' agent takes (agent/domain.py). An empty list: any text of the right form.
"""

from __future__ import annotations

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
    ],
    "cpu.corespersocket": ["1", "2", "4", "8"],
}
OPTIONS: dict[str, dict[str, list[str]]] = {"UserVm": OF_MACHINES}
