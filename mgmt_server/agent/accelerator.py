"""Whether guests really run with KVM here: a device that is there proves nothing, a guest that ends does."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from mgmt_server.agent.config import Config

EMULATORS = ("/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", "/usr/bin/qemu-kvm")
DEADLINE = 5.0  # seconds; a guest that works needs a fraction of one
# an accelerator that takes this much longer than emulation is none: nested KVM that somebody above emulates
MARGIN = 1.0  # seconds
SAID = 0x2A
# mov dx, 0xf4; mov al, SAID; out dx, al; hlt -- isa-debug-exit ends QEMU with (SAID << 1) | 1
SECTOR = bytes([0xBA, 0xF4, 0x00, 0xB0, SAID, 0xEE, 0xF4]).ljust(510, b"\0") + b"\x55\xaa"


def emulator() -> str:
    """The QEMU of this host; the first known path where none is installed, so that libvirt's error names it."""
    return next((e for e in EMULATORS if Path(e).exists()), EMULATORS[0])


def choose(config: Config, boot_id: str) -> str:
    """kvm or qemu. What a probe finds is kept for as long as this boot lasts."""
    if config.accelerator != "auto":
        return config.accelerator
    note = config.run / "accelerator"
    try:
        known, boot = note.read_text().split()
        if boot == boot_id and known in ("kvm", "qemu"):
            return known
    except (OSError, ValueError):
        pass
    found = "kvm" if Path("/dev/kvm").exists() and kvm_helps() else "qemu"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{found} {boot_id}\n")
    return found


def kvm_helps() -> bool:
    """Whether a guest runs to its end with KVM, and no slower than by emulation."""
    with_kvm = seconds_of_a_guest("kvm")
    if with_kvm is None:
        return False
    emulated = seconds_of_a_guest("tcg")
    return emulated is None or with_kvm <= emulated + MARGIN


def seconds_of_a_guest(accelerator: str, deadline: float = DEADLINE) -> float | None:
    """How long a guest of one boot sector takes to its end; None when it does not come to one."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder, "boot")
        disk.write_bytes(SECTOR.ljust(1 << 16, b"\0"))
        argv = [emulator(), "-accel", accelerator, "-machine", "pc", "-m", "16", "-display", "none", "-nodefaults"]
        argv += ["-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
        argv += ["-drive", f"file={disk},format=raw,if=ide"]
        began = time.monotonic()
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=deadline, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
    return time.monotonic() - began if done.returncode == SAID << 1 | 1 else None
