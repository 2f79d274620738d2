"""The real agent, which ends as by kill -9 at the boundary of a command that a test has written into a file, or kills
libvirtd there.

Usage: python dying_agent.py AGENT.TOML FILE; the file holds what a test wants, and is taken away first:
- COMMAND BOUNDARY, and the agent ends: told (nothing noted yet), begun (noted, nothing done), done (not noted),
  noted (not answered);
- libvirtd CALL MOMENT, and libvirtd is killed: before the agent's call of libvirt or of QEMU's monitor, amid (as soon
  as libvirt has written down that it is at something), after.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu

from mgmt_server.agent import work
from mgmt_server.agent.main import run
from mgmt_server.protocol.link import Answer, Request

FILE = Path(sys.argv[2])
PROCESS = Path("/run/libvirt/qemu/driver.pid")
CALLS = (
    "backupBegin checkpointCreateXML snapshotCreateXML jobInfo jobStats blockInfo blockResize create getXMLDesc"
    " listAllCheckpoints delete defineXML"
)


def boundary(name: str, request: Request) -> None:
    if FILE.exists() and FILE.read_text().split() == [request.type, name]:
        FILE.unlink()
        os._exit(9)


def journaled(self: work.Work, command: work.Command, request: Request) -> Answer:
    boundary("told", request)
    self.journal.begin(request.id, request.type)
    boundary("begun", request)
    answer = work._carry_out(command, request)
    boundary("done", request)
    if answer.code == "unavailable":
        self.journal.drop(request.id)
    else:
        self.journal.finish(answer)
    boundary("noted", request)
    return answer


def kill_libvirtd() -> None:
    FILE.unlink()
    os.kill(int(PROCESS.read_text()), signal.SIGKILL)


def kill_amid() -> None:
    """At the first machine of which libvirt writes that it is at something that takes time."""
    while not any(_busy(status) for status in PROCESS.parent.glob("*.xml")):
        pass
    kill_libvirtd()


def _busy(status: Path) -> bool:
    try:
        text = status.read_text()
    except OSError:
        return False
    return " async='" in text and " async='none'" not in text


def around(name: Callable[..., str], call: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any) -> Any:
        wanted = FILE.read_text().split() if FILE.exists() else []
        if wanted[:2] != ["libvirtd", name(*args)]:
            return call(*args)
        if wanted[2] == "amid":
            threading.Thread(target=kill_amid).start()
        if wanted[2] == "before":
            kill_libvirtd()
        value = call(*args)
        if wanted[2] == "after":
            kill_libvirtd()
        return value

    return called


def watch_calls() -> None:
    for each in CALLS.split():
        for kind in (libvirt.virConnect, libvirt.virDomain, libvirt.virDomainSnapshot, libvirt.virDomainCheckpoint):
            if hasattr(kind, each):
                setattr(kind, each, around(lambda *_, name=each: name, getattr(kind, each)))
    asked = libvirt_qemu.qemuMonitorCommand
    libvirt_qemu.qemuMonitorCommand = around(lambda domain, words, _: json.loads(words)["execute"], asked)


if __name__ == "__main__":
    work.Work._journaled = journaled  # type: ignore[method-assign]
    watch_calls()
    run(sys.argv[1])
