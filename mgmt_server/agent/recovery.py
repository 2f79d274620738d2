"""Machines that libvirt remembers only half: it died amid what it did with them.

Between taking a start on and having QEMU's process: the next libvirt reads of such a machine that it is being started,
by a process of number 0. It looks for no such process, and holds the machine's job for good: it cannot be ended, asked
or started. Only a libvirt that does not read of it lets it go. No QEMU is lost by that: libvirt writes the number down
before QEMU may begin.

Between taking a backup of a disk on and writing down of what: the next libvirt waits for the end of a backup that it
knows nothing of. The machine runs on, and can neither be saved nor moved for good. Only a libvirt that reads of no
backup lets it go.
"""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mgmt_server.agent.run import run
from mgmt_server.errors import Failed, Unavailable

log = logging.getLogger(__name__)

RUN = Path("/run/libvirt/qemu")
DAEMONS = ("libvirtd", "virtqemud")
RESTART = 60.0  # seconds


BACKUP = re.compile(r"(<job type='\w+' async=')backup(')")
BEGINNING = 1.0  # seconds in which libvirt that lives has written down of what it begins a backup


def left_behind(domain: Any, where: Path = RUN) -> bool:
    """Whether an earlier libvirt wrote of this machine's start, and did not live to see its process."""
    status = where / f"{domain.name()}.xml"
    try:
        earlier = status.stat().st_mtime_ns < (where / "driver.pid").stat().st_mtime_ns
        return earlier and ElementTree.parse(status).getroot().get("pid") == "0"  # noqa: S314  libvirt's own
    except (OSError, ElementTree.ParseError):
        return False  # not QEMU's driver, or it has just been written anew


def half_saved(domain: Any, where: Path = RUN, again: float = BEGINNING) -> bool:
    """Whether an earlier libvirt wrote that it saves a disk of this machine, and did not live to write which."""
    status = where / f"{domain.name()}.xml"
    if not _saves_nothing(status):
        return False
    time.sleep(again)
    return _saves_nothing(status)


def _saves_nothing(status: Path) -> bool:
    try:
        root = ElementTree.parse(status).getroot()  # noqa: S314  libvirt's own
    except (OSError, ElementTree.ParseError):
        return False
    return root.find("job[@async='backup']") is not None and root.find(".//domainbackup") is None


def end_saving(name: str, where: Path = RUN) -> None:
    """Have libvirt start anew without a backup that it knows nothing of. Machines that run are not touched by that."""
    daemon, status = _daemon(where), where / f"{name}.xml"
    log.warning("%s died while it began to save a disk of %s: it is started anew without that", daemon, name)
    try:
        aside = status.with_suffix(".left")
        aside.write_text(BACKUP.sub(r"\1none\2", status.read_text()))
        aside.chmod(0o600)
        aside.rename(status)
        run(["systemctl", "restart", daemon], RESTART)
    except (OSError, Failed) as error:
        raise Unavailable(
            f"libvirt died while it began to save a disk of {name}, and waits for that since. {error}. Write"
            f" async='none' for async='backup' into {status} and restart {daemon} at once on this host: machines that"
            " run go on"
        ) from None


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
