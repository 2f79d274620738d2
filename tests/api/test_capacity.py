"""Capacities over the wire."""

import pytest
from sqlalchemy import update

from mgmt_server import db
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.cloud import Refused


@pytest.fixture
def place(cloud):
    zone, pod = zone_with_pod(cloud)
    network = cloud.job("createPhysicalNetwork", zoneid=zone, name="n", vlan="100-199")["physicalnetwork"]["id"]
    cloud.job("addTrafficType", physicalnetworkid=network, traffictype="Public")
    cloud.ask("createVlanIpRange", zoneid=zone, gateway="192.0.2.1", netmask="255.255.255.0", startip="192.0.2.2",
              endip="192.0.2.11")  # fmt: skip
    made = cluster(cloud, zone, pod)
    for n in range(2):
        host(cloud, zone, pod, made, f"http://sim/c1/h{n}")
    cloud.ask("createStoragePool", zoneid=zone, podid=pod, clusterid=made, name="p", url="nfs://192.0.2.1/x")
    return zone, pod, made


def test_a_zone_tells_what_it_has(cloud, place):
    db.write(lambda tx: tx.execute(update(Host).values(memory_used=1 << 30, cpu_used=1000)))
    db.write(lambda tx: tx.execute(update(Pool).values(allocated=1 << 30)))
    found = cloud.ask("listCapacity", zoneid=place[0])
    assert found["count"] == 11
    by = {c["type"]: c for c in found["capacity"]}
    assert by[0] == {
        "type": 0, "name": "MEMORY", "zoneid": place[0], "zonename": "east", "capacityallocated": 2 << 30,
        "capacityused": 2 << 30, "capacitytotal": 16 << 30, "percentused": "12.5",
    }  # fmt: skip
    assert (by[1]["capacityused"], by[1]["capacitytotal"], by[1]["percentused"]) == (2000, 64000, "3.12")
    assert (by[2]["capacityused"], by[2]["capacitytotal"], by[2]["percentused"]) == (0, 1 << 40, "0")
    assert (by[3]["capacityused"], by[3]["capacitytotal"]) == (1 << 30, 2 << 40)
    assert (by[4]["capacityused"], by[4]["capacitytotal"]) == (0, 10)
    assert (by[5]["capacitytotal"], by[7]["capacitytotal"], by[9]["capacitytotal"]) == (199, 100, 0)
    assert by[90]["capacitytotal"] == 8


def test_narrower_places_and_order(cloud, place):
    cloud.ask("createZone", name="west", networktype="Advanced", dns1="192.0.2.53", internaldns1="192.0.2.53")
    assert cloud.ask("listCapacity", type=1)["count"] == 2
    (one,) = cloud.ask("listCapacity", clusterid=place[2], type=1)["capacity"]
    assert (one["clustername"], one["podname"], one["capacitytotal"]) == ("c1", "p1", 64000)
    assert 4 not in {c["type"] for c in cloud.ask("listCapacity", podid=place[1])["capacity"]}
    db.write(lambda tx: tx.execute(update(Host).values(memory_used=8 << 30)))
    first = cloud.ask("listCapacity", sortby="usage", page=1, pagesize=1)
    assert first["count"] == 22 and first["capacity"][0]["name"] == "MEMORY"
    for wrong in ({"type": 77}, {"sortby": "colour"}, {"tag": "x"}):
        with pytest.raises(Refused) as no:
            cloud.ask("listCapacity", **wrong)
        assert no.value.status == 431


def test_hosts_that_are_not_up_do_not_count(cloud, place):
    first = cloud.ask("listHosts")["host"][0]["id"]
    db.write(lambda tx: tx.execute(update(Host).where(Host.uuid == first).values(state="Down")))
    (one,) = cloud.ask("listCapacity", type=0)["capacity"]
    assert one["capacitytotal"] == 8 << 30
