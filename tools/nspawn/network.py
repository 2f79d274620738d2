"""The network namespace of a run: bridges inside it, nothing of it outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import zlib
from pathlib import Path

from nspawn.processes import run

MANAGEMENT = "br0"


def namespace(state: Path) -> str:
    """A name that is the same for every call with this state folder."""
    return f"cw{zlib.crc32(str(state).encode()):08x}"


def exists(netns: str) -> bool:
    return Path("/run/netns", netns).exists()


def enter(netns: str) -> list[str]:
    # not `ip netns exec`: that remounts /sys, and systemd-nspawn then loses the cgroup tree
    return ["nsenter", f"--net=/run/netns/{netns}"]


def up(netns: str, bridges: dict[str, str]) -> bool:
    """Make the namespace and its bridges, given as name -> the namespace's own addresses on it, with commas between."""
    changed = not exists(netns)
    if changed:
        run("ip", "netns", "add", netns)
        run("ip", "-n", netns, "link", "set", "lo", "up")
        # bridged frames must not meet the rules of this machine, and guests may be routed between the bridges
        for key, value in (("net.bridge.bridge-nf-call-iptables", 0), ("net.ipv4.ip_forward", 1)):
            subprocess.run([*enter(netns), "sysctl", "-qw", f"{key}={value}"], stderr=subprocess.DEVNULL)
    for name, addresses in bridges.items():
        if subprocess.run(["ip", "-n", netns, "link", "show", name], capture_output=True).returncode == 0:
            continue
        run("ip", "-n", netns, "link", "add", name, "address", own_mac(name), "type", "bridge", "forward_delay", "0")
        for address in addresses.split(","):
            run("ip", "-n", netns, "addr", "add", address, "dev", name)
        run("ip", "-n", netns, "link", "set", name, "up")
        changed = True
    return changed


def own_mac(name: str) -> str:
    # given, because a bridge without one takes that of a port, and changes it as ports come and go
    return "02:00:" + ":".join(f"{byte:02x}" for byte in zlib.crc32(name.encode()).to_bytes(4, "big"))


def attach(netns: str, link: str, bridge: str) -> bool:
    done = subprocess.run(["ip", "-n", netns, "link", "set", link, "master", bridge, "up"], capture_output=True)
    return done.returncode == 0


def remove(netns: str, *links: str) -> None:
    """Links that may not be there."""
    for link in links:
        subprocess.run(["ip", "-n", netns, "link", "del", link], capture_output=True)


def pids(netns: str) -> list[int]:
    return [int(pid) for pid in run("ip", "netns", "pids", netns, capture_output=True).stdout.split()]


def kill_connections(netns: str, address: str) -> None:
    """End the `nc` under each SSH master to an address.

    A master that outlived its machine would be found again by the next connection to the address, and hang.
    """
    for pid in pids(netns):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == [b"nc", address.encode()]:
                os.kill(pid, signal.SIGKILL)


def down(netns: str) -> None:
    if not exists(netns):
        return
    for pid in pids(netns):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run("ip", "netns", "del", netns)
