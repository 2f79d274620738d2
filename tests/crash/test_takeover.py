"""Two nodes on one MariaDB. The first dies or is paused amid one job of every kind; the second ends them all."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from mgmt_server.db import reading
from mgmt_server.jobs.rows import Node
from tests import mariadb
from tests.crash.dying import Told
from tests.crash.invariants import broken
from tests.crash.scene import Images, Scene, failed, second_pool, starts
from tests.crash.test_overtaken import everything
from tests.crash.world import TAKE_OVER, World
from tests.server import Server
from tests.simulated import GIB

pytestmark = pytest.mark.mariadb
KINDS = ("revert", "snapshot", "resize", "keep", "evacuate", "copy", "move", "reinstall", "make", "migrate")
BUSY = ("timer", "node", "host", "capacity_sample")  # rows that each node's timers write now and then


class Pair:
    """A first server, with all that is to be done in it, and a second one that idles until the first is gone."""

    def __init__(self, folder: Path, url: str) -> None:
        self.files = {name: folder / f"{name}.json" for name in ("first", "second")}
        self.cloud = World(folder, 256 * GIB, 4, url, **self.environment("first"))
        self.first = self.cloud.server
        self.tell("second", idle=True)
        self.second = Server(self.cloud.server.data, database=url)
        self.second.module = Told.__module__
        self.second.start(**self.environment("second"))

    def environment(self, name: str) -> dict[str, str]:
        return {"CLOUDWRIGHT_NODE": name, "CLOUDWRIGHT_TOLD": str(self.files[name])}

    def tell(self, name: str, **words) -> None:
        new = self.files[name].with_suffix(".new")
        new.write_text(json.dumps(words))
        new.replace(self.files[name])

    def scenes(self) -> dict[str, Scene]:
        """A machine for each kind of job; those that leave their host are on the last one, alone."""
        *hosts, last = self.cloud.zone["hosts"].split(",")
        network = self.cloud.network()
        found = {}
        for number, kind in enumerate(KINDS):
            host = last if kind == "evacuate" else hosts[number % len(hosts)]
            found[kind] = Scene(self.cloud, kind, network, hostid=host)
        return found

    def end(self) -> None:
        self.first.kill()  # SIGKILL ends one that is stopped, too
        self.second.kill()


@pytest.fixture
def pair(loaded, tmp_path):
    from mgmt_server import db

    with mariadb.running() as database:
        made = Pair(tmp_path, database.url)
        try:
            yield made
        finally:
            made.end()
            db.disconnect()


def gone(process, signal_sent: str) -> bool:
    """Whether it is dead, or stopped."""
    if signal_sent == "SIGKILL":
        return process.poll() is not None
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def wait_for(what, told: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, told
        time.sleep(0.01)


MOMENTS = [("SIGKILL", 3), ("SIGSTOP", 4)]
OTHERS = [("SIGSTOP", 1), ("SIGKILL", 2), ("SIGSTOP", 3), ("SIGKILL", 4)]


@pytest.mark.parametrize(
    ("then", "moment"), [*MOMENTS, *(pytest.param(*other, marks=pytest.mark.long) for other in OTHERS)]
)
def test_a_second_node_ends_every_job_that_the_first_was_at(pair, then, moment):
    cloud, scenes = pair.cloud, pair.scenes()
    second_pool(cloud)
    cloud.images = Images(cloud, cloud.server.data.parent)
    work = {kind: getattr(scene, kind)() for kind, scene in scenes.items()}
    work["deploy"] = deploy(cloud)
    pair.tell("first", holds={command: moment for command, _, _ in work.values()}, then=then)
    jobs = {kind: cloud.ask(command, **sent) for kind, (command, sent, _) in work.items()}
    first = cloud.server
    wait_for(lambda: gone(first.process, then), "not every job got to its moment")
    began, cloud.server = time.monotonic(), pair.second
    assert set(at(cloud, jobs).values()) == {("first", 0)}, "nothing has ended, and nobody else was at it"
    pair.tell("second")
    took = {}
    ends = {}
    while len(took) < len(jobs):
        assert time.monotonic() < began + 6 * TAKE_OVER, (jobs.keys() - took.keys(), broken())
        for kind in jobs.keys() - took.keys():
            ends[kind] = cloud.client().ask("queryAsyncJobResult", jobid=jobs[kind])
            if ends[kind]["jobstatus"]:
                took[kind] = time.monotonic() - began
        time.sleep(0.05)
    # told, not judged: how long it takes is the machine's too
    print(f"{then} at moment {moment}: taken over and ended after", {k: f"{s:.1f} s" for k, s in took.items()})
    assert not failed(ends)
    assert set(at(cloud, jobs).values()) == {("second", 1)}
    cloud.at_rest()
    if then == "SIGSTOP":
        awakened_changes_nothing(pair, first)
    for kind, end in ends.items():
        assert cloud.settled(jobs[kind]) == end, "an ended job answers the same for good"
    for _, _, after in work.values():
        after()
    cloud.at_rest()


def at(cloud, jobs):
    """For each kind the node that works on the job, or worked on it last, and its status."""
    told = {kind: cloud.client().ask("queryAsyncJobResult", jobid=job) for kind, job in jobs.items()}
    return {kind: (row.get("managementservername"), row["jobstatus"]) for kind, row in told.items()}


def deploy(cloud):
    sent = {"zoneid": cloud.zone["zone"], "templateid": cloud.zone["template"], "serviceofferingid": cloud.offering}
    network = cloud.machine("migrate")["nic"][0]["networkid"]

    def after():
        made = cloud.machine("new")
        assert made["state"] == "Running" and starts(made["id"]) == 1

    return "deployVirtualMachine", {**sent, "name": "new", "networkids": network}, after


def awakened_changes_nothing(pair, first):
    """All its threads go on where they stopped: each is fenced, and the node lives on without a job."""

    def beats():
        with reading() as session:
            return {n.name: n.heartbeat for n in session.query(Node)}["first"]

    pair.tell("second", idle=True)
    before, heard = everything(), beats()
    os.kill(first.pid, signal.SIGCONT)
    wait_for(lambda: beats() > heard, "the awakened node does not beat")
    wait_for(lambda: idle(first), "the awakened node is still at its jobs")
    after = everything()
    changed = {name for name in before if before[name] != after[name]} - set(BUSY)
    assert not changed, {n: set(after[n]) ^ set(before[n]) for n in changed}
    pair.cloud.at_rest()
    pair.tell("second")


def idle(server):
    import requests

    told = requests.get(server.url.replace("/client/api", "/metrics"), timeout=10).text
    return "cloudwright_jobs_running 0.0" in told
