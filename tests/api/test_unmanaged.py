"""Machines that hosts have and nobody here started."""

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.vm import Vm
from tests.api.test_nic import network
from tests.api.test_vm import deploy, held
from tests.cloud import Refused
from tests.crash.invariants import broken
from tests.simulated import build

GIB = 2**30
MAC = "06:00:00:00:00:01"


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def stranger(zone, state="Stopped", disks=("old-root",), name="by-hand", **values):
    """Somebody's machine on the first host."""

    def make(tx):
        host = tx.scalar(select(Host).order_by(Host.id))
        tx.add_all(SimulatedDisk(pool=zone["pool"], name=d, size=GIB, backing="", content=7, call="") for d in disks)
        machine = {"cpus": 2, "memory": GIB, "nics": [MAC], **values}
        tx.add(
            SimulatedMachine(
                name=name, host=host.uuid, machine=f"uuid-{name}", state=state, call="", disks=list(disks), **machine
            )
        )

    write(make)


def machines():
    with reading() as session:
        return {m.name: m for m in session.scalars(select(SimulatedMachine))}


def taken(cloud, zone, **more):
    sent = {"clusterid": zone["cluster"], "name": "by-hand", "serviceofferingid": zone["offering"]}
    nics = {"nicnetworklist[0].nic": MAC, "nicnetworklist[0].network": more.pop("network")}
    return cloud.job("importUnmanagedInstance", **{**sent, **nics, **more})["virtualmachine"]


def test_what_nobody_here_started_is_listed(cloud, zone):
    deploy(cloud, zone)
    assert cloud.ask("listUnmanagedInstances", clusterid=zone["cluster"]) == {}
    stranger(zone)
    (found,) = cloud.ask("listUnmanagedInstances", clusterid=zone["cluster"])["unmanagedinstance"]
    assert (found["name"], found["powerstate"], found["cpunumber"], found["memory"]) == ("by-hand", "PowerOff", 2, 1024)
    assert found["disk"][0] | {"datastorename": "shared", "capacity": GIB, "label": "vda"} == found["disk"][0]
    assert found["nic"][0]["macaddress"] == MAC
    assert cloud.ask("listUnmanagedInstances", clusterid=zone["cluster"], name="other") == {}


def test_a_stopped_stranger_is_taken_over_with_disk_and_mac(cloud, zone):
    stranger(zone)
    net = network(cloud, zone)
    sent = {"nicipaddresslist[0].nic": MAC, "nicipaddresslist[0].ip4Address": "10.3.0.50", "displayname": "Old"}
    vm = taken(cloud, zone, network=net, **sent)
    assert (vm["state"], vm["displayname"], vm["name"]) == ("Stopped", "Old", "by-hand")
    assert (vm["nic"][0]["macaddress"], vm["ipaddress"]) == (MAC, "10.3.0.50")
    assert "by-hand" not in machines() and broken() == []
    assert cloud.ask("listUnmanagedInstances", clusterid=zone["cluster"]) == {}
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"
    (disk,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert (disk["size"], disk["state"], disk["storage"]) == (GIB, "Ready", "shared")
    with reading() as session:
        assert session.scalar(select(SimulatedDisk.content).where(SimulatedDisk.name == "old-root")) == 7
        row = session.scalar(select(Vm).where(Vm.uuid == vm["id"]))
        assert machines()[f"i-{row.account_id}-{row.id}-VM"].disks == ["old-root"]
    assert broken() == []
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    assert broken() == []


@pytest.fixture
def large(cloud):
    """An offering of the size that the stranger has."""
    sizes = {"cpunumber": 2, "cpuspeed": 500, "memory": 1024}
    return cloud.ask("createServiceOffering", name="l", displaytext="l", **sizes)["serviceoffering"]["id"]


def test_a_running_stranger_is_taken_over_while_it_runs_and_keeps_its_name(cloud, zone, large):
    stranger(zone, "Running")
    net = network(cloud, zone)
    vm = taken(cloud, zone, network=net, serviceofferingid=large)
    assert (vm["state"], vm["instancename"], vm["nic"][0]["macaddress"]) == ("Running", "by-hand", MAC)
    assert machines()["by-hand"].starts == 1 and broken() == []
    assert cloud.ask("listUnmanagedInstances", clusterid=zone["cluster"]) == {}
    cloud.job("rebootVirtualMachine", id=vm["id"])
    assert cloud.job("stopVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Stopped"
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"
    assert machines()["by-hand"].machine == vm["id"] and broken() == []
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    assert "by-hand" not in machines() and broken() == []


def test_a_machine_that_runs_is_taken_over_as_large_as_it_is_and_under_a_name_of_its_own(cloud, zone, large):
    stranger(zone, "Running")
    net, before = network(cloud, zone), held()
    with pytest.raises(Refused, match="choose one of that size"):
        taken(cloud, zone, network=net)
    with pytest.raises(Refused, match="Paused"):
        write(lambda tx: tx.execute(update(SimulatedMachine).values(state="Paused")))
        taken(cloud, zone, network=net, serviceofferingid=large)
    assert held() == before
    write(lambda tx: tx.execute(update(SimulatedMachine).values(state="Running")))
    vm = taken(cloud, zone, network=net, serviceofferingid=large)
    other = deploy(cloud, zone, networkids=net)
    cloud.job("stopVirtualMachine", id=other["id"])
    for name, told in (("by-hand", "already"), ("i-2-999-VM", "itself gives"), ("a b", "no name")):
        with pytest.raises(Refused, match=told):
            cloud.ask("updateVirtualMachine", id=other["id"], instancename=name)
    with pytest.raises(Refused, match="stop it"):
        cloud.ask("updateVirtualMachine", id=vm["id"], instancename="else")
    renamed = cloud.ask("updateVirtualMachine", id=other["id"], instancename="web.one")["virtualmachine"]
    cloud.work()
    assert renamed["instancename"] == "web.one" and other["instancename"] not in machines()
    cloud.job("startVirtualMachine", id=other["id"])
    assert "web.one" in machines() and broken() == []
    cloud.job("stopVirtualMachine", id=other["id"])
    back = cloud.ask("updateVirtualMachine", id=other["id"], instancename=other["instancename"])["virtualmachine"]
    cloud.work()
    assert back["instancename"] == other["instancename"] and broken() == []


def test_a_machine_that_was_let_go_while_it_ran_comes_back_while_it_runs(cloud, zone):
    deploy(cloud, zone, name="first")
    vm = deploy(cloud, zone, name="two")
    cloud.job("unmanageVirtualMachine", id=vm["id"])
    (found,) = cloud.ask("listUnmanagedInstances", clusterid=zone["cluster"])["unmanagedinstance"]
    nic = vm["nic"][0]
    sent = {"nicnetworklist[0].nic": nic["macaddress"], "hostname": "again", "name": found["name"]}
    address = {"nicipaddresslist[0].nic": nic["macaddress"], "nicipaddresslist[0].ip4Address": nic["ipaddress"]}
    back = taken(cloud, zone, network=nic["networkid"], **sent, **address)
    assert (back["id"], back["state"], back["ipaddress"]) == (vm["id"], "Running", nic["ipaddress"])
    assert back["nic"][0]["macaddress"] == nic["macaddress"] and broken() == []


def test_a_data_disk_needs_an_offering_of_its_own(cloud, zone):
    stranger(zone, disks=("a-root", "b-data"))
    net, before = network(cloud, zone), held()
    with pytest.raises(Refused, match="datadiskofferinglist"):
        taken(cloud, zone, network=net)
    assert held() == before
    offering = cloud.ask("createDiskOffering", name="d", displaytext="d", disksize=5)["diskoffering"]["id"]
    sent = {"datadiskofferinglist[0].disk": "vdb", "datadiskofferinglist[0].diskOffering": offering}
    vm = taken(cloud, zone, network=net, **sent)
    found = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert [(d["type"], d["deviceid"]) for d in found] == [("ROOT", 0), ("DATADISK", 1)] and broken() == []


def test_a_host_that_keeps_the_old_name_leaves_it_a_stranger(cloud, zone):
    stranger(zone)
    net, before = network(cloud, zone), held()
    cloud.ask("configureSimulator", name="forget", value="fail:no", count=1)
    with pytest.raises(Refused, match="forget"):
        taken(cloud, zone, network=net)
    assert held() == before and "by-hand" in machines()
    assert taken(cloud, zone, network=net)["state"] == "Stopped" and broken() == []


@pytest.mark.parametrize(
    ("values", "sent", "told"),
    [
        ({"state": "Running"}, {}, "shut it down first"),
        ({"disks": ()}, {}, "has no disk"),
        ({}, {"name": "nobody"}, "no unmanaged machine|No host"),
        ({}, {"nicnetworklist[0].nic": "06:00:00:00:00:09"}, "has no network"),
        ({}, {"hostname": "not a name"}, "hostname"),
        ({}, {"nicipaddresslist[0].nic": MAC, "nicipaddresslist[0].ip4Address": "10.9.9.9"}, "10.9.9.9"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_and_left(cloud, zone, values, sent, told):
    stranger(zone, **values)
    net, before = network(cloud, zone), held()
    with pytest.raises(Refused, match=told):
        taken(cloud, zone, network=net, **sent)
    assert held() == before and "by-hand" in machines()


def test_a_disk_of_ours_is_not_taken_over(cloud, zone):
    vm = deploy(cloud, zone)
    (disk,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    stranger(zone, disks=())
    write(
        lambda tx: tx.execute(
            update(SimulatedMachine).where(SimulatedMachine.name == "by-hand").values(disks=[disk["path"]])
        )
    )
    with pytest.raises(Refused, match="of this cloud already"):
        taken(cloud, zone, network=network(cloud, zone))


@pytest.mark.parametrize("state", ["Running", "Stopped"])
def test_a_machine_is_let_go_and_comes_back(cloud, zone, state):
    deploy(cloud, zone, name="first")
    vm = deploy(cloud, zone, name="two")
    (disk,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    if state == "Stopped":
        cloud.job("stopVirtualMachine", id=vm["id"])
    names = set(machines())
    left = cloud.job("unmanageVirtualMachine", id=vm["id"])["unmanagevirtualmachineresponse"]
    assert (left["success"], left["hostid"]) == (True, vm["hostid"]) and vm["instancename"] in left["details"]
    assert set(machines()) == names and cloud.ask("listVirtualMachines", id=vm["id"]) == {}
    (found,) = cloud.ask("listUnmanagedInstances", clusterid=zone["cluster"])["unmanagedinstance"]
    assert found["powerstate"] == {"Running": "PowerOn", "Stopped": "PowerOff"}[state]
    told = broken()
    assert all(found["name"] in t or disk["path"] in t for t in told), "what it held is given back"
    write(lambda tx: tx.execute(update(SimulatedMachine).values(state="Stopped").where(
        SimulatedMachine.name == found["name"])))  # fmt: skip
    nic = vm["nic"][0]
    more = {"nicnetworklist[0].nic": nic["macaddress"], "hostname": "again", "name": found["name"]}
    back = taken(cloud, zone, network=nic["networkid"], **more)
    assert cloud.job("startVirtualMachine", id=back["id"])["virtualmachine"]["state"] == "Running"
    assert broken() == []


def test_strangers_are_administrators_business(cloud, zone):
    cloud.account("ann")
    vm = deploy(cloud, zone, user="ann")
    for command, sent in (
        ("listUnmanagedInstances", {"clusterid": zone["cluster"]}),
        ("unmanageVirtualMachine", {"id": vm["id"]}),
    ):
        with pytest.raises(Refused) as no:
            cloud.ask(command, user="ann", **sent)
        assert no.value.status == 432


def made(cloud, zone, net, **more):
    sent = {"zoneid": zone["zone"], "clusterid": zone["cluster"], "hypervisor": "Simulator", "importsource": "shared"}
    disk = {"storageid": zone["pool"], "diskpath": "lonely", "networkid": net, "name": "from-disk"}
    sent |= disk | {"serviceofferingid": zone["offering"]}
    return cloud.job("importVm", **{**sent, **more})["virtualmachine"]


@pytest.fixture
def lonely(zone):
    """A disk in the pool that is nobody's."""
    disk = {"pool": zone["pool"], "name": "lonely", "size": GIB, "backing": "", "content": 7, "call": ""}
    write(lambda tx: tx.add(SimulatedDisk(**disk)))


def test_a_machine_is_made_of_a_disk_that_lies_in_a_pool(cloud, zone, lonely):
    net = network(cloud, zone)
    vm = made(cloud, zone, net)
    assert (vm["state"], vm["name"], vm["nic"][0]["networkid"]) == ("Stopped", "from-disk", net)
    (disk,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert (disk["type"], disk["path"], disk["size"], disk["state"]) == ("ROOT", "lonely", GIB, "Ready")
    assert broken() == []
    with pytest.raises(Refused, match="of this cloud already"):
        made(cloud, zone, net, name="again")
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"
    with reading() as session:
        assert session.scalar(select(SimulatedDisk.content).where(SimulatedDisk.name == "lonely")) == 7
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    assert broken() == []


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"importsource": "external"}, "logs in to no other host"),
        ({"importsource": "unmanaged"}, "importUnmanagedInstance"),
        ({"importsource": "local"}, "is shared storage"),
        ({"hypervisor": "KVM"}, "is of Simulator"),
        ({"diskpath": "nowhere"}, "nowhere"),
        ({"name": "not a name"}, "hostname"),
        ({"host": "192.0.2.7"}, "does not support"),
    ],
)
def test_a_machine_that_cannot_be_made_of_a_disk_is_refused(cloud, zone, lonely, sent, told):
    net, before = network(cloud, zone), held()
    with pytest.raises(Refused, match=told):
        made(cloud, zone, net, **sent)
    assert held() == before
