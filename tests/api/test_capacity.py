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
    for wrong in ({"type": 77}, {"sortby": "colour"}):
        with pytest.raises(Refused) as no:
            cloud.ask("listCapacity", **wrong)
        assert no.value.status == 431


def test_hosts_that_are_not_up_do_not_count(cloud, place):
    first = cloud.ask("listHosts")["host"][0]["id"]
    db.write(lambda tx: tx.execute(update(Host).where(Host.uuid == first).values(state="Down")))
    (one,) = cloud.ask("listCapacity", type=0)["capacity"]
    assert one["capacitytotal"] == 8 << 30


def test_a_type_that_the_cloud_has_nothing_of_is_answered_by_nothing(cloud, place):
    assert [cloud.ask("listCapacity", type=n) for n in (10, 19, 20, 21)] == [{}] * 4


def test_what_is_tagged_is_told_apart(cloud, place):
    first = cloud.ask("listHosts")["host"][0]["id"]
    cloud.ask("updateHost", id=first, hosttags="ssd,fast")
    found = {c["name"]: c for c in cloud.ask("listCapacity", tag="fast")["capacity"]}
    assert set(found) == {"MEMORY", "CPU", "CPU_CORE", "STORAGE", "STORAGE_ALLOCATED", "LOCAL_STORAGE"}
    assert (found["MEMORY"]["capacitytotal"], found["MEMORY"]["tag"]) == (8 << 30, "fast")
    assert found["STORAGE"]["capacitytotal"] == 0
    (none,) = cloud.ask("listCapacity", tag="fas", type=0)["capacity"]
    assert none["capacitytotal"] == 0


def test_zones_pods_and_clusters_tell_their_capacity_when_asked(cloud, place):
    zone, pod, made = place
    for command, key, number, absent in (
        ("listZones", "zone", zone, ()), ("listPods", "pod", pod, (4, 7)), ("listClusters", "cluster", made, (4, 5, 7)),
    ):  # fmt: skip
        (plain,) = cloud.ask(command, id=number)[key]
        (found,) = cloud.ask(command, id=number, showcapacities=True)[key]
        told = {c["type"]: c for c in found.pop("capacity")}
        assert found == plain and "capacity" not in plain
        assert told[1] == {"type": 1, "name": "CPU", "capacityused": 0, "capacitytotal": 64000, "percentused": "0"}
        assert {2, 3, 90} <= told.keys() and not told.keys() & set(absent)


def test_users_are_told_no_capacity(cloud, place):
    cloud.ask("updateZone", id=place[0], allocationstate="Enabled")
    cloud.account("ann")
    assert "capacity" not in cloud.ask("listZones", user="ann", showcapacities=True)["zone"][0]


def test_tags_are_listed_by_page_and_keyword(cloud, place):
    first, second = (h["id"] for h in cloud.ask("listHosts")["host"])
    cloud.ask("updateHost", id=first, hosttags="ssd,fast")
    cloud.ask("updateHost", id=second, hosttags="ssd")
    found = cloud.ask("listHostTags")
    assert found["count"] == 3 and [t["name"] for t in found["hosttag"]] == ["ssd", "fast", "ssd"]
    assert [t["name"] for t in cloud.ask("listHostTags", keyword="FA")["hosttag"]] == ["fast"]
    page = cloud.ask("listHostTags", page=2, pagesize=2)
    assert page["count"] == 3 and [t["id"] for t in page["hosttag"]] == ["3"]
    db.write(lambda tx: tx.execute(update(Pool).values(tags="a,b")))
    assert [t["name"] for t in cloud.ask("listStorageTags")["storagetag"]] == ["a", "b"]
