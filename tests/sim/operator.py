"""The operator of a random walk: faults, and what is done to the hosts and pools under the clients' machines."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

FAULTS = (
    ("start", "fail:no, says the host"), ("stop", "fail:no, says the host"), ("migrate", "fail:not today"),
    ("create_disk", "fail:no disk"), ("attach_disk", "fail:no slot"), ("detach_disk", "fail:the guest holds it"),
    ("resize_disk", "fail:no room"), ("save_disk", "fail:the store is full"), ("load_disk", "fail:it cannot be read"),
    ("snapshot", "fail:no room"), ("start", "wait:0.3"), ("*", "wait:0.05"), ("start", "fail:late|late:true"),
    ("attach_nic", "fail:no bridge"), ("scale", "fail:no memory"), ("migrate", "fail:late|late:true"),
    ("start", "fail:each third|skip:2"), ("*", "fail:one of many|skip:7"), ("copy_disk", "fail:later|skip:1|late:true"),
    ("start", "lost:true"), ("migrate", "lost:true"), ("create_disk", "lost:true|skip:1"),
)  # fmt: skip
BMC = {"address": "192.0.2.7", "port": "623", "username": "root", "password": "x", "driver": "simulator"}
OPERATIONS = {"fault": 10, "clean": 5, "evacuate": 3, "empty_pool": 1, "lose_host": 2, "cut_power": 1}
AWAY = 2.0  # seconds for which a host does not answer: long before its guests may start elsewhere


class Operator(threading.Thread):
    """One thing after the other, each at random: everything that it takes away it gives back."""

    def __init__(self, cloud, seed):
        super().__init__(daemon=True)
        self.cloud, self.client, self.chance = cloud, cloud.client(), random.Random(seed)
        self.stopping = threading.Event()
        self.hosts = cloud.zone["hosts"].split(",")
        self.done, self.refused, self.wrong = Counter(), Counter(), []
        for host in self.hosts:
            self.client.ask("configureOutOfBandManagement", hostid=host, **BMC)
            self.client.job("enableOutOfBandManagementForHost", hostid=host)

    def run(self):
        kinds, weights = zip(*OPERATIONS.items(), strict=True)
        while not self.stopping.wait(0.3):
            kind = self.chance.choices(kinds, weights)[0]
            try:
                getattr(self, f"do_{kind}")(self.chance.choice(self.hosts))
                self.done[kind] += 1
            except RuntimeError as error:
                self.refused[kind] += 1
                if "internal error" in str(error).lower():
                    self.wrong.append(str(error))
            except Exception as error:
                self.wrong.append(f"{kind}: {error!r}")
                return

    def do_fault(self, host):
        name, value = self.chance.choice(FAULTS)
        where = {"hostid": host} if self.chance.random() < 0.5 else {}
        self.client.ask("configureSimulator", name=name, value=value, count=self.chance.randint(1, 3), **where)

    def do_clean(self, host):
        self.client.ask("cleanupSimulatorMock")

    def do_evacuate(self, host):
        try:
            self.client.job("prepareHostForMaintenance", id=host)
        finally:
            self.client.job("cancelHostMaintenance", id=host)

    def do_empty_pool(self, host):
        pool = self.chance.choice(self.cloud.pools)
        try:
            self.client.job("enableStorageMaintenance", id=pool)
        finally:
            self.client.job("cancelStorageMaintenance", id=pool)

    def do_lose_host(self, host):
        """It does not answer for a while, and its machines run on."""
        fault = self.client.ask("configureSimulator", name="*", value="lost:true", hostid=host)["mock"]["id"]
        self.stopping.wait(AWAY)
        self.client.ask("cleanupSimulatorMock", id=fault)
        self.up(host)

    def do_cut_power(self, host):
        """It goes dark with all that it runs, which starts elsewhere where its offering asks for it."""
        self.client.job("issueOutOfBandManagementPowerAction", hostid=host, action="OFF")
        wanted = {"hostid": host, "state": "Running", "listall": True}
        end = time.monotonic() + 60
        while self.client.ask("listVirtualMachines", **wanted).get("virtualmachine"):
            assert time.monotonic() < end, "the guests of a host without power still run there"
            time.sleep(0.1)
        self.client.job("issueOutOfBandManagementPowerAction", hostid=host, action="ON")
        self.up(host)

    def up(self, host):
        """Wait until it is back."""
        end = time.monotonic() + 60
        while (state := self.client.ask("listHosts", id=host)["host"][0]["state"]) != "Up":
            assert time.monotonic() < end, f"the host is back, and stays {state}"
            time.sleep(0.1)

    def tidy(self):
        """All faults are over, everything is in use again."""
        self.client.ask("cleanupSimulatorMock")
        zone = {"zoneid": self.cloud.zone["zone"]}
        for host in self.client.ask("listHosts", type="Routing", **zone)["host"]:
            self.up(host["id"])
            if host["resourcestate"] != "Enabled":
                self.client.job("cancelHostMaintenance", id=host["id"])
        for pool in self.client.ask("listStoragePools", **zone)["storagepool"]:
            if pool["state"] != "Up":
                self.client.job("cancelStorageMaintenance", id=pool["id"])
