"""A worker that was taken for dead and wakes up again: it must change nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, select, text, update

from mgmt_server import db
from mgmt_server.db import Base, now, reading, write
from mgmt_server.drivers.hypervisor.simulator import Simulator
from mgmt_server.jobs.flow import Fenced, load
from mgmt_server.jobs.queue import LEASE, claim, join_cluster, recover
from mgmt_server.jobs.rows import JobRow, Node
from mgmt_server.jobs.worker import run_next
from tests.cloud import Cloud
from tests.crash.invariants import broken
from tests.server import Server
from tests.simulated import build

MOVES = ("node", "timer")  # rows that change by themselves


def everything():
    """All rows of all tables that only move when somebody works."""
    with reading() as session:
        return {
            t.name: sorted(map(repr, session.execute(t.select())))
            for t in Base.metadata.sorted_tables
            if t.name not in MOVES
        }


@pytest.fixture
def waiting(database):
    """A cloud whose network is implemented, with a deploy in the queue: cloud, job id."""
    cloud = Cloud()
    zone = build()
    offering = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": offering}
    cloud.job("deployVirtualMachine", **sent)
    return cloud, cloud.ask("deployVirtualMachine", **sent)["jobid"]


def let_the_lease_run_out(node):
    write(lambda tx: tx.execute(update(Node).where(Node.id == node.id).values(heartbeat=now() - LEASE - timedelta(1))))


def test_a_worker_that_pauses_in_a_call_past_its_lease_changes_nothing(waiting, monkeypatch):
    cloud, job = waiting
    asleep, awake = threading.Event(), threading.Event()
    real, outcome = Simulator.start, []

    def slow(self, *args):
        if threading.current_thread().name == "slow":
            asleep.set()
            assert awake.wait(30)
        return real(self, *args)

    def work():
        row = write(claim, cloud.node)
        try:
            load(row).run()
        except BaseException as error:
            outcome.append(error)

    monkeypatch.setattr(Simulator, "start", slow)
    thread = threading.Thread(target=work, name="slow")
    thread.start()
    assert asleep.wait(30)
    let_the_lease_run_out(cloud.node)
    other = join_cluster("other")
    assert recover() == 1
    while run_next(other):
        pass
    done = cloud.ask("queryAsyncJobResult", jobid=job)
    assert done["jobstatus"] == 1 and not broken()
    before = everything()
    awake.set()
    thread.join(30)
    assert len(outcome) == 1 and isinstance(outcome[0], Fenced)
    assert everything() == before and not broken()
    assert cloud.ask("queryAsyncJobResult", jobid=job) == done


def test_a_claim_that_was_recovered_cannot_even_begin(waiting):
    cloud, job = waiting
    row = write(claim, cloud.node)
    let_the_lease_run_out(cloud.node)
    other = join_cluster("other")
    recover()
    before = everything()
    with pytest.raises(Fenced):
        load(row).run()
    assert everything() == before
    while run_next(other):
        pass
    assert cloud.ask("queryAsyncJobResult", jobid=job)["jobstatus"] == 1 and not broken()


def test_a_node_within_its_lease_is_left_alone(waiting):
    cloud, _ = waiting
    row = write(claim, cloud.node)
    join_cluster("other")
    assert recover() == 0
    load(row).run()
    assert not broken()


def test_two_nodes_never_hold_one_job(waiting):
    """Many claims at once, of few jobs: each is given once."""
    cloud, _ = waiting
    nodes = [join_cluster(f"n{n}") for n in range(4)]
    held, lock = [], threading.Lock()

    def work(node):
        row = write(claim, node)
        if row is not None:
            with lock:
                held.append(row.id)

    threads = [threading.Thread(target=work, args=(n,)) for n in nodes * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1


def test_a_server_stopped_in_the_middle_and_overtaken_by_another_process(cloud):
    """SIGSTOP a server while a host works for it, start another on the same database, let the first go on."""
    network = cloud.network()
    cloud.settled(cloud.deploy(network, "first"))
    client = cloud.client()
    client.ask("configureSimulator", name="start", value="wait:2", count=1)
    job = cloud.deploy(network, "second")
    _wait(lambda: _steps(job) >= 2, "the deploy did not get to its host")
    first = cloud.server.process
    _freeze(first.pid, cloud.server.data)
    other = Server(cloud.server.data)
    try:
        other.start()
        cloud.server = other
        done = cloud.settled(job)
        assert done["jobstatus"] == 1
        cloud.at_rest()
        before = everything()
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(30) is not None  # another process has its name: it ends by itself
        assert everything() == before
        cloud.at_rest()
        assert cloud.settled(job) == done
    finally:
        if first.poll() is None:
            first.kill()
            first.wait()
        other.stop()


def _steps(job):
    from mgmt_server.jobs.rows import StepRow

    with reading() as session:
        mine = select(StepRow.id).join(JobRow, JobRow.id == StepRow.job_id).where(JobRow.uuid == job)
        return len(list(session.scalars(mine)))


def _wait(what, told, seconds=10.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, told
        time.sleep(0.02)


def _freeze(pid, data):
    """Stop the process, not while it holds SQLite's one write lock: nobody could overtake it then."""
    probe = create_engine(f"sqlite:///{data}/cloud.db", connect_args={"timeout": 0.2})
    for _ in range(20):
        os.kill(pid, signal.SIGSTOP)
        try:
            with probe.connect() as connection:
                connection.execute(text("BEGIN IMMEDIATE"))
            probe.dispose()
            return
        except db.DBAPIError:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.05)
    raise AssertionError("the process holds the write lock for good")
