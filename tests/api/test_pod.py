"""Pods and their ranges over the wire."""

import pytest
from sqlalchemy import func, select, update

from mgmt_server import db
from mgmt_server.model.zone import PodAddress
from tests.cloud import Refused

ZONE = {"name": "east", "networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}
POD = {
    "name": "p1", "gateway": "172.16.15.1", "netmask": "255.255.255.0", "startip": "172.16.15.2",
    "endip": "172.16.15.20",
}  # fmt: skip


@pytest.fixture
def zone(cloud):
    return cloud.ask("createZone", **ZONE)["zone"]["id"]


@pytest.fixture
def pod(cloud, zone):
    return cloud.ask("createPod", zoneid=zone, **POD)["pod"]


def count():
    with db.reading() as session:
        return session.scalar(select(func.count()).select_from(PodAddress))


def test_a_pod_answers_as_the_protocol_says(cloud, zone, pod):
    assert pod == {
        "id": pod["id"], "name": "p1", "zoneid": zone, "zonename": "east", "gateway": "172.16.15.1",
        "netmask": "255.255.255.0", "allocationstate": "Enabled", "hasannotations": False, "startip": ["172.16.15.2"],
        "endip": ["172.16.15.20"], "forsystemvms": ["0"], "vlanid": ["vlan://untagged"],
        "ipranges": [
            {"startip": "172.16.15.2", "endip": "172.16.15.20", "forsystemvms": "0", "vlanid": "vlan://untagged"}
        ],
    }  # fmt: skip
    assert cloud.ask("listPods", zoneid=zone)["pod"] == [pod] and count() == 19


def test_ranges_move_around_addresses_that_are_held(cloud, pod):
    changed = cloud.ask("updatePod", id=pod["id"], name="p2", endip="172.16.15.10")["pod"]
    assert (changed["name"], changed["endip"]) == ("p2", ["172.16.15.10"]) and count() == 9
    db.write(lambda tx: tx.execute(update(PodAddress).where(PodAddress.address == "172.16.15.9").values(vm_id=None)))
    db.write(_hold, "172.16.15.9")
    with pytest.raises(Refused, match="system VMs have management addresses") as no:
        cloud.ask("updatePod", id=pod["id"], endip="172.16.15.8")
    assert no.value.status == 530 and count() == 9
    with pytest.raises(Refused) as no:
        cloud.ask("deletePod", id=pod["id"])
    assert no.value.status == 530 and cloud.ask("listPods")["count"] == 1


def _hold(tx, address):
    from mgmt_server.model.offering import DiskOffering, ServiceOffering
    from mgmt_server.model.vm import Vm
    from mgmt_server.model.zone import Zone

    disk = DiskOffering(name="d")
    tx.add(disk)
    tx.flush()
    offering = ServiceOffering(name="s", disk_offering_id=disk.id)
    tx.add(offering)
    tx.flush()
    zone = tx.scalar(select(Zone.id))
    vm = Vm(name="v", zone_id=zone, service_offering_id=offering.id, hypervisor="Simulator", account_id=1, domain_id=1)
    tx.add(vm)
    tx.flush()
    tx.execute(update(PodAddress).where(PodAddress.address == address).values(vm_id=vm.id))


def test_a_second_range_comes_and_goes(cloud, pod):
    sent = {"podid": pod["id"], "gateway": "172.16.15.1", "netmask": "255.255.255.0"}
    more = cloud.job("createManagementNetworkIpRange", **sent, startip="172.16.15.30", endip="172.16.15.31", vlan="7")
    assert more["pod"]["startip"] == ["172.16.15.2", "172.16.15.30"] and more["pod"]["vlanid"][1] == "vlan://7"
    with pytest.raises(Refused, match="has 2 ranges"):
        cloud.ask("updatePod", id=pod["id"], endip="172.16.15.10")
    gone = {"podid": pod["id"], "startip": "172.16.15.30", "endip": "172.16.15.31"}
    with pytest.raises(Refused, match="on VLAN 7"):
        cloud.ask("deleteManagementNetworkIpRange", **gone, vlan="untagged")
    cloud.job(
        "updatePodManagementNetworkIpRange", podid=pod["id"], currentstartip="172.16.15.30",
        currentendip="172.16.15.31", newendip="172.16.15.33",
    )  # fmt: skip
    assert count() == 23
    gone["endip"] = "172.16.15.33"
    assert cloud.job("deleteManagementNetworkIpRange", **gone, vlan="7") == {"success": True}
    assert count() == 19


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "p1"}, "already exists"),
        ({"startip": "172.32.0.2", "endip": "172.32.0.5"}, "is not in 172.16.16.0/24"),
        ({"startip": "172.16.16.1"}, "the gateway"),
        ({"netmask": "255.0.255.0"}, "no netmask"),
        ({"gateway": ""}, "gateway and netmask"),
        ({"startip": ""}, "startip is missing"),
        ({"gateway": "172.16.15.1", "startip": "172.16.15.20", "endip": "172.16.15.30"}, "that of pod p1"),
        ({"gateway": "10.1.1.129", "netmask": "255.255.255.128"}, "10.1.1.0/24, that of the zone's guests"),
    ],
)
def test_bad_pods_are_refused_and_leave_nothing(cloud, zone, pod, wrong, told):
    sent = {"name": "p2", "gateway": "172.16.16.1", "netmask": "255.255.255.0", "startip": "172.16.16.2",
            "endip": "172.16.16.9"}  # fmt: skip
    with pytest.raises(Refused, match=told) as no:
        cloud.ask("createPod", zoneid=zone, **{**sent, **wrong})
    assert no.value.status == 431
    assert cloud.ask("listPods")["count"] == 1 and count() == 19


def test_deleting_takes_the_addresses(cloud, zone, pod):
    assert cloud.ask("deletePod", id=pod["id"]) == {"success": True}
    assert count() == 0 and cloud.ask("listPods") == {}
    cloud.ask("createPod", zoneid=zone, **POD)


def test_the_storage_network_has_ranges(cloud, zone, pod):
    sent = {"podid": pod["id"], "gateway": "10.9.0.1", "netmask": "255.255.255.0", "startip": "10.9.0.5"}
    with pytest.raises(Refused, match="carries Storage traffic"):
        cloud.ask("createStorageNetworkIpRange", **sent)
    network = cloud.job("createPhysicalNetwork", zoneid=zone, name="n")["physicalnetwork"]["id"]
    cloud.job("addTrafficType", physicalnetworkid=network, traffictype="Storage")
    made = cloud.job("createStorageNetworkIpRange", **sent, endip="10.9.0.9", vlan=7)["storagenetworkiprange"]
    assert (made["vlan"], made["podid"], made["endip"]) == (7, pod["id"], "10.9.0.9")
    with pytest.raises(Refused, match="overlaps"):
        cloud.ask("createStorageNetworkIpRange", **sent, endip="10.9.0.5")
    changed = cloud.job("updateStorageNetworkIpRange", id=made["id"], endip="10.9.0.12")["storagenetworkiprange"]
    assert changed["endip"] == "10.9.0.12"
    assert cloud.job("deleteStorageNetworkIpRange", id=made["id"]) == {"success": True}
    assert cloud.ask("listStorageNetworkIpRange") == {}


def test_pods_share_a_management_network_where_the_setting_lets_them(cloud, zone, pod):
    second = {"name": "p2", "gateway": "172.16.15.1", "netmask": "255.255.255.0", "startip": "172.16.15.100"}
    with pytest.raises(Refused, match="meets 172.16.15.0/24, that of pod p1"):
        cloud.ask("createPod", zoneid=zone, **second)
    apart = cloud.ask("createPod", zoneid=zone, **{**second, "gateway": "172.16.16.1", "startip": "172.16.16.2"})["pod"]
    with pytest.raises(Refused, match="that of pod p1"):
        cloud.ask("updatePod", id=apart["id"], netmask="255.255.0.0")
    cloud.ask("updatePod", id=apart["id"], netmask="255.255.255.0")
    cloud.ask("updateConfiguration", name="check.pod.cidrs", value="false")
    with pytest.raises(Refused, match="overlaps 172.16.15.2"):
        cloud.ask("createPod", zoneid=zone, **{**second, "name": "p3", "startip": "172.16.15.20"})
    assert cloud.ask("createPod", zoneid=zone, **{**second, "name": "p3"})["pod"]["name"] == "p3"
