"""kill -9 at random moments while clients work: nothing that was acknowledged is lost, nothing happens twice."""

from __future__ import annotations

import random
import threading
import time

import pytest
import requests

from mgmt_server.db import new_uuid
from tests.crash.test_moments import starts

CLIENTS = 8


class Tenant(threading.Thread):
    """Deploys, stops, starts and destroys machines of its own until told to stop, over every crash."""

    def __init__(self, cloud, network, number):
        super().__init__(daemon=True)
        self.cloud, self.network, self.number = cloud, network, number
        self.stopping = threading.Event()
        self.ended = {}  # job id -> its answer
        self.kept = {}  # machine id -> state at the end
        self.wrong = []

    def run(self):
        try:
            for turn in range(10_000):
                if self.stopping.is_set():
                    return
                self.life(f"t{self.number}-{turn}", turn)
        except Exception as error:  # a thread's failure is the test's
            self.wrong.append(repr(error))

    def life(self, name, turn):
        vm = self.do(lambda job, c: self.cloud.deploy(self.network, name, job, c))["virtualmachine"]["id"]
        self.kept[vm] = "Running"
        if turn % 3 == 0:
            return
        self.change("stopVirtualMachine", id=vm)
        self.kept[vm] = "Stopped"
        if turn % 3 == 1:
            self.change("destroyVirtualMachine", id=vm, expunge=True)
            del self.kept[vm]

    def change(self, command, **sent):
        return self.do(lambda job, c: self.cloud.ask(command, job, c, **sent))

    def do(self, ask):
        """Ask until it is known to be accepted, wait over crashes until it is over; what it answered."""
        job, client = new_uuid(), self.cloud.client()
        while True:
            try:
                known = client.ask("queryAsyncJobResult", jobid=job)
            except requests.ConnectionError:
                time.sleep(0.05)
                continue
            except RuntimeError as error:
                if "431" not in str(error):
                    raise
                ask(job, client)  # not accepted yet, or its server died first
                continue
            if known["jobstatus"]:
                self.ended[job] = known
                assert known["jobstatus"] == 1, known
                return known["jobresult"]
            time.sleep(0.03)


def storm(cloud, kills, seed):
    chance = random.Random(seed)
    network = cloud.network()
    cloud.settled(cloud.deploy(network, "first"))
    tenants = [Tenant(cloud, network, n) for n in range(CLIENTS)]
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
    assert not [t.wrong for t in tenants if t.wrong], [t.wrong for t in tenants if t.wrong]
    cloud.at_rest()
    answers = {job: known for t in tenants for job, known in t.ended.items()}
    client = cloud.client()
    for job, known in answers.items():
        assert client.ask("queryAsyncJobResult", jobid=job) == known, "an acknowledged end changed"
    found = client.ask("listVirtualMachines", listall=True, pagesize=500, page=1)["virtualmachine"]
    wanted = {vm: state for t in tenants for vm, state in t.kept.items()}
    assert {m["id"]: m["state"] for m in found if m["name"] != "first"} == wanted
    assert all(starts(vm) == 1 for vm in wanted)
    print(f"{kills} kills, {len(answers)} jobs, {len(wanted)} machines kept")
    assert len(answers) >= 2 * kills


def test_kill_9_at_random_under_clients(cloud):
    storm(cloud, 4, 1)


@pytest.mark.long
def test_kill_9_at_random_under_clients_for_long(cloud):
    storm(cloud, 60, 2)
