"""How figures are taken, and printed beside their goals."""

from __future__ import annotations

import os
from pathlib import Path

from tests.server import Server


def say(name: str, value: str, goal: str = "", peer: str = "") -> None:
    print(f"  {name:46} {value:>24}   {('goal ' + goal) if goal else '':22} {peer}", flush=True)


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def metric(server: Server, name: str) -> float:
    import requests

    text = requests.get(f"http://127.0.0.1:{server.port}/metrics", timeout=10).text
    line = next(line for line in text.splitlines() if line.startswith(name + " "))
    return float(line.split()[1])


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> float:
    """MiB resident."""
    line = next(text for text in Path(f"/proc/{pid}/status").read_text().splitlines() if text.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
