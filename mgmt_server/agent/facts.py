"""What this host says of itself, and what it measures of itself."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mgmt_server.agent import firmware, shaping, version
from mgmt_server.agent.config import Config, address_of
from mgmt_server.agent.network import physical_bridges
from mgmt_server.agent.places import nfs_mode
from mgmt_server.protocol.machine import HostFacts, HostStatistics

MOST_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")  # kHz


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def gather(config: Config, accelerator: str, libvirt_info: tuple[str, Any]) -> HostFacts:
    """`libvirt_info`: the hypervisor's version, and what virNodeGetInfo says."""
    hypervisor_version, info = libvirt_info
    return HostFacts(
        name=config.name,
        address=config.address or own_address(config),
        hypervisor="KVM",
        hypervisor_version=hypervisor_version,
        cpus=info[2],
        sockets=max(1, info[4] * info[5]),
        speed=info[3] or cpu_speed(),
        memory=_memory()["MemTotal"],
        capabilities=",".join(("hvm", "snapshot", *firmware.able())),
        os=os_name(),
        accelerator=accelerator,
        bridges=tuple(physical_bridges()),
        local_pool_path=config.pool_path,
        nfs=nfs_mode(config),
        version=version(),
        clock=datetime.now(UTC).isoformat(),
        limits_nics=shaping.able(),
    )


def own_address(config: Config) -> str:
    """The address of this host on the way to its first server."""
    host, port = address_of(config.servers[0])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))  # no packet is sent
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def cpu_speed() -> int:
    """MHz: the most that its CPUs are made for where the kernel tells, for what they run at changes by the moment."""
    if MOST_FREQUENCY.exists():
        return int(MOST_FREQUENCY.read_text()) // 1000
    found = re.search(r"cpu MHz\s*:\s*([\d.]+)", Path("/proc/cpuinfo").read_text())
    return int(float(found[1])) if found else 1000


def os_name() -> str:
    try:
        found = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), re.M)
    except OSError:
        found = None
    return found[1] if found else os.uname().sysname


def _memory() -> dict[str, int]:
    """Bytes by name."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}


class Meter:
    """CPU use between one question and the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = _cpu_times()
        self._at, self._used = time.monotonic(), 0.0

    def read(self, pools: dict[str, tuple[int, int]]) -> HostStatistics:
        memory = _memory()
        received, sent = _network()
        return HostStatistics(
            cpu_used=self._cpu(),
            memory_used=memory["MemTotal"] - memory.get("MemAvailable", memory["MemFree"]),
            memory_total=memory["MemTotal"],
            load=os.getloadavg()[0],
            network_read=received // 1024,
            network_written=sent // 1024,
            pools=pools,
        )

    def _cpu(self) -> float:
        with self._lock:
            if time.monotonic() - self._at >= 1.0:
                busy, total = _cpu_times()
                before, self._last = self._last, (busy, total)
                self._at = time.monotonic()
                self._used = round(100.0 * (busy - before[0]) / max(1, total - before[1]), 2)
            return self._used


def _cpu_times() -> tuple[int, int]:
    """(busy, all) in ticks."""
    ticks = [int(t) for t in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _network() -> tuple[int, int]:
    """Bytes (received, sent) since boot, of what leaves the host: bridges and guests' taps would count them again."""
    received = sent = 0
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, figures = line.partition(":")
        name = name.strip()
        if name == "lo" or name.startswith(("vnet", "vxlan")) or Path(f"/sys/class/net/{name}/bridge").exists():
            continue
        if "." in name:
            continue
        values = figures.split()
        received, sent = received + int(values[0]), sent + int(values[8])
    return received, sent
