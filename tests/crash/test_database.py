"""kill -9 of the database at step boundaries: the server goes on by itself, each job ends once, callers are told.

Whoever kept the database running starts it again a moment later, as systemd does.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from mgmt_server import db
from mgmt_server.db import new_uuid
from tests import mariadb
from tests.crash.invariants import broken
from tests.crash.scene import COMMANDS, Images, Scene, failed, second_pool
from tests.crash.world import TAKE_OVER, World
from tests.simulated import GIB

pytestmark = pytest.mark.mariadb
AWAY = "534: the database"  # with what each call's error begins meanwhile
KINDS = ("revert", "snapshot", "resize", "keep", "evacuate", "copy", "move", "reinstall", "make", "migrate")


class Keeper(threading.Thread):
    """Starts the database again when it died."""

    def __init__(self, database: mariadb.Database) -> None:
        super().__init__(daemon=True)
        self.database, self.deaths, self.stopping = database, 0, threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(0.02):
            if self.database.process.poll() is not None:
                self.deaths += 1
                self.stopping.wait(0.3)  # how long it is away at least; nothing is waited for
                self.database.start()


class Caller(threading.Thread):
    """Asks something harmless again and again."""

    def __init__(self, cloud) -> None:
        super().__init__(daemon=True)
        self.client, self.stopping = cloud.client(), threading.Event()
        self.answered, self.told, self.wrong = 0, 0, []

    def run(self) -> None:
        while not self.stopping.wait(0.05):
            try:
                self.client.ask("listZones")
                self.answered += 1
            except Exception as error:
                self.told += 1
                if not str(error).startswith(AWAY):
                    self.wrong.append(str(error))


class Mortal:
    """A cloud on a database that dies when told to."""

    def __init__(self, folder: Path, database: mariadb.Database) -> None:
        self.database, self.file = database, folder / "told.json"
        self.cloud = World(folder, 256 * GIB, 4, database.url, CLOUDWRIGHT_TOLD=str(self.file))
        self.keeper = Keeper(database)
        self.keeper.start()

    def every(self, moments: int, *commands: str) -> None:
        """The database dies at each so-manieth moment of these commands' jobs; 0: no more."""
        words = {"every": moments, "of": commands, "pid_file": str(self.database.folder / "pid")}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(words))
        new.replace(self.file)

    def answer(self, command: str, **sent):
        """What the server answers once it can."""
        client, end = self.cloud.client(), time.monotonic() + 2 * TAKE_OVER
        while True:
            try:
                return client.ask(command, **sent)
            except RuntimeError as error:
                assert str(error).startswith(AWAY) and time.monotonic() < end, error
                time.sleep(0.1)

    def ask(self, command: str, **sent) -> str:
        """Start a job, however often the database dies meanwhile: whether it was accepted, its id says."""
        job = new_uuid()
        while True:
            try:
                self.cloud.client().ask(command, customjobid=job, **sent)
                return job
            except RuntimeError as error:
                assert str(error).startswith(AWAY), error
            try:
                self.answer("queryAsyncJobResult", jobid=job)
                return job
            except AssertionError as unknown:
                assert "431" in str(unknown), unknown  # it was not accepted

    def settled(self, job: str, seconds: float):
        end = time.monotonic() + seconds
        while not (answer := self.answer("queryAsyncJobResult", jobid=job))["jobstatus"]:
            assert time.monotonic() < end, f"job {job} did not end: {answer}"
            time.sleep(0.05)
        return answer

    def at_rest(self) -> None:
        """The test's own links are as old as those of the server."""
        end = time.monotonic() + TAKE_OVER
        while time.monotonic() < end:
            try:
                if not broken():
                    return
            except SQLAlchemyError:
                continue
        assert not broken()

    def end(self) -> None:
        self.keeper.stopping.set()
        self.keeper.join(30)
        self.cloud.server.kill()


@pytest.fixture
def mortal(loaded, tmp_path):
    with mariadb.running() as database:
        made = Mortal(tmp_path, database)
        try:
            yield made
        finally:
            made.end()
            db.disconnect()


def traces(cloud):
    lines = (cloud.server.data / "cloudwright.log").read_text().splitlines()
    return [json.loads(line) for line in lines if '"trace"' in line]


def test_the_database_dies_again_and_again_while_everything_is_under_way(mortal):
    cloud = mortal.cloud
    *hosts, last = cloud.zone["hosts"].split(",")
    network = cloud.network()
    scenes = {
        kind: Scene(cloud, kind, network, hostid=last if kind == "evacuate" else hosts[n % len(hosts)])
        for n, kind in enumerate(KINDS)
    }
    second_pool(cloud)
    cloud.images = Images(cloud, cloud.server.data.parent)
    work = {kind: getattr(scene, kind)() for kind, scene in scenes.items()}
    caller = Caller(cloud)
    caller.start()
    mortal.every(37)
    jobs = {kind: mortal.ask(command, **sent) for kind, (command, sent, _) in work.items()}
    ends = {kind: mortal.settled(job, 150) for kind, job in jobs.items()}
    mortal.every(0)
    caller.stopping.set()
    caller.join(20)
    print(f"{mortal.keeper.deaths} deaths, {caller.answered} calls answered, {caller.told} told of it")
    assert not caller.wrong, caller.wrong[:3]
    assert mortal.keeper.deaths >= 3 and caller.told
    assert not failed(ends)
    mortal.at_rest()
    assert {kind: mortal.settled(job, 5) for kind, job in jobs.items()} == ends
    assert not traces(cloud), traces(cloud)[:2]
    for _, _, after in work.values():
        after()
    mortal.at_rest()


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("every", [3, 4])
def test_the_database_dies_at_each_boundary_of_each_step(mortal, every):
    """At every third moment it dies before each step of a flow, at every fourth after each call of the outside."""
    cloud = mortal.cloud
    scene, died = Scene(cloud), {}
    for kind in COMMANDS:
        command, sent, after = getattr(scene, kind)()
        before = mortal.keeper.deaths
        mortal.every(every, command)
        job = mortal.ask(command, **sent)
        end = mortal.settled(job, 300)
        mortal.every(0)
        assert end["jobstatus"] == 1, (kind, end)
        mortal.at_rest()
        assert mortal.settled(job, 5) == end
        after()
        died[kind] = mortal.keeper.deaths - before
    print(f"deaths {died}")
    assert min(died.values()) >= 1
