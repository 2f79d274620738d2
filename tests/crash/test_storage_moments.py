"""kill -9 at every moment of what machines and disks go through: each job ends once, with what it was asked for.

One life per moment dies, the next one finishes what was left: see test_moments.py.
"""

from __future__ import annotations

import pytest

from tests.crash.test_moments import MOST, every_second_and_all, starts


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
        there = self.other_host()

        def after():
            assert self.machine["hostid"] == there and starts(self.machine["id"]) == 1

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
        host = self.machine["hostid"]

        def after():
            (found,) = self.cloud.client().ask("listHosts", id=host)["host"]
            assert found["resourcestate"] == "Maintenance" and self.machine["hostid"] != host
            assert self.machine["state"] == "Running" and starts(self.machine["id"]) == 1
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


@every_second_and_all
@pytest.mark.parametrize("what", ["migrate", "snapshot", "detach", "attach", "resize", "keep", "evacuate", "reinstall"])
def test_a_server_that_dies_at_any_moment_of(cloud, what, step):
    scene = Scene(cloud)
    for moment in range(1, MOST, step):
        command, sent, after = getattr(scene, what)()
        cloud.live(command, moment)
        job = cloud.ask(command, **sent)
        died = cloud.died(job)
        cloud.live()
        done = cloud.settled(job)
        assert done["jobstatus"] == 1, (what, moment, done)
        after()
        cloud.at_rest()
        if not died:
            break
    print(f"{what}: moments to {moment - step}, {cloud.lives} lives")
    assert 3 <= moment < MOST - 1
