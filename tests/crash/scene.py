"""One machine with a data disk, a template, and what is done to them: what has to be so before, what is asked, what has
to be so after."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.storage import ImageStore, Pool, PoolHost
from mgmt_server.model.zone import Zone
from tests.api.test_template_download import ZONE, Pages, qcow2

COMMANDS = {
    "migrate": "migrateVirtualMachine", "snapshot": "createSnapshot", "detach": "detachVolume",
    "resize": "resizeVolume", "keep": "createVMSnapshot", "attach": "attachVolume",
    "evacuate": "prepareHostForMaintenance", "reinstall": "restoreVirtualMachine", "move": "migrateVolume",
    "revert": "revertSnapshot", "turn_back": "revertToVMSnapshot", "make": "createTemplate", "copy": "copyTemplate",
    "scale": "scaleVirtualMachine",
}  # fmt: skip


def starts(uuid):
    """How often hosts really started the machine."""
    with reading() as session:
        return session.scalar(select(SimulatedMachine.starts).where(SimulatedMachine.machine == uuid))


def failed(ends):
    """What jobs that failed said, by what they were to do."""
    return {kind: end["jobresult"]["errortext"] for kind, end in ends.items() if end["jobstatus"] != 1}


def second_pool(cloud):
    """Another pool that all hosts of the cloud's cluster reach: its uuid."""

    def work(tx):
        first = tx.scalar(select(Pool).where(Pool.uuid == cloud.zone["pool"]))
        columns = {"zone_id", "pod_id", "cluster_id", "scope", "type", "hypervisor", "server", "capacity"}
        made = Pool(name="second", path="/second", details={}, **{c: getattr(first, c) for c in columns})
        tx.add(made)
        tx.flush()
        hosts = tx.scalars(select(PoolHost.host_id).where(PoolHost.pool_id == first.id))
        tx.add_all(PoolHost(pool_id=made.id, host_id=h) for h in list(hosts))
        return made.uuid

    return write(work)


class Images:
    """A template that was fetched into one zone, and another zone that has a store for a copy."""

    def __init__(self, cloud, folder: Path):
        Pages.pages = {"/t.qcow2": qcow2()}
        self.web = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        threading.Thread(target=self.web.serve_forever, daemon=True).start()
        client = cloud.client()
        client.ask("updateConfiguration", name="secstorage.allowed.internal.sites", value="127.0.0.0/8")
        self.zones, self.stores = [], []
        for name in ("from", "to"):
            self.zones.append(client.ask("createZone", name=name, **ZONE)["zone"]["id"])
            self.stores.append(folder / name)
            self.stores[-1].mkdir()
            write(self._add_store, self.zones[-1], self.stores[-1])
        kind = client.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
        made = client.ask(
            "registerTemplate", name="fetched", url=f"http://127.0.0.1:{self.web.server_port}/t.qcow2", format="QCOW2",
            hypervisor="KVM", ostypeid=kind, zoneid=self.zones[0],
        )  # fmt: skip
        self.template = made["template"][0]["id"]
        cloud.at_rest()
        self.web.shutdown()
        self.web.server_close()

    def _add_store(self, tx, zone, folder):
        number = tx.scalar(select(Zone.id).where(Zone.uuid == zone))
        tx.add(ImageStore(name=folder.name, url=f"file://{folder}", protocol="file", zone_id=number))

    def arrived(self):
        """What the second store holds."""
        return [p.read_bytes() for p in self.stores[1].rglob("*.qcow2")]


class Scene:
    """One machine with a data disk, and what is done to them."""

    def __init__(self, cloud, name="one", network=None, **placed):
        self.cloud, self.name = cloud, name
        network = network or cloud.network()
        client = cloud.client()
        cloud.offerings = sorted(client.ask("listServiceOfferings")["serviceoffering"], key=lambda o: o["memory"])
        cloud.disks = sorted(
            (d for d in client.ask("listDiskOfferings")["diskoffering"] if not d["iscustomized"]),
            key=lambda d: d["disksize"],
        )
        cloud.settled(cloud.deploy(network, name, **placed))
        self.disk = client.job(
            "createVolume", zoneid=cloud.zone["zone"], diskofferingid=cloud.disks[0]["id"], name=f"data-{name}"
        )["volume"]["id"]
        self.client = client
        self.do("attachVolume", id=self.disk, virtualmachineid=self.machine["id"])

    def do(self, command, **sent):
        return self.cloud.client().job(command, **sent)

    @property
    def machine(self):
        return self.cloud.machine(self.name)

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

    def move(self):
        """A disk without a machine goes to the other pool."""
        self.do("detachVolume", id=self.disk)
        before = self.volume["storageid"]
        pools = self.client_pools()
        there = next(p for p in pools if p != before)

        def after():
            assert self.volume["storageid"] == there and self.volume["state"] == "Ready"
            self.do("attachVolume", id=self.disk, virtualmachineid=self.machine["id"])

        return "migrateVolume", {"volumeid": self.disk, "storageid": there}, after

    def client_pools(self):
        found = self.cloud.client().ask("listStoragePools", zoneid=self.cloud.zone["zone"])["storagepool"]
        if len(found) == 1:
            return [found[0]["id"], second_pool(self.cloud)]
        return [p["id"] for p in found]

    def revert(self):
        self.do("detachVolume", id=self.disk)
        kept = self.do("createSnapshot", volumeid=self.disk)["snapshot"]

        def after():
            assert self.volume["state"] == "Ready"
            self.do("deleteSnapshot", id=kept["id"])
            self.do("attachVolume", id=self.disk, virtualmachineid=self.machine["id"])

        return "revertSnapshot", {"id": kept["id"]}, after

    def turn_back(self):
        sent = {"virtualmachineid": self.machine["id"], "snapshotmemory": True}
        kept = self.do("createVMSnapshot", **sent)["vmsnapshot"]

        def after():
            (found,) = self.cloud.client().ask("listVMSnapshot", listall=True)["vmSnapshot"]
            assert found["state"] == "Ready" and self.machine["state"] == "Running"
            self.do("deleteVMSnapshot", vmsnapshotid=kept["id"])

        return "revertToVMSnapshot", {"vmsnapshotid": kept["id"]}, after

    def make(self):
        """A template of a disk that no machine uses."""
        self.do("detachVolume", id=self.disk)
        kind = self.client.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]

        def after():
            (made,) = self.cloud.client().ask("listTemplates", templatefilter="self", name="made")["template"]
            assert made["isready"]
            self.do("deleteTemplate", id=made["id"])
            self.do("attachVolume", id=self.disk, virtualmachineid=self.machine["id"])

        return "createTemplate", {"name": "made", "ostypeid": kind, "volumeid": self.disk}, after

    def copy(self):
        """A real file, from one store to another."""
        if not hasattr(self.cloud, "images"):
            self.cloud.images = Images(self.cloud, self.cloud.server.data.parent)
        images = self.cloud.images

        def after():
            listed = self.cloud.client().ask("listTemplates", templatefilter="self", id=images.template)["template"]
            assert {t["zoneid"]: t["isready"] for t in listed} == dict.fromkeys(images.zones, True)
            assert images.arrived() == [qcow2()]
            self.do("deleteTemplate", id=images.template, zoneid=images.zones[1])
            assert images.arrived() == []

        return "copyTemplate", {"id": images.template, "destzoneid": images.zones[1]}, after

    def scale(self):
        bigger = self.cloud.offerings[-1]
        if self.machine["serviceofferingid"] == bigger["id"]:
            bigger = self.cloud.offerings[0]
        before = self.machine["state"]

        def after():
            found = self.machine
            assert (found["state"], found["serviceofferingid"]) == (before, bigger["id"])
            assert found["memory"] == bigger["memory"]
            self.do("startVirtualMachine", id=found["id"])

        self.do("stopVirtualMachine", id=self.machine["id"])
        before = "Stopped"
        return "scaleVirtualMachine", {"id": self.machine["id"], "serviceofferingid": bigger["id"]}, after
