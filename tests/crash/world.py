"""A server process that dies on purpose, with a zone of simulated hosts, and a look into its database."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.db import new_uuid, reading
from mgmt_server.jobs.rows import JobRow
from tests.conftest import KEY
from tests.crash.invariants import broken
from tests.server import Client, Server
from tests.simulated import simulated_zone

ISOLATED = "DefaultIsolatedNetworkOfferingWithSourceNatService"
# how a server's death shows in a call: before its answer, or amid it
LOST = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
TAKE_OVER = 20.0  # seconds within which a job goes on after a crash


class World:
    """A server, its zone, and what was asked of it. Job ids are the test's own, so that an answer that was lost in a
    crash leaves no doubt which job is meant."""

    def __init__(self, folder: Path, memory: int, hosts: int = 2, database: str = "", **environment: str) -> None:
        """`environment` is for servers that die in other ways: see tests.crash.dying."""
        self.server = Server(folder / "cloud", database=database)
        if environment:
            self.server.module = "tests.crash.dying"
        self.server.data.mkdir()
        (self.server.data / "secret.key").write_text(base64.b64encode(KEY).decode() + "\n")
        self.server.start(**environment)
        db.connect(database or f"sqlite:///{self.server.data}/cloud.db")
        self.zone = db.write(lambda tx: simulated_zone(tx, hosts=hosts, memory=memory, cpu=640_000))
        client = self.client()
        self.offering = client.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
        self.network_offering = client.ask("listNetworkOfferings", name=ISOLATED)["networkoffering"][0]["id"]
        self.networks = 0
        self.lives = 1
        self._wait_for_system_vms()

    def _wait_for_system_vms(self) -> None:
        """The zone gets two by itself: from then on nothing works but what a test asks for."""
        client, end = self.client(), time.monotonic() + 30
        while sorted(v["state"] for v in client.ask("listSystemVms").get("systemvm", [])) != ["Running", "Running"]:
            assert time.monotonic() < end, "the zone's system VMs do not run"
            time.sleep(0.1)
        self.at_rest()

    def client(self) -> Client:
        return self.server.client()

    def live(self, dies_in: str | None = None, moment: int = 0) -> None:
        """Start anew; with `dies_in`, to end at that moment of that command's job ("" of any job)."""
        self.server.kill()
        self.lives += 1
        environment = {} if dies_in is None else {"CLOUDWRIGHT_DIE_IN": dies_in, "CLOUDWRIGHT_DIE_AT": str(moment)}
        self.server.start(**environment)

    def network(self) -> str:
        self.networks += 1
        made = self.client().ask(
            "createNetwork", name=f"n{self.networks}", zoneid=self.zone["zone"], gateway=f"10.{self.networks}.0.1",
            netmask="255.255.255.0", networkofferingid=self.network_offering,
        )  # fmt: skip
        return str(made["network"]["id"])

    def deploy(self, network: str, name: str, job: str | None = None, client: Client | None = None, **more: str) -> str:
        """Ask for a machine; the job's id."""
        return self.ask(
            "deployVirtualMachine", job, client, zoneid=self.zone["zone"], templateid=self.zone["template"],
            serviceofferingid=self.offering, networkids=network, name=name, **more,
        )  # fmt: skip

    def ask(self, command: str, job: str | None = None, client: Client | None = None, **sent: Any) -> str:
        """Start a job; a server that dies before it answers is none of the caller's business."""
        job = job or new_uuid()
        with contextlib.suppress(*LOST):
            (client or self.client()).ask(command, customjobid=job, **sent)
        return job

    def died(self, job: str, seconds: float = 20) -> bool:
        """Wait until the server has ended (True), or the job has (False)."""
        assert self.server.process is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert self.server.process.wait(0.02) == 9
                return True
            if state(job) in ("done", "failed"):
                # it may be about to die of the moment after the last write
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.server.process.wait(0.3)
                    return True
                return False
        raise AssertionError(f"job {job} neither ended nor did the server: {state(job)}")

    def settled(self, job: str) -> dict[str, Any]:
        """The final answer of a job; fails when it takes longer than a take-over may."""
        client, end = self.client(), time.monotonic() + TAKE_OVER
        while time.monotonic() < end:
            answer = client.ask("queryAsyncJobResult", jobid=job)
            if answer["jobstatus"]:
                return answer
            time.sleep(0.02)
        raise AssertionError(f"job {job} did not end within {TAKE_OVER:.0f} s of the start: {answer}")

    def at_rest(self, seconds: float = TAKE_OVER) -> None:
        """Wait until no job is left, then see that everything holds."""
        end = time.monotonic() + seconds
        while (told := broken()) and time.monotonic() < end:
            time.sleep(0.05)
        assert not told, told

    def machine(self, name: str) -> dict[str, Any] | None:
        found = self.client().ask("listVirtualMachines", listall=True, name=name).get("virtualmachine", [])
        return next((m for m in found if m["name"] == name), None)


def state(job: str) -> str | None:
    with reading() as session:
        return session.scalar(select(JobRow.state).where(JobRow.uuid == job))


@contextlib.contextmanager
def world(folder: Path, memory: int, hosts: int = 2, database: str = "", **environment: str) -> Iterator[World]:
    made = World(folder, memory, hosts, database, **environment)
    try:
        yield made
    finally:
        made.server.kill()
        db.disconnect()
