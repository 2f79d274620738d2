"""Hosts over the wire: simulated ones, and KVM hosts with an agent that is played."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from mgmt_server import db
from mgmt_server.agents.session import Connected
from mgmt_server.drivers.hypervisor import dispatch, faults
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Failed
from mgmt_server.jobs.rows import Node
from mgmt_server.model.agent import Agent
from mgmt_server.model.event import Alert
from mgmt_server.model.host import Host
from mgmt_server.protocol.codec import dump, plain
from mgmt_server.protocol.machine import HostFacts, HostStatistics, MachineState
from mgmt_server.resources.host import joining, link, timers
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.cloud import Refused

FACTS = HostFacts(
    "kvm1.example", "192.0.2.11", "KVM", "8.2.2", 4, 1, 2400, 16 << 30, accelerator="kvm", bridges=("cloudbr0",),
    local_pool_path="/var/lib/pool", version="1",
)  # fmt: skip


class Played:
    """A KVM driver whose hosts say what the test wants."""

    def __init__(self):
        self.said, self.broken, self.pools = {}, {}, []

    def facts(self, host):
        facts = self.said[host.agent]
        return facts if facts.clock else replace(facts, clock=datetime.now(UTC).isoformat())

    def add_pool(self, call, host, pool):
        if pool.path in self.broken:
            raise Failed(self.broken[pool.path])
        self.pools.append((host.agent, pool.path))
        return 7 << 30, 100 << 30

    def remove_pool(self, call, host, pool):
        self.pools.remove((host.agent, pool.path))

    def machines(self, host):
        return []

    def statistics(self, host, seconds):
        return HostStatistics(12.5, 4 << 30, 16 << 30, 0.5, 10, 20)


@pytest.fixture
def place(cloud):
    return zone_with_pod(cloud)


@pytest.fixture
def kvm(database):
    played = Played()
    dispatch.use("KVM", played)
    disks.use("KVM", played)
    yield played
    dispatch._drivers.pop("KVM", None)
    disks._drivers.pop("KVM", None)
    faults.forget()


def agent(kvm, facts=FACTS, node="test"):
    uuid = str(uuid4())
    row = Agent(
        uuid=uuid, name=facts.name, kind="host", address=facts.address, node=node, facts=dump(facts).decode(),
        seen=db.now() - timedelta(minutes=1),
    )  # fmt: skip
    db.write(lambda tx: tx.add(row))
    kvm.said[uuid] = facts
    return uuid


def test_a_simulated_host_answers_as_the_protocol_says(cloud, place):
    made = host(cloud, *place, cluster(cloud, *place))
    again = host(cloud, *place, made["clusterid"])
    assert again["id"] != made["id"] and made["name"].startswith("SimulatedAgent.")
    expected = {
        "state": "Up", "type": "Routing", "hypervisor": "Simulator", "cpunumber": 4, "cpuspeed": 8000,
        "cpuallocated": "0.00%", "cpuallocatedvalue": 0, "cpuwithoverprovisioning": "32000",
        "memorytotal": 8589934592, "memorywithoverprovisioning": "8589934592", "memoryallocated": 0,
        "memoryallocatedpercentage": "0.00%", "capabilities": "hvm", "clustername": "c1", "podname": "p1",
        "clustertype": "CloudManaged", "islocalstorageactive": False, "resourcestate": "Enabled", "hahost": False,
        "hostha": {"haenable": False, "hastate": "Disabled"}, "arch": "x86_64", "hasannotations": False,
    }  # fmt: skip
    assert {k: made[k] for k in expected} == expected
    assert made["ipaddress"].startswith("172.16.15.") and "hosttags" not in made
    assert cloud.ask("listHosts", clusterid=made["clusterid"], type="Routing", state="Up")["count"] == 2
    assert cloud.ask("listHosts", type="ConsoleProxy") == {}


def test_local_storage_comes_where_the_zone_has_it(cloud):
    place = zone_with_pod(cloud, "local", localstorageenabled=True)
    made = host(cloud, *place, cluster(cloud, *place), hosttags="a,b")
    assert made["islocalstorageactive"] is True and made["hosttags"] == "a,b"
    tags = cloud.ask("listHostTags")["hosttag"]
    assert [t["name"] for t in tags] == ["a", "b"]


def test_a_host_without_a_cluster_gets_its_own(cloud, place):
    sent = {"zoneid": place[0], "podid": place[1], "url": "http://sim/c0/hx", "hypervisor": "simulator"}
    (made,) = cloud.ask("addHost", **sent)["host"]
    assert made["clustername"] == "Standalone-http://sim/c0/hx"
    with pytest.raises(Refused, match="is not supported") as no:
        cloud.ask("addHost", **{**sent, "hypervisor": "Bogus"})
    assert no.value.status == 530
    kvm = cluster(cloud, *place, "k", "KVM")
    with pytest.raises(Refused, match="is for KVM, not for Simulator"):
        cloud.ask("addHost", **sent, clusterid=kvm)


def test_switches_tags_and_maintenance(cloud, place):
    made = host(cloud, *place, cluster(cloud, *place))["id"]
    changed = cloud.ask("updateHost", id=made, allocationstate="Disable", hosttags="x", annotation="loud")["host"]
    assert (changed["resourcestate"], changed["hosttags"], changed["annotation"]) == ("Disabled", "x", "loud")
    assert cloud.ask("updateHost", id=made, allocationstate="Enable")["host"]["resourcestate"] == "Enabled"
    with pytest.raises(Refused, match="neither Enable nor Disable") as no:
        cloud.ask("updateHost", id=made, allocationstate="Bogus")
    assert no.value.status == 530
    with pytest.raises(Refused, match="is not in maintenance") as no:
        cloud.ask("deleteHost", id=made)
    assert no.value.status == 530
    db.write(lambda tx: tx.execute(update(Host).values(machines=2)))
    with pytest.raises(Refused, match=r"2 machine\(s\) are on host"):
        cloud.job("prepareHostForMaintenance", id=made)
    assert cloud.ask("listHosts", id=made)["host"][0]["resourcestate"] == "ErrorInMaintenance"
    with pytest.raises(Refused, match=r"machine\(s\) are on host"):
        cloud.ask("deleteHost", id=made, forced=True)
    db.write(lambda tx: tx.execute(update(Host).values(machines=0)))
    assert cloud.job("prepareHostForMaintenance", id=made)["host"]["resourcestate"] == "Maintenance"
    with pytest.raises(Refused, match="is in Maintenance already"):
        cloud.job("prepareHostForMaintenance", id=made)
    assert cloud.job("cancelHostMaintenance", id=made)["host"]["resourcestate"] == "Enabled"
    with pytest.raises(Refused, match="not in maintenance"):
        cloud.job("cancelHostMaintenance", id=made)
    assert cloud.job("reconnectHost", id=made)["host"]["state"] == "Up"
    cloud.job("prepareHostForMaintenance", id=made)
    assert cloud.ask("deleteHost", id=made) == {"success": True}
    assert cloud.ask("listHosts") == {}


def test_a_lost_host_is_down_until_the_fault_ends(cloud, place):
    made = host(cloud, *place, cluster(cloud, *place))["id"]
    fault = cloud.ask("configureSimulator", hostid=made, name="*", value="lost:true")["mock"]
    assert cloud.ask("listHosts", id=made)["host"][0]["state"] == "Down"
    assert cloud.ask("querySimulatorMock", id=fault["id"])["mock"]["name"] == "*"
    with pytest.raises(Refused, match="none of wait:SECONDS"):
        cloud.ask("configureSimulator", name="start", value="explode:now")
    slow = cloud.ask("configureSimulator", name="StartCommand", value="wait:0.5|fail:x|skip:2", count=1)["mock"]
    (_, listed) = cloud.ask("listSimulatorFaults")["simulatorfault"]
    assert (listed["name"], listed["wait"], listed["skip"], listed["left"]) == ("start", 0.5, 2, 1)
    assert cloud.ask("cleanupSimulatorMock", id=slow["id"]) == {"success": True}
    cloud.ask("cleanupSimulatorMock")
    assert cloud.ask("listHosts", id=made)["host"][0]["state"] == "Up"
    assert cloud.ask("listSimulatorFaults") == {}


def test_a_connected_agent_becomes_a_host(cloud, kvm):
    place = zone_with_pod(cloud, "local", localstorageenabled=True)
    uuid = agent(kvm)
    made = host(cloud, *place, cluster(cloud, *place, "k", "KVM"), "http://KVM1", hypervisor="KVM")
    assert (made["name"], made["ipaddress"], made["state"]) == ("kvm1.example", "192.0.2.11", "Connecting")
    assert made["memorywithoverprovisioning"] == str(15 << 30) and made["cpuwithoverprovisioning"] == "9600"
    cloud.work()
    (seen,) = cloud.ask("listHosts", id=made["id"])["host"]
    assert seen["state"] == "Up" and seen["islocalstorageactive"] and kvm.pools == [(uuid, "/var/lib/pool")]
    with pytest.raises(Refused, match="added already: kvm1.example is host kvm1.example in cluster k"):
        host(cloud, *place, made["clusterid"], "http://192.0.2.11", hypervisor="KVM")
    link.measure(uuid)
    (seen,) = cloud.ask("listHosts", id=made["id"])["host"]
    assert (seen["cpuused"], seen["cpuloadaverage"], seen["memoryused"]) == ("12.5%", 0.5, 4 << 30)
    cloud.ask("deleteHost", id=made["id"], forced=True)
    host(cloud, *place, made["clusterid"], "192.0.2.11", hypervisor="KVM")  # its agent may join again


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"accelerator": ""}, "virtualisation: /dev/kvm cannot be used"),
        ({"hypervisor": "LXC"}, "hypervisor: the host has LXC"),
        ({"hypervisor_version": "4.2.0"}, "hypervisor version: 4.2.0 was found"),
        ({"speed": 0}, "size: 4 CPUs of 0 MHz"),
        ({"clock": "late"}, "clock: it is -3"),
        ({"bridges": ("br9",)}, "bridge: cloudbr0 is missing, which carries Guest of n; the host has br9"),
    ],
)
def test_a_host_that_does_not_fit_is_told_why(cloud, place, kvm, wrong, told):
    if wrong.get("clock") == "late":  # by the time of this test, not of its collection
        wrong = {"clock": (datetime.now(UTC) - timedelta(minutes=5)).isoformat()}
    network = cloud.job("createPhysicalNetwork", zoneid=place[0], name="n")["physicalnetwork"]["id"]
    cloud.job("addTrafficType", physicalnetworkid=network, traffictype="Guest", kvmnetworklabel="cloudbr0")
    agent(kvm, replace(FACTS, **wrong))
    made = cluster(cloud, *place, "k", "KVM")
    with pytest.raises(Refused) as no:
        host(cloud, *place, made, "http://kvm1", hypervisor="KVM")
    assert told in no.value.text and no.value.status == 530
    assert cloud.ask("listHosts") == {}


def test_an_agent_that_is_not_there_is_told_with_the_two_ways_to_get_one(cloud, place, kvm, monkeypatch):
    monkeypatch.setattr(joining, "PATIENCE", 0.1)
    made = cluster(cloud, *place, "k", "KVM")
    with pytest.raises(Refused, match=r"no agent of kvm1 has joined .*add_host.*enroll-token --name kvm1"):
        host(cloud, *place, made, "http://kvm1", hypervisor="KVM")
    agent(kvm, node="")
    with pytest.raises(Refused, match="is not connected.*systemctl status"):
        host(cloud, *place, made, "http://kvm1", hypervisor="KVM")


def test_an_agent_that_is_just_starting_is_waited_for(cloud, place, kvm, monkeypatch):
    uuid = agent(kvm, node="")
    arrives = update(Agent).where(Agent.uuid == uuid).values(node="test")
    monkeypatch.setattr(joining, "sleep", lambda seconds: db.write(lambda tx: tx.execute(arrives)))
    made = host(cloud, *place, cluster(cloud, *place, "k", "KVM"), "http://kvm1", hypervisor="KVM")
    assert made["name"].startswith("kvm1")


def test_coming_going_and_reports(cloud, place, kvm):
    uuid = agent(kvm)
    made = host(cloud, *place, cluster(cloud, *place, "k", "KVM"), "http://kvm1", hypervisor="KVM")["id"]
    cloud.work()
    who = Connected(uuid, FACTS.name, "host", FACTS.address, 2, replace(FACTS, memory=32 << 30))
    link.disconnected(who)
    assert cloud.ask("listHosts", id=made)["host"][0]["state"] == "Disconnected"
    link.connected(who)
    cloud.work()
    (seen,) = cloud.ask("listHosts", id=made)["host"]
    assert seen["state"] == "Up" and seen["memorytotal"] == 32 << 30
    heard = []
    link.machine_hooks.append(lambda number, machines: heard.extend(machines))
    try:
        link.reported(uuid, "machines", plain([MachineState("i-2-3-VM", "u", "Running", 5901)]))
        link.reported(uuid, "machines", [{"nonsense": 1}])
        link.reported("stranger", "machines", [])
    finally:
        link.machine_hooks.pop()
    assert heard == [MachineState("i-2-3-VM", "u", "Running", 5901)]


def test_a_broken_pool_is_an_alert_and_is_tried_again(cloud, kvm):
    place = zone_with_pod(cloud, "local", localstorageenabled=True)
    agent(kvm)
    kvm.broken["/var/lib/pool"] = "No space left on device"
    made = host(cloud, *place, cluster(cloud, *place, "k", "KVM"), "http://kvm1", hypervisor="KVM")["id"]
    cloud.work()
    (seen,) = cloud.ask("listHosts", id=made)["host"]
    assert seen["state"] == "Alert" and "No space left" in seen["details"]["reason"]
    with db.reading() as session:
        assert "No space left" in session.scalar(select(Alert.content))
    kvm.broken.clear()
    timers.look()
    cloud.work()
    (seen,) = cloud.ask("listHosts", id=made)["host"]
    assert seen["state"] == "Up" and "details" not in seen


def test_a_host_that_is_lost_together_with_its_server_is_missed(cloud, place, kvm):
    uuid = agent(kvm)
    made = host(cloud, *place, cluster(cloud, *place, "k", "KVM"), "http://kvm1", hypervisor="KVM")["id"]
    cloud.work()
    db.write(lambda tx: tx.add(Node(name="dead", heartbeat=db.now() - timedelta(seconds=15))))
    db.write(lambda tx: tx.execute(update(Agent).where(Agent.uuid == uuid).values(node="dead")))
    timers.look()  # its agent may still find another server
    assert cloud.ask("listHosts", id=made)["host"][0]["state"] == "Up"
    db.write(lambda tx: tx.execute(update(Node).where(Node.name == "dead").values(heartbeat=db.now() - timedelta(60))))
    db.write(lambda tx: tx.execute(update(Agent).values(seen=db.now() - timedelta(days=90))))
    timers.look()
    assert cloud.ask("listHosts", id=made)["host"][0]["state"] == "Disconnected"


def test_the_safety_net_sees_agents_that_nobody_told_of(cloud, place, kvm):
    uuid = agent(kvm)
    made = host(cloud, *place, cluster(cloud, *place, "k", "KVM"), "http://kvm1", hypervisor="KVM")["id"]
    cloud.work()
    db.write(lambda tx: tx.execute(update(Agent).where(Agent.uuid == uuid).values(node="")))
    timers.look()
    assert cloud.ask("listHosts", id=made)["host"][0]["state"] == "Disconnected"
    db.write(lambda tx: tx.execute(update(Agent).values(seen=db.now() - timedelta(hours=2))))
    timers.look()
    assert cloud.ask("listHosts", id=made)["host"][0]["state"] == "Alert"
    db.write(lambda tx: tx.execute(update(Agent).values(node="test")))
    db.write(lambda tx: tx.execute(update(Host).values(last_pinged=db.now() - timedelta(hours=2))))
    timers.look()
    cloud.work()
    assert cloud.ask("listHosts", id=made)["host"][0]["state"] == "Up"


def test_tenants_see_no_hosts(cloud, place):
    cloud.account("ann")
    with pytest.raises(Refused) as no:
        cloud.ask("listHosts", user="ann")
    assert no.value.status == 432
    assert cloud.ask("listHypervisors", user="ann")["hypervisor"] == [{"name": "KVM"}, {"name": "Simulator"}]
    (one,) = cloud.ask("listHypervisorCapabilities", hypervisor="Simulator")["hypervisorCapabilities"]
    assert one["maxguestslimit"] == 50
