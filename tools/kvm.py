"""KVM for the lab's hosts, where a guest of this machine really runs with it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# a node of its own in each host: one that is bound from here would change here when a role sets its mode
NODE = "test -e /dev/kvm || mknod -m 660 /dev/kvm c 10 232; getent group kvm >/dev/null && chgrp kvm /dev/kvm; true"


@dataclass(frozen=True)
class _Probe:
    """What the agent's probe reads of its configuration. Its finding is kept for this boot."""

    accelerator: str = "auto"
    run: Path = Path("/run/cloudwright")


def works() -> bool:
    """Whether a guest runs here with KVM, and no slower than by emulation."""
    if not Path("/dev/kvm").exists():
        return False
    sys.path.insert(0, str(ROOT))
    from mgmt_server.agent.accelerator import choose

    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return choose(_Probe(), boot) == "kvm"


def offer(logins: list[list[str]]) -> None:
    """Make the device in each host; `logins` are the commands that run one there."""
    for login in logins:
        subprocess.run([*login, NODE], check=True, stdin=subprocess.DEVNULL)
