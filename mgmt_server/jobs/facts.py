"""What a node tells of itself with its heartbeat: the machine it runs on, and what it uses of it."""

from __future__ import annotations

import os
import platform
import threading
from pathlib import Path
from typing import Any

PROC = Path("/proc")
_before: tuple[int, int] = (0, 0)  # ticks of all CPUs, idle ones of them


def look() -> dict[str, Any]:
    """Figures of now. What this system does not tell is left out."""
    found: dict[str, Any] = {
        "os": _os(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processors": os.cpu_count() or 1,
        "threads": threading.active_count(),
        "daemons": sum(t.daemon for t in threading.enumerate()),
    }
    for read in (_memory, _process, _cycles, _cpu):
        try:
            found |= read()
        except (OSError, ValueError, IndexError, KeyError):
            continue
    return found


def _os() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _table(path: Path) -> dict[str, int]:
    """Lines `Name:  123 kB` in bytes."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {parts[0].rstrip(":"): int(parts[1]) * 1024 for parts in lines if len(parts) == 3 and parts[2] == "kB"}


def _memory() -> dict[str, Any]:
    table = _table(PROC / "meminfo")
    return {"memory_total": table["MemTotal"], "memory_free": table["MemAvailable"]}


def _process() -> dict[str, Any]:
    table = _table(PROC / "self" / "status")
    return {"resident": table["VmRSS"], "resident_most": table["VmHWM"], "virtual": table["VmSize"]}


def _cycles() -> dict[str, Any]:
    """Ticks of user, system and idle since the start, the share that was busy since the last look, loads, start."""
    global _before
    lines = (PROC / "stat").read_text().splitlines()
    ticks = [int(t) for t in lines[0].split()[1:]]
    there, idle = sum(ticks[:8]), ticks[3] + ticks[4]
    passed, rested = there - _before[0], idle - _before[1]
    _before = (there, idle)
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return {
        "cycles": [ticks[0], ticks[2], ticks[3]],
        "busy": round(100 * (passed - rested) / passed, 2) if passed > 0 else 0.0,
        "loads": [round(load, 2) for load in os.getloadavg()],
        "boot": boot,
    }


def _cpu() -> dict[str, Any]:
    lines = (PROC / "cpuinfo").read_text().splitlines()
    return {"mhz": round(sum(float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")), 2)}
