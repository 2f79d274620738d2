"""The lab of `make cloud`, once for all tests here. CLOUDWRIGHT_E2E_LAB=NAME uses one that is there, and leaves it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.server import Client

ROOT = Path(__file__).parents[2]


class Lab:
    """Hosts, networks, API and the first guest of a lab."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.environment = os.environ | {"CLOUDWRIGHT_LAB": name}
        self.folder = ROOT / ".lab" / name

    def tool(self, *arguments: str, seconds: float = 120, check: bool = True) -> str:
        """Run tools/lab.py: what it printed."""
        done = subprocess.run(
            ["/usr/bin/python3", "tools/lab.py", *arguments], cwd=ROOT, env=self.environment, timeout=seconds,
            capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
        return done.stdout

    def on(self, host: str, command: str, *, seconds: float = 120, check: bool = True) -> str:
        return self.tool("ssh", host, command, seconds=seconds, check=check)

    def inside(self, *command: str, seconds: float = 30, check: bool = False) -> str:
        """A command on the lab's networks."""
        return self.tool("exec", "--", *command, seconds=seconds, check=check)

    def cloud(self, verb: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/usr/bin/python3", "tools/cloud.py", verb], cwd=ROOT, env=self.environment, timeout=1800,
            capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    def play(self, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [".venv/bin/ansible-playbook", "-i", "inventories/lab", f"playbooks/{playbook}", *options], cwd=ROOT,
            env=self.environment | {"ANSIBLE_NOCOLOR": "1"}, timeout=1200, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    @property
    def client(self) -> Client:
        facts = json.loads((self.folder / "facts.json").read_text())
        found = json.loads((self.folder / "credentials.json").read_text())
        return Client(facts["url"], found["api_key"], found["api_secret"])

    def guest(self, name: str = "first") -> dict[str, Any]:
        (found,) = [v for v in self.client.ask("listVirtualMachines")["virtualmachine"] if v["name"] == name]
        return found

    def page(self, address: str, path: str = "/") -> str:
        return self.inside("curl", "-s", "--max-time", "4", f"http://{address}{path}")

    def login(self, address: str, command: str, *, key: str = "", password: str = "") -> str:
        """What a command prints inside a guest, or nothing where it does not let the key or the password in."""
        options = [f"-o{o}" for o in ("ConnectTimeout=8", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")]
        environment: list[str] = []
        if password:
            ask = self.folder / "ask"  # ssh reads passwords from a program where there is no terminal
            ask.write_text('#!/bin/sh\necho "$WORD"\n')
            ask.chmod(0o700)
            environment = ["env", f"SSH_ASKPASS={ask}", "SSH_ASKPASS_REQUIRE=force", f"WORD={password}"]
            options += ["-oPubkeyAuthentication=no", "-oNumberOfPasswordPrompts=1"]
        else:
            options += ["-oBatchMode=yes", "-oIdentitiesOnly=yes", "-i", key or str(self.folder / "guest_key")]
        return self.inside(*environment, "ssh", "-q", *options, f"root@{address}", command)


def wait(what: Callable[[], Any], seconds: float = 120, pause: float = 1) -> Any:
    """Wait until `what` gives something. Fails with what it gave last."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            last = what()
        except (RuntimeError, OSError, ValueError) as error:
            last = None
            told = error
        else:
            told = None
        if last:
            return last
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {told or last}")


@pytest.fixture(scope="session")
def lab():
    existing = os.environ.get("CLOUDWRIGHT_E2E_LAB")
    found = Lab(existing or "e2e")
    try:
        made = found.cloud("up")
        assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-1000:]
        found.said = made.stdout
        yield found
    finally:
        if not existing:
            gone = found.cloud("down")
            assert gone.returncode == 0, gone.stdout + gone.stderr


@pytest.fixture(scope="session")
def client(lab):
    return lab.client


@pytest.fixture(scope="module")
def second_zone(lab, client):
    """A zone with secondary storage alone, as images and snapshots are copied to. Taken away at the end: fixtures whose
    copies go there stand on this one, so that they are gone by then."""
    folder = f"/srv/export/secondary/second-{uuid4().hex}"  # the NFS server remembers a folder that went from below it
    lab.on("store", f"install -d -o nobody -g nogroup {folder}")
    zone = client.ask(
        "createZone", name="second", networktype="Advanced", dns1="10.92.0.1", internaldns1="10.91.0.1",
        allocationstate="Enabled",
    )["zone"]["id"]  # fmt: skip
    try:
        store = client.ask("addImageStore", provider="NFS", url=f"nfs://10.91.0.13{folder}", zoneid=zone, name="second")
        yield zone
        client.ask("deleteImageStore", id=store["imagestore"]["id"])
    finally:
        client.ask("deleteZone", id=zone)
        lab.on("store", f"rm -r {folder}")
