"""Machines that libvirt remembers only half: it died between taking a start on and having QEMU's process.

The next libvirt reads of such a machine that it is being started, by a process of number 0. It looks for no such
process, and holds the machine's job for good: it cannot be ended, asked or started. Only a libvirt that does not read
of it lets it go. No QEMU is lost by that: libvirt writes the number down before QEMU may begin.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mgmt_server.agent.run import run
from mgmt_server.errors import Failed, Unavailable

log = logging.getLogger(__name__)

RUN = Path("/run/libvirt/qemu")
DAEMONS = ("libvirtd", "virtqemud")
RESTART = 60.0  # seconds


def left_behind(domain: Any, where: Path = RUN) -> bool:
    """Whether an earlier libvirt wrote of this machine's start, and did not live to see its process."""
    status = where / f"{domain.name()}.xml"
    try:
        earlier = status.stat().st_mtime_ns < (where / "driver.pid").stat().st_mtime_ns
        return earlier and ElementTree.parse(status).getroot().get("pid") == "0"  # noqa: S314  libvirt's own
    except (OSError, ElementTree.ParseError):
        return False  # not QEMU's driver, or it has just been written anew


def let_go(names: list[str], where: Path = RUN) -> None:
    """Have libvirt start anew without what it remembers of these machines. Those that run are not touched by that."""
    daemon = _daemon(where)
    log.warning("%s died while it started %s: it is started anew without that", daemon, ", ".join(names))
    aside = [((where / f"{n}.xml"), (where / f"{n}.left")) for n in names]
    for status, kept in aside:
        status.rename(kept)
    try:
        run(["systemctl", "restart", daemon], RESTART)
    except Failed as error:
        for status, kept in aside:
            kept.rename(status)
        files = " ".join(str(status) for status, _ in aside)
        raise Unavailable(
            f"libvirt died while it started {', '.join(names)}, and holds it since. {error}. Remove {files} and "
            f"restart {daemon} on this host: machines that run go on"
        ) from None
    for _, kept in aside:
        kept.unlink(missing_ok=True)


def _daemon(where: Path) -> str:
    try:
        name = Path(f"/proc/{int((where / 'driver.pid').read_text())}/comm").read_text().strip()
    except (OSError, ValueError):
        name = ""
    return name if name in DAEMONS else DAEMONS[0]
