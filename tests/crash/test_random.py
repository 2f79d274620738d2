"""kill -9 at random moments while clients work: nothing that was acknowledged is lost, nothing happens twice.

At length the hosts are small: they fill up, and a machine that none can take is an answer like others.
"""

from __future__ import annotations

import random
import threading
import time

import pytest

from mgmt_server.db import new_uuid
from tests.crash.scene import starts
from tests.crash.world import LOST
from tests.simulated import GIB

CLIENTS = 8
FULL = "No host can take the machine"


class Tenant(threading.Thread):
    """Deploys, stops and destroys machines of its own until told to stop, over every crash; keeps `room` of them."""

    def __init__(self, cloud, network, number, room):
        super().__init__(daemon=True)
        self.cloud, self.network, self.number, self.room = cloud, network, number, room
        self.stopping = threading.Event()
        self.ended = {}  # job id -> its answer
        self.kept = {}  # machine id -> state at the end, oldest first
        self.refused = 0  # machines that no host could take
        self.wrong = []

    def run(self):
        try:
            for turn in range(10_000):
                if self.stopping.is_set():
                    return
                self.life(f"t{self.number}-{turn}", turn)
        except Exception as error:  # a thread's failure is the test's
            self.wrong.append(str(error))

    def life(self, name, turn):
        known = self.do("deployVirtualMachine", lambda job, c: self.cloud.deploy(self.network, name, job, c))
        vm, full = known["jobinstanceid"], known["jobstatus"] == 2
        self.kept[vm] = "Error" if full else "Running"
        if turn % 3 and not full:
            self.change("stopVirtualMachine", id=vm)
            self.kept[vm] = "Stopped"
        if full or turn % 3 == 1:
            self.refused += full
            self.destroy(next(iter(self.kept)))
        while len(self.kept) > self.room:
            self.destroy(next(iter(self.kept)))

    def destroy(self, vm):
        self.change("destroyVirtualMachine", id=vm, expunge=True)
        del self.kept[vm]

    def change(self, command, **sent):
        return self.do(command, lambda job, c: self.cloud.ask(command, job, c, **sent))

    def do(self, command, ask):
        """Ask until it is known to be accepted, wait over crashes until it is over; what it answered."""
        job, client = new_uuid(), self.cloud.client()
        while True:
            try:
                known = client.ask("queryAsyncJobResult", jobid=job)
            except LOST:
                time.sleep(0.05)
                continue
            except RuntimeError as error:
                if "431" not in str(error):
                    raise
                ask(job, client)  # not accepted yet, or its server died first
                continue
            if known["jobstatus"]:
                self.ended[job] = known
                told = known["jobresult"].get("errortext", "") if known["jobstatus"] == 2 else ""
                if told and not (command == "deployVirtualMachine" and told.startswith(FULL)):
                    raise AssertionError(f"{command} {job} of t{self.number} failed: {told}")
                return known
            time.sleep(0.03)


def storm(cloud, kills, seed, room):
    chance = random.Random(seed)
    network = cloud.network()
    cloud.settled(cloud.deploy(network, "first"))
    tenants = [Tenant(cloud, network, n, room) for n in range(CLIENTS)]
    for tenant in tenants:
        tenant.start()
    for _ in range(kills):
        time.sleep(chance.uniform(0.2, 1.5))
        cloud.live()
    for tenant in tenants:
        tenant.stopping.set()
    for tenant in tenants:
        tenant.join(60)
    assert not [t for t in tenants if t.is_alive()], "a client's job did not end"
    assert not [t.wrong for t in tenants if t.wrong], "\n".join(told for t in tenants for told in t.wrong)
    cloud.at_rest()
    answers = {job: known for t in tenants for job, known in t.ended.items()}
    client = cloud.client()
    for job, known in answers.items():
        assert client.ask("queryAsyncJobResult", jobid=job) == known, "an acknowledged end changed"
    found = client.ask("listVirtualMachines", listall=True, pagesize=500, page=1)["virtualmachine"]
    wanted = {vm: state for t in tenants for vm, state in t.kept.items()}
    assert {m["id"]: m["state"] for m in found if m["name"] != "first"} == wanted
    assert {vm: starts(vm) or 0 for vm in wanted} == {vm: int(state != "Error") for vm, state in wanted.items()}
    refused = sum(t.refused for t in tenants)
    print(f"{kills} kills, {len(answers)} jobs, {refused} refused, {len(wanted)} machines kept")
    assert len(answers) >= 2 * kills
    return refused


def test_kill_9_at_random_under_clients(cloud):
    assert not storm(cloud, 4, 1, room=6)


@pytest.mark.long
@pytest.mark.parametrize("cloud", [10 * GIB], indirect=True)
def test_kill_9_at_random_under_clients_for_long(cloud):
    assert storm(cloud, 60, 2, room=12), "the hosts never were full"
