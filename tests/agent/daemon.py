"""What systemd does for libvirtd, where there is none: has it run again when it ended, and restarts it when told to."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

SYSTEMCTL = """#!/bin/sh
# `systemctl restart`: the daemon ends, its keeper has it run again
old=$(cat /run/libvirt/qemu/driver.pid)
kill "$old"
while kill -0 "$old" || [ "$(cat /run/libvirt/qemu/driver.pid)" = "$old" ]; do sleep 0.1; done 2>/dev/null
"""


def have_systemctl(folder: Path) -> None:
    """For whatever this process starts from now on."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(SYSTEMCTL)
    (tools / "systemctl").chmod(0o755)
    os.environ["PATH"] = f"{tools}:{os.environ['PATH']}"


class Daemon(threading.Thread):
    """Has libvirtd run again when it ended; `gate` lets it wait with that."""

    def __init__(self, begin: Callable[[], subprocess.Popen[bytes]], process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.begin, self.process, self.stopping = begin, process, False
        self.gate = threading.Event()
        self.gate.set()
        self.start()

    def run(self) -> None:
        while True:
            self.process.wait()
            self.gate.wait()
            if self.stopping:
                return
            self.process = self.begin()

    def end(self) -> None:
        self.stopping = True
        self.process.send_signal(signal.SIGTERM)
        self.join(20)
