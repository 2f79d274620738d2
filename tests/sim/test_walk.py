"""A random walk of all operations by many clients over many hosts, with faults on; then everything is recounted.

Clients do whatever their machines and disks allow; an operator takes hosts into maintenance and back; hosts are slow,
fail now and then, and get lost. What is refused is refused in words, what is accepted ends once, and when the faults
are off and all has ended, nothing is left over, promised twice or stuck (tests/crash/invariants.py).
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter

import pytest

from tests.crash.scene import second_pool
from tests.sim.tenant import OPERATIONS, Tenant

CLIENTS = 6
FAULTS = (
    ("start", "fail:no, says the host"), ("stop", "fail:no, says the host"), ("migrate", "fail:not today"),
    ("create_disk", "fail:no disk"), ("attach_disk", "fail:no slot"), ("detach_disk", "fail:the guest holds it"),
    ("resize_disk", "fail:no room"), ("save_disk", "fail:the store is full"), ("load_disk", "fail:it cannot be read"),
    ("snapshot", "fail:no room"), ("start", "wait:0.3"), ("*", "wait:0.05"), ("start", "fail:late|late:true"),
    ("attach_nic", "fail:no bridge"), ("scale", "fail:no memory"), ("migrate", "fail:late|late:true"),
)  # fmt: skip


class Operator(threading.Thread):
    """Switches faults on and off, and takes one host after the other into maintenance and back."""

    def __init__(self, cloud, seed):
        super().__init__(daemon=True)
        self.cloud, self.client, self.chance = cloud, cloud.client(), random.Random(seed)
        self.stopping = threading.Event()
        self.hosts = cloud.zone["hosts"].split(",")
        self.evacuated = self.refused = 0
        self.wrong = []

    def run(self):
        while not self.stopping.wait(0.3):
            try:
                self.turn()
            except RuntimeError as error:
                self.refused += 1
                if "internal error" in str(error).lower():
                    self.wrong.append(str(error))

    def turn(self):
        what = self.chance.random()
        if what < 0.5:
            name, value = self.chance.choice(FAULTS)
            host = {"hostid": self.chance.choice(self.hosts)} if self.chance.random() < 0.5 else {}
            self.client.ask("configureSimulator", name=name, value=value, count=self.chance.randint(1, 3), **host)
        elif what < 0.75:
            self.client.ask("cleanupSimulatorMock")
        else:
            self.maintain(self.chance.choice(self.hosts))

    def maintain(self, host):
        try:
            self.client.job("prepareHostForMaintenance", id=host)
            self.evacuated += 1
        finally:
            self.client.job("cancelHostMaintenance", id=host)

    def tidy(self):
        self.client.ask("cleanupSimulatorMock")
        for host in self.client.ask("listHosts", type="Routing", zoneid=self.cloud.zone["zone"])["host"]:
            if host["resourcestate"] != "Enabled":
                self.client.job("cancelHostMaintenance", id=host["id"])


def walk(cloud, seconds, seed):
    client = cloud.client()
    networks = [cloud.network() for _ in range(2)]
    for number, network in enumerate(networks):  # implemented before the faults begin
        assert cloud.settled(cloud.deploy(network, f"first{number}"))["jobstatus"] == 1
    cloud.offerings = [o["id"] for o in client.ask("listServiceOfferings")["serviceoffering"]]
    disks = client.ask("listDiskOfferings")["diskoffering"]
    cloud.disks = [d["id"] for d in disks if not d["iscustomized"]]
    cloud.disk_offering = cloud.disks[0]
    cloud.pools = [cloud.zone["pool"], second_pool(cloud)]
    cloud.os_type = client.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    cloud.domain = client.ask("listDomains", name="ROOT")["domain"][0]["id"]
    person = {"firstname": "a", "lastname": "b", "email": "a@example.org", "password": "Wq7-long-enough"}
    client.ask("createAccount", username="walker", accounttype=0, **person)
    tenants = [Tenant(cloud, n, networks, seed) for n in range(CLIENTS)]
    operator = Operator(cloud, seed)
    for thread in (*tenants, operator):
        thread.start()
    time.sleep(seconds)  # how long the walk is; nothing is waited for
    for thread in (*tenants, operator):
        thread.stopping.set()
    for thread in (*tenants, operator):
        thread.join(120)
    assert not [t for t in tenants if t.is_alive()], "a client's job did not end"
    operator.tidy()
    for tenant in tenants:
        for machine in list(tenant.let_go):
            assert tenant.take_back(machine) is not None, machine["name"]
    cloud.at_rest(60)
    lost = [told for t in tenants for told in t.lost()]
    assert not lost, lost
    for job, known in {job: known for t in tenants for job, known in t.jobs.items()}.items():
        assert client.ask("queryAsyncJobResult", jobid=job) == known, "an ended job answers the same for good"
    wrong = [w for t in (*tenants, operator) for w in t.wrong]
    assert not wrong, "\n".join([*wrong[:20], *sorted(errors_of(cloud))[:5]])
    done = sum((t.done for t in tenants), Counter())
    failed, refused = sum((t.failed for t in tenants), Counter()), sum((t.refused for t in tenants), Counter())
    print(f"{sum(done.values())} done, {sum(failed.values())} failed, {sum(refused.values())} refused, "
          f"{operator.evacuated} evacuations\ndone {done}\nfailed {failed}\nrefused {refused}")  # fmt: skip
    return done, failed


def errors_of(cloud):
    """The ends of the traces in the server's log."""
    lines = (cloud.server.data / "cloudwright.log").read_text().splitlines()
    traces = [json.loads(line)["trace"] for line in lines if '"trace"' in line]
    return {trace[-600:] for trace in traces if "mgmt_server.errors." not in trace[-400:]}


def test_a_random_walk_with_faults_leaves_a_sound_cloud(cloud):
    done, failed = walk(cloud, 25, 1)
    assert sum(done.values()) > 100 and sum(failed.values()) > 0, "the walk proved little"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [2, 3])
def test_a_long_random_walk(cloud, seed):
    done, _ = walk(cloud, 300, seed)
    assert set(done) == set(OPERATIONS), f"never done: {set(OPERATIONS) - set(done)}"
