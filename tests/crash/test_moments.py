"""kill -9 at every moment of a job: it ends once, as if nothing had been, and everything still adds up.

Each life of the server first finishes what the life before left, and then dies at the next moment of another command:
so one start serves as the end of one case and the beginning of the next.
"""

from __future__ import annotations

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.jobs.rows import JobRow, StepRow
from tests.crash.scene import starts

every_second_and_all = pytest.mark.parametrize(
    "step", [2, pytest.param(1, marks=(pytest.mark.long, pytest.mark.timeout(7200)))]
)
MOST = 60  # moments that no job has: a sweep that gets there counts nothing


class Sweep:
    """One machine at a time, deployed, stopped, destroyed; the server dies once in each, a moment later each round."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.network = cloud.network()
        cloud.settled(cloud.deploy(self.network, "first"))  # implements the network
        self.name, self.number = "", 0
        self.job, self.kind = None, ""  # what the last life left
        self.moments = {}

    def settle(self):
        """See the job of the last life through, and what it should have brought about."""
        if self.job is None:
            return
        done = self.cloud.settled(self.job)
        assert done["jobstatus"] == 1, (self.kind, done)
        self.cloud.at_rest()
        machine = self.cloud.machine(self.name)
        wanted = {"deployVirtualMachine": "Running", "stopVirtualMachine": "Stopped"}.get(self.kind)
        assert (machine and machine["state"]) == wanted, (self.kind, machine)
        assert machine is None or starts(machine["id"]) == 1, "the host was really asked twice"
        assert self.cloud.settled(self.job) == done, "an ended job answers the same for good"
        self.job = None

    def ask(self, kind):
        if kind == "deployVirtualMachine":
            self.number += 1
            self.name = f"m{self.number}"
            return self.cloud.deploy(self.network, self.name)
        more = {"expunge": True} if kind == "destroyVirtualMachine" else {}
        return self.cloud.ask(kind, id=self.cloud.machine(self.name)["id"], **more)

    def ready_for(self, kind):
        """Bring the machine where `kind` can be asked of it."""
        machine = self.cloud.machine(self.name)
        if kind != "deployVirtualMachine" and machine is None:
            self.cloud.settled(self.ask("deployVirtualMachine"))
        elif kind == "deployVirtualMachine" and machine is not None:
            self.cloud.settled(self.ask("destroyVirtualMachine"))

    def round(self, kind, moment):
        """A life that dies at this moment of `kind`. False when the job has no such moment."""
        if self.job is not None and self.kind == kind:  # the moments of what is left would count as well
            self.cloud.live()
            self.settle()
        self.cloud.live(kind, moment)
        self.settle()
        self.ready_for(kind)
        self.job, self.kind = self.ask(kind), kind
        return self.cloud.died(self.job)


@every_second_and_all
def test_a_server_that_dies_at_any_moment_of_deploy_stop_and_destroy(cloud, step):
    sweep = Sweep(cloud)
    left = {"deployVirtualMachine": 0, "stopVirtualMachine": 0, "destroyVirtualMachine": 0}
    counted = {}
    for moment in range(1, MOST, step):
        for kind in list(left):
            if not sweep.round(kind, moment):
                counted[kind] = moment - step  # the last at which it died
                del left[kind]
        if not left:
            break
    cloud.live()
    sweep.settle()
    print(f"moments {counted}, {cloud.lives} lives")
    assert not left and counted["deployVirtualMachine"] >= 9 - step and counted["stopVirtualMachine"] >= 8 - step
    assert counted["destroyVirtualMachine"] >= 17 - step


@every_second_and_all
def test_a_server_that_dies_while_the_first_machine_implements_its_network(cloud, step):
    """The moments of the jobs that a deploy waits for: the network's, and its router's start."""
    first = 3  # two are the deploy's own, around the note that it waits
    for moment in range(first, MOST, step):
        network = cloud.network()
        cloud.live("", moment)
        job = cloud.deploy(network, f"m{moment}")
        assert cloud.died(job)
        ended = children_over(job)
        cloud.live()
        done = cloud.settled(job)
        assert done["jobstatus"] == 1, (moment, done)
        cloud.at_rest()
        machine = done["jobresult"]["virtualmachine"]
        assert machine["state"] == "Running" and machine["nic"][0]["networkid"] == network
        (router,) = cloud.client().ask("listRouters", listall=True, networkid=network)["router"]
        assert router["state"] == "Running" and starts(router["id"]) == starts(machine["id"]) == 1
        if ended:
            break
    print(f"moments {first} to {moment}, {cloud.lives} lives")
    assert first + 12 < moment < MOST - 1


def children_over(job):
    """Whether the deploy had gone on after its wait when the server died: its own moments are swept elsewhere."""
    with reading() as session:
        parent = session.scalar(select(JobRow.id).where(JobRow.uuid == job))
        return session.scalar(select(StepRow.id).where(StepRow.job_id == parent, StepRow.position == 1)) is not None
