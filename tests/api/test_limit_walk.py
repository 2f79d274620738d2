"""A random walk through the lives of machines, networks and templates on hosts that fail: no count is ever off."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import func, select

from mgmt_server import db
from mgmt_server.model import settings
from mgmt_server.model.account import Domain
from mgmt_server.model.event import SettingValue
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import OsType
from mgmt_server.model.vm import Volume
from mgmt_server.resources.limit import recount
from tests.cloud import Refused
from tests.counts import counts
from tests.simulated import build

STEPS = 110
FAULTS = ("start", "stop", "create_disk", "delete_disk", "forget", "cache_template")


class Walk:
    """What a tenant does, by chance; each step that is refused or fails is a step too."""

    def __init__(self, cloud, seed):
        self.cloud, self.chance = cloud, random.Random(seed)
        self.place = build()
        self.user = cloud.account("ann", domain="/a/b/")
        self.other = cloud.account("bob", domain="/a/")
        self.offering = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
        self.disk = cloud.ask("listDiskOfferings", name="Small")["diskoffering"][0]["id"]
        name = "DefaultIsolatedNetworkOfferingWithSourceNatService"
        self.isolated = cloud.ask("listNetworkOfferings", name=name)["networkoffering"][0]["id"]
        self.done, self.refused = 0, []
        with db.reading() as session:
            self.domain = session.scalar(select(Domain.uuid).where(Domain.path == "/a/b/"))
            self.os = session.scalar(select(OsType.uuid).limit(1))

    def some(self, command, key, **sent):
        found = self.cloud.ask(command, user=self.who, **sent).get(key, [])
        return self.chance.choice(found)["id"] if found else None

    def step(self):
        kinds = (
            *(self.deploy,) * 5, *(self.power,) * 4, *(self.destroy,) * 3, self.recover, self.expunge, self.network,
            self.delete_network, self.template, self.delete_template, self.fault, self.calm, self.limit,
        )  # fmt: skip
        self.who = self.chance.choice((self.user, self.user, self.other))
        kind = self.chance.choice(kinds)
        try:
            kind()
            self.done += 1
        except Refused as refused:
            self.refused.append((kind.__name__, refused.status))
        self.cloud.work()
        return kind.__name__

    def deploy(self):
        more = {"diskofferingid": self.disk} if self.chance.random() < 0.4 else {}
        if self.chance.random() < 0.3:
            more["startvm"] = False
        if network := self.some("listNetworks", "network"):
            more["networkids"] = network
        self.cloud.job(
            "deployVirtualMachine", user=self.who, zoneid=self.place["zone"], templateid=self.place["template"],
            serviceofferingid=self.offering, **more,
        )  # fmt: skip

    def power(self):
        command = self.chance.choice(("startVirtualMachine", "stopVirtualMachine", "rebootVirtualMachine"))
        if vm := self.some("listVirtualMachines", "virtualmachine"):
            self.cloud.job(command, user=self.who, id=vm)

    def destroy(self):
        if vm := self.some("listVirtualMachines", "virtualmachine"):
            self.cloud.job("destroyVirtualMachine", id=vm, expunge=self.chance.random() < 0.4)

    def recover(self):
        found = self.cloud.ask("listVirtualMachines", listall=True, state="Destroyed").get("virtualmachine", [])
        if found:
            self.cloud.ask("recoverVirtualMachine", id=self.chance.choice(found)["id"])

    def expunge(self):
        if vm := self.some("listVirtualMachines", "virtualmachine"):
            self.cloud.job("expungeVirtualMachine", id=vm)

    def network(self):
        self.cloud.ask(
            "createNetwork", user=self.who, name=f"n{self.done}", zoneid=self.place["zone"],
            networkofferingid=self.isolated,
        )  # fmt: skip

    def delete_network(self):
        if network := self.some("listNetworks", "network"):
            self.cloud.job("deleteNetwork", user=self.who, id=network)

    def template(self):
        self.cloud.ask(
            "registerTemplate", user=self.who, name=f"t{self.done}", url="http://192.0.2.1/x.qcow2", format="QCOW2",
            hypervisor="Simulator", ostypeid=self.os, zoneid=self.place["zone"],
        )  # fmt: skip

    def delete_template(self):
        if template := self.some("listTemplates", "template", templatefilter="self"):
            self.cloud.job("deleteTemplate", user=self.who, id=template)

    def fault(self):
        method, text = (
            self.chance.choice(FAULTS),
            self.chance.choice(("fail:no", "fail:no|late:true", "fail:no|skip:1")),
        )
        self.cloud.ask("configureSimulator", name=method, value=text, count=self.chance.randint(1, 3))

    def calm(self):
        self.cloud.ask("cleanupSimulatorMock")

    def limit(self):
        kind, most = self.chance.choice((0, 2, 6, 8, 9, 10)), self.chance.choice((1, 2, 4, 6, 1000))
        sent = {"account": "ann"} if self.chance.random() < 0.5 else {}
        self.cloud.ask("updateResourceLimit", domainid=self.domain, resourcetype=kind, max=most, **sent)

    def leave(self):
        """Give everything back."""
        self.calm()
        for name in (self.user, self.other):
            self.who = name
            for vm in self.cloud.ask("listVirtualMachines", listall=True).get("virtualmachine", []):
                command = "expungeVirtualMachine" if vm["state"] == "Expunging" else "destroyVirtualMachine"
                more = {} if vm["state"] == "Expunging" else {"expunge": True}
                self.cloud.job(command, id=vm["id"], **more)
            for network in self.cloud.ask("listNetworks", user=name).get("network", []):
                self.cloud.job("deleteNetwork", user=name, id=network["id"])
            for template in self.cloud.ask("listTemplates", user=name, templatefilter="self").get("template", []):
                self.cloud.job("deleteTemplate", user=name, id=template["id"])


def prepare(running_only):
    """The settings, and disks of an offering whose tag is counted apart."""

    def work(tx):
        for name, value in (
            ("resource.count.running.vms.only", str(running_only).lower()), ("resource.limit.storage.tags", "ssd")
        ):  # fmt: skip
            tx.add(SettingValue(name=name, value=value))
        tx.scalar(select(DiskOffering).where(DiskOffering.name == "Small")).tags = "ssd"
        tx.scalar(select(Pool)).tags = "ssd"

    db.write(work)
    settings.forget()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("running_only", [False, True])
def test_counts_are_what_a_recount_finds_after_every_step(cloud, seed, running_only):
    walk = Walk(cloud, seed)
    prepare(running_only)
    path = []
    for _ in range(STEPS):
        path.append(walk.step())
        with db.reading() as session:
            assert recount.wrong(session) == ([], []), path[-3:]
    assert walk.done > STEPS / 3 and 535 in [status for _, status in walk.refused], walk.refused
    walk.leave()
    with db.reading() as session:
        alone = select(func.count()).select_from(Volume).where(Volume.removed.is_(None), Volume.vm_id.is_(None))
        detached = session.scalar(alone)
    left = counts()
    assert {key.split("/")[1] for key in left} <= {"volume", "primary_storage"}, "data disks stay, nothing else"
    assert sum(used for key, used in left.items() if key.startswith("account") and key.endswith("/volume/")) == detached
