"""What breaks amid the move of a guest from host to host: the agent at each boundary, libvirtd on either side.

A test of test_guests.py, run by two_hosts.py.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from conftest import eventually
from two_hosts import Cloud, Guest, Host, said

from mgmt_server.errors import ApiError


def breaks(cloud: Cloud) -> None:
    """At one boundary."""
    _agent_dies(cloud, _guest(cloud), "begun")


def breaks_often(cloud: Cloud) -> None:
    """At each, and libvirtd too."""
    guest = _guest(cloud)
    for boundary in ("begun", "done", "told", "noted"):
        _agent_dies(cloud, guest, boundary)
    for killed in ("target", "source", "target", "source"):
        _libvirtd_dies(cloud, guest, killed)


def _guest(cloud: Cloud) -> Guest:
    """One that runs on exactly one host in the end, was never started anew, and has what is on its disk."""
    one, _ = cloud.hosts
    guest = cloud.guest("i-2-8-VM", one)
    guest.ready()
    data = cloud.blank("data", one)
    cloud.kvm.attach_disk(uuid4(), one.ref, guest.machine.name, data)
    guest.machine = replace(guest.machine, disks=(guest.machine.disks[0], data))
    guest.sees(lambda s: guest.disk("data"))
    guest.write("vdb", "alpha")
    return guest


def _other(cloud: Cloud, guest: Guest) -> Host:
    return next(h for h in cloud.hosts if h is not guest.host)


def _running(host: Host, guest: Guest) -> bool:
    return guest.machine.name in host.virsh("list", "--state-running", "--name").split()


def _asked(cloud: Cloud, guest: Guest, target: Host) -> tuple[threading.Thread, list[Any]]:
    """A move in a thread of its own, and what it comes to."""
    outcome: list[Any] = []

    def go() -> None:
        try:
            outcome.append(cloud.kvm.migrate(uuid4(), guest.host.ref, target.ref, guest.machine, ()))
        except ApiError as error:
            outcome.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    return thread, outcome


def _sound(guest: Guest) -> None:
    assert guest.sees(lambda s: s["boots"]) == 1
    assert guest.read("vdb") == "alpha"


def _agent_dies(cloud: Cloud, guest: Guest, boundary: str) -> None:
    """The agent of the host that it leaves ends at the boundary; the next one finds out how the move ended."""
    source, target = guest.host, _other(cloud, guest)
    file = source.folder / "boundary"
    source.agent.kill()
    source.agent.wait()
    file.write_text(f"migrate {boundary}")
    script = Path(__file__).with_name("dying_agent.py")
    argv = source.argv(sys.executable, str(script), str(source.folder / "agent.toml"), str(file))
    source.agent = subprocess.Popen(argv, stderr=(source.folder / "agent.log").open("ab"))
    thread, outcome = _asked(cloud, guest, target)
    assert source.agent.wait(120) == 9 and not file.exists(), boundary
    source.agent = source._agent()
    thread.join(180)
    assert outcome and outcome[0].state == "Running", outcome
    assert _running(target, guest) and not _running(source, guest)
    guest.host = target
    _sound(guest)
    print(f"moved although the agent died: {boundary}", flush=True)


def _libvirtd_dies(cloud: Cloud, guest: Guest, killed: str) -> None:
    """libvirtd of one side is killed amid the move: the guest runs on one side then, and moves afterwards."""
    source, target = guest.host, _other(cloud, guest)
    source.virsh("migrate-setspeed", guest.machine.name, "5")
    thread, outcome = _asked(cloud, guest, target)
    eventually(lambda: "Unbounded" in source.virsh("domjobinfo", guest.machine.name), 90)
    host = target if killed == "target" else source
    host.libvirtd.process.kill()
    thread.join(180)
    assert outcome, "the move neither ended nor failed"

    def one_runs() -> bool:
        return _quietly(lambda: _running(source, guest) != _running(target, guest))

    eventually(one_runs, 90)
    guest.host = target if _running(target, guest) else source
    print(f"libvirtd of the {killed} was killed: {outcome[0]}; it runs on {guest.host.name}", flush=True)
    _sound(guest)
    there = _other(cloud, guest)
    began = time.monotonic()
    eventually(lambda: _quietly(lambda: guest.machine.name not in there.virsh("list", "--name").split()), 90)
    said("nothing of it is left on the other side", began)
    guest.host.virsh("migrate-setspeed", guest.machine.name, "1000")
    thread, outcome = _asked(cloud, guest, there)
    thread.join(180)
    assert outcome and not isinstance(outcome[0], ApiError), outcome
    assert _running(there, guest) and not _running(guest.host, guest)
    guest.host = there
    _sound(guest)


def _quietly(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except (ApiError, AssertionError, RuntimeError, subprocess.CalledProcessError):
        return False  # libvirtd is coming
