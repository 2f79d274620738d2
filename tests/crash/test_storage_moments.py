"""kill -9 at every moment of what machines and disks go through: each job ends once, with what it was asked for.

One life dies at a moment of one command, the next one finishes what was left and dies at one of another: see
test_moments.py.
"""

from __future__ import annotations

import pytest

from tests.crash.test_moments import MOST, starts

COMMANDS = {
    "migrate": "migrateVirtualMachine", "snapshot": "createSnapshot", "detach": "detachVolume",
    "resize": "resizeVolume", "keep": "createVMSnapshot", "attach": "attachVolume",
    "evacuate": "prepareHostForMaintenance", "reinstall": "restoreVirtualMachine",
}  # fmt: skip


class Scene:
    """One machine with a data disk, and what is done to them."""

    def __init__(self, cloud):
        self.cloud = cloud
        network = cloud.network()
        client = cloud.client()
        cloud.offerings = sorted(client.ask("listServiceOfferings")["serviceoffering"], key=lambda o: o["memory"])
        cloud.disks = sorted(
            (d for d in client.ask("listDiskOfferings")["diskoffering"] if not d["iscustomized"]),
            key=lambda d: d["disksize"],
        )
        cloud.settled(cloud.deploy(network, "one"))
        self.disk = client.job(
            "createVolume", zoneid=cloud.zone["zone"], diskofferingid=cloud.disks[0]["id"], name="data"
        )["volume"]["id"]
        self.client = client
        self.do("attachVolume", id=self.disk, virtualmachineid=self.machine["id"])

    def do(self, command, **sent):
        return self.cloud.client().job(command, **sent)

    @property
    def machine(self):
        return self.cloud.machine("one")

    @property
    def volume(self):
        return self.cloud.client().ask("listVolumes", id=self.disk, listall=True)["volume"][0]

    def other_host(self):
        hosts = self.cloud.client().ask("listHosts", type="Routing")["host"]
        return next(h["id"] for h in hosts if h["id"] != self.machine["hostid"])

    # --- each: what has to be so before, what is asked, what has to be so after ----------------------

    def migrate(self):
        there, before = self.other_host(), starts(self.machine["id"])

        def after():
            assert self.machine["hostid"] == there and starts(self.machine["id"]) == before

        return "migrateVirtualMachine", {"virtualmachineid": self.machine["id"], "hostid": there}, after

    def snapshot(self):
        before = {s["id"] for s in self.snapshots()}

        def after():
            (made,) = [s for s in self.snapshots() if s["id"] not in before]
            assert made["state"] == "BackedUp" and self.volume["state"] == "Ready"
            self.do("deleteSnapshot", id=made["id"])

        return "createSnapshot", {"volumeid": self.disk}, after

    def snapshots(self):
        return self.cloud.client().ask("listSnapshots", listall=True).get("snapshot", [])

    def detach(self):
        def after():
            assert "virtualmachineid" not in self.volume
            self.do("attachVolume", id=self.disk, virtualmachineid=self.machine["id"])
            assert self.volume["virtualmachineid"] == self.machine["id"]

        return "detachVolume", {"id": self.disk}, after

    def attach(self):
        self.do("detachVolume", id=self.disk)

        def after():
            assert self.volume["virtualmachineid"] == self.machine["id"]

        return "attachVolume", {"id": self.disk, "virtualmachineid": self.machine["id"]}, after

    def resize(self):
        bigger = next(d for d in self.cloud.disks if d["disksize"] * 2**30 > self.volume["size"])

        def after():
            assert self.volume["size"] == bigger["disksize"] * 2**30 and self.volume["state"] == "Ready"
            self.do("detachVolume", id=self.disk)
            self.do("resizeVolume", id=self.disk, diskofferingid=self.cloud.disks[0]["id"], shrinkok=True)
            self.do("attachVolume", id=self.disk, virtualmachineid=self.machine["id"])

        return "resizeVolume", {"id": self.disk, "diskofferingid": bigger["id"]}, after

    def keep(self):
        def after():
            (kept,) = self.cloud.client().ask("listVMSnapshot", listall=True)["vmSnapshot"]
            assert kept["state"] == "Ready" and self.machine["state"] == "Running"
            self.do("deleteVMSnapshot", vmsnapshotid=kept["id"])

        return "createVMSnapshot", {"virtualmachineid": self.machine["id"], "snapshotmemory": True}, after

    def evacuate(self):
        host, before = self.machine["hostid"], starts(self.machine["id"])

        def after():
            (found,) = self.cloud.client().ask("listHosts", id=host)["host"]
            assert found["resourcestate"] == "Maintenance" and self.machine["hostid"] != host
            assert self.machine["state"] == "Running" and starts(self.machine["id"]) == before
            self.do("cancelHostMaintenance", id=host)

        return "prepareHostForMaintenance", {"id": host}, after

    def reinstall(self):
        def after():
            assert self.machine["state"] == "Running"
            roots = self.cloud.client().ask(
                "listVolumes", listall=True, type="ROOT", virtualmachineid=self.machine["id"]
            )
            assert [v["state"] for v in roots["volume"] if v["state"] != "Destroy"] == ["Ready"]

        return "restoreVirtualMachine", {"virtualmachineid": self.machine["id"], "expunge": True}, after


CASES = ("migrate", "snapshot", "detach", "resize", "keep", "attach", "evacuate", "reinstall")
UNDOES = {  # what the look at the outcome asks besides
    "detach": {"attachVolume"},
    "resize": {"attachVolume", "detachVolume", "resizeVolume"},
}


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_a_server_that_dies_at_any_moment_of_what_is_done_to_machines_and_disks(cloud, step):
    scene, left, counted = Scene(cloud), list(CASES), {}
    job, before, after = None, "", None  # what the last life left

    def settle():
        if job is not None:
            done = cloud.settled(job)
            assert done["jobstatus"] == 1, (before, moment, done)
            after()
            cloud.at_rest()

    for moment in range(1, MOST, step):
        for what in list(left):
            command = COMMANDS[what]
            if what == before or command in UNDOES.get(before, ()):  # its moments would count as well
                cloud.live()
                settle()
                job = None
            cloud.live(command, moment)
            settle()
            asked, sent, after = getattr(scene, what)()
            assert asked == command
            job, before = cloud.ask(command, **sent), what
            if not cloud.died(job):
                counted[what] = moment - step  # the last at which it died
                left.remove(what)
        if not left:
            break
    cloud.live()
    settle()
    print(f"moments {counted}, {cloud.lives} lives")
    assert not left and min(counted.values()) >= 6 - step, counted
