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

CLIENTS = 6
OPERATIONS = {  # how often each is tried
    "deploy": 6, "stop": 3, "start": 4, "reboot": 2, "migrate": 3, "destroy": 3, "scale": 2, "add_nic": 1,
    "remove_nic": 1, "volume": 4, "attach": 4, "detach": 3, "resize": 2, "delete_volume": 2, "snapshot": 3,
    "revert": 1, "delete_snapshot": 2, "from_snapshot": 1, "vm_snapshot": 2, "revert_vm_snapshot": 1,
    "delete_vm_snapshot": 2, "restore": 1,
}  # fmt: skip
FAULTS = (
    ("start", "fail:no, says the host"), ("stop", "fail:no, says the host"), ("migrate", "fail:not today"),
    ("create_disk", "fail:no disk"), ("attach_disk", "fail:no slot"), ("detach_disk", "fail:the guest holds it"),
    ("resize_disk", "fail:no room"), ("save_disk", "fail:the store is full"), ("load_disk", "fail:it cannot be read"),
    ("snapshot", "fail:no room"), ("start", "wait:0.3"), ("*", "wait:0.05"), ("start", "fail:late|late:true"),
    ("attach_nic", "fail:no bridge"), ("scale", "fail:no memory"), ("migrate", "fail:late|late:true"),
)  # fmt: skip


class Tenant(threading.Thread):
    """Does one thing after another with machines and disks of its own, each at random."""

    def __init__(self, cloud, number, networks, seed):
        super().__init__(daemon=True)
        self.cloud, self.number, self.networks = cloud, number, networks
        self.chance = random.Random(seed * 1000 + number)
        self.stopping = threading.Event()
        self.client = cloud.client()
        self.done, self.refused, self.failed, self.wrong = Counter(), Counter(), Counter(), []
        self.jobs = {}
        self.names = 0

    def run(self):
        kinds, weights = zip(*OPERATIONS.items(), strict=True)
        while not self.stopping.is_set():
            kind = self.chance.choices(kinds, weights)[0]
            try:
                if getattr(self, f"do_{kind}")() is not None:
                    self.done[kind] += 1
            except RuntimeError as error:
                self.tell(kind, str(error))
            except Exception as error:
                self.wrong.append(f"{kind}: {error!r}")
                return

    def tell(self, kind, text):
        """An error of the server: fine where it says why."""
        if "internal error" in text.lower() or "Traceback" in text:
            self.wrong.append(f"{kind}: {text}")
        self.refused[kind] += 1

    def ask(self, command, **sent):
        """Ask, and wait for the job if it has one; None when the job failed."""
        answer = self.client.ask(command, **sent)
        if "jobid" not in answer:
            return answer
        job = answer["jobid"]
        end = time.monotonic() + 90
        while not (known := self.client.ask("queryAsyncJobResult", jobid=job))["jobstatus"]:
            if time.monotonic() > end:
                raise AssertionError(f"{command} {job} does not end")
            time.sleep(0.02)
        self.jobs[job] = known
        if known["jobstatus"] == 2:
            told = known["jobresult"].get("errortext", "")
            if not told or "internal error" in told.lower():
                self.wrong.append(f"{command}: {known['jobresult']}")
            self.failed[command] += 1
            return None
        return known["jobresult"]

    # --- what there is ----------------------------------------------------------------------------------------------

    def machines(self, *states):
        found = self.client.ask("listVirtualMachines", listall=True, keyword=f"w{self.number}-")
        return [m for m in found.get("virtualmachine", []) if not states or m["state"] in states]

    def machine(self, *states):
        found = self.machines(*states)
        return self.chance.choice(found) if found else None

    def disk(self, attached):
        found = self.client.ask("listVolumes", listall=True, keyword=f"w{self.number}-", type="DATADISK")
        found = [v for v in found.get("volume", []) if ("virtualmachineid" in v) == attached]
        return self.chance.choice(found) if found else None

    def some_snapshot(self):
        found = self.client.ask("listSnapshots", listall=True, keyword=f"w{self.number}-").get("snapshot", [])
        return self.chance.choice(found) if found else None

    def some_vm_snapshot(self):
        found = self.client.ask("listVMSnapshot", listall=True, keyword=f"w{self.number}-").get("vmSnapshot", [])
        return self.chance.choice(found) if found else None

    def name(self):
        self.names += 1
        return f"w{self.number}-{self.names}"

    # --- operations: None when there was nothing to do it with --------------------------------------------------------

    def do_deploy(self):
        if len(self.machines()) > 6:
            return None
        return self.ask(
            "deployVirtualMachine", zoneid=self.cloud.zone["zone"], templateid=self.cloud.zone["template"],
            serviceofferingid=self.cloud.offering, networkids=self.chance.choice(self.networks), name=self.name(),
            startvm=self.chance.random() < 0.8,
        )  # fmt: skip

    def _on(self, command, *states, **more):
        found = self.machine(*states)
        return found and self.ask(command, **{more.pop("parameter", "id"): found["id"]}, **more)

    def do_stop(self):
        return self._on("stopVirtualMachine", "Running", forced=self.chance.random() < 0.5)

    def do_start(self):
        return self._on("startVirtualMachine", "Stopped")

    def do_reboot(self):
        return self._on("rebootVirtualMachine", "Running")

    def do_migrate(self):
        return self._on("migrateVirtualMachine", "Running", parameter="virtualmachineid", autoselect=True)

    def do_destroy(self):
        return self._on("destroyVirtualMachine", expunge=self.chance.random() < 0.8)

    def do_restore(self):
        return self._on("restoreVirtualMachine", "Running", "Stopped", parameter="virtualmachineid")

    def do_scale(self):
        found = self.machine("Stopped")
        return found and self.ask(
            "scaleVirtualMachine", id=found["id"], serviceofferingid=self.chance.choice(self.cloud.offerings)
        )

    def do_add_nic(self):
        return self._on(
            "addNicToVirtualMachine", "Running", "Stopped", parameter="virtualmachineid",
            networkid=self.chance.choice(self.networks),
        )  # fmt: skip

    def do_remove_nic(self):
        found = next((m for m in self.machines("Running", "Stopped") if len(m["nic"]) > 1), None)
        if found is None:
            return None
        nic = next(n for n in found["nic"] if not n["isdefault"])
        return self.ask("removeNicFromVirtualMachine", virtualmachineid=found["id"], nicid=nic["id"])

    def do_volume(self):
        return self.ask(
            "createVolume", zoneid=self.cloud.zone["zone"], diskofferingid=self.cloud.disk_offering, name=self.name()
        )

    def do_attach(self):
        disk, machine = self.disk(False), self.machine("Running", "Stopped")
        return disk and machine and self.ask("attachVolume", id=disk["id"], virtualmachineid=machine["id"])

    def do_detach(self):
        disk = self.disk(True)
        return disk and self.ask("detachVolume", id=disk["id"])

    def do_resize(self):
        disk = self.disk(self.chance.random() < 0.5)
        return disk and self.ask("resizeVolume", id=disk["id"], diskofferingid=self.chance.choice(self.cloud.disks))

    def do_delete_volume(self):
        disk = self.disk(False)
        return disk and self.ask("deleteVolume", id=disk["id"])

    def do_snapshot(self):
        found = self.client.ask("listVolumes", listall=True, keyword=f"w{self.number}-").get("volume", [])
        disk = self.chance.choice(found) if found else None
        return disk and self.ask("createSnapshot", volumeid=disk["id"], name=self.name())

    def do_revert(self):
        found = self.some_snapshot()
        return found and self.ask("revertSnapshot", id=found["id"])

    def do_delete_snapshot(self):
        found = self.some_snapshot()
        return found and self.ask("deleteSnapshot", id=found["id"])

    def do_from_snapshot(self):
        found = self.some_snapshot()
        return found and self.ask("createVolume", snapshotid=found["id"], name=self.name())

    def do_vm_snapshot(self):
        found = self.machine("Running", "Stopped")
        return found and self.ask(
            "createVMSnapshot",
            virtualmachineid=found["id"],
            name=self.name(),
            snapshotmemory=found["state"] == "Running",
        )

    def do_revert_vm_snapshot(self):
        found = self.some_vm_snapshot()
        return found and self.ask("revertToVMSnapshot", vmsnapshotid=found["id"])

    def do_delete_vm_snapshot(self):
        found = self.some_vm_snapshot()
        return found and self.ask("deleteVMSnapshot", vmsnapshotid=found["id"])


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
    cloud.at_rest(60)
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
@pytest.mark.parametrize("seed", [2, 3])
def test_a_long_random_walk(cloud, seed):
    done, _ = walk(cloud, 300, seed)
    assert set(done) == set(OPERATIONS), f"never done: {set(OPERATIONS) - set(done)}"
