"""Clusters over the wire."""

import pytest

from mgmt_server import db
from mgmt_server.model import settings
from mgmt_server.model.event import SettingValue
from mgmt_server.resources.cluster.timers import factors
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.cloud import Refused


@pytest.fixture
def place(cloud):
    return zone_with_pod(cloud)


def test_a_cluster_answers_as_the_protocol_says(cloud, place):
    made = cluster(cloud, *place)
    (seen,) = cloud.ask("listClusters", zoneid=place[0])["cluster"]
    assert seen == {
        "id": made, "name": "c1", "podid": place[1], "podname": "p1", "zoneid": place[0], "zonename": "east",
        "hypervisortype": "Simulator", "clustertype": "CloudManaged", "allocationstate": "Enabled",
        "managedstate": "Managed", "cpuovercommitratio": "1.0", "memoryovercommitratio": "1.0",
        "resourcedetails": {"memoryOvercommitRatio": "1.0", "cpuOvercommitRatio": "1.0"}, "arch": "x86_64",
        "hasannotations": False,
    }  # fmt: skip
    changed = cloud.ask(
        "updateCluster", id=made, allocationstate="Disabled", clustername="c2", managedstate="unmanaged"
    )
    assert (changed["cluster"]["allocationstate"], changed["cluster"]["name"]) == ("Disabled", "c2")
    assert changed["cluster"]["managedstate"] == "Unmanaged"


def test_names_are_taken_once_and_bad_values_told(cloud, place):
    cluster(cloud, *place)
    with pytest.raises(Refused, match="choose another name") as no:
        cluster(cloud, *place)
    assert no.value.status == 530
    with pytest.raises(Refused, match="none of KVM, Simulator") as no:
        cluster(cloud, *place, "c2", "Bogus")
    assert no.value.status == 431
    sent = {"zoneid": place[0], "podid": place[1], "clustername": "c2", "hypervisor": "KVM"}
    with pytest.raises(Refused, match="none of CloudManaged"):
        cloud.ask("addCluster", **sent, clustertype="Bogus")
    with pytest.raises(Refused, match="does not support the parameter vsmpassword"):
        cloud.ask("addCluster", **sent, clustertype="CloudManaged", vsmpassword="x")


def test_one_with_hosts_stays(cloud, place):
    made = cluster(cloud, *place)
    host(cloud, *place, made)
    with pytest.raises(Refused, match=r"still has 1 host") as no:
        cloud.ask("deleteCluster", id=made)
    assert no.value.status == 530
    with pytest.raises(Refused, match=r"still has 1 host"):
        cloud.ask("updateCluster", id=made, hypervisor="KVM")
    with pytest.raises(Refused, match=r"still has 1 cluster") as no:
        cloud.ask("deletePod", id=place[1])
    assert no.value.status == 530
    (there,) = cloud.ask("listHosts")["host"]
    cloud.ask("deleteHost", id=there["id"], forced=True)
    assert cloud.ask("deleteCluster", id=made) == {"success": True}
    assert cloud.ask("listClusters") == {}


def test_factors_follow_the_settings(cloud, place):
    made = cluster(cloud, *place)
    host(cloud, *place, made)
    db.write(lambda tx: tx.add(SettingValue(name="cpu.overprovisioning.factor", value="2.5")))
    settings.forget()
    factors()
    (seen,) = cloud.ask("listClusters")["cluster"]
    assert seen["cpuovercommitratio"] == "2.5"
    (there,) = cloud.ask("listHosts")["host"]
    assert (there["cpuwithoverprovisioning"], there["memorywithoverprovisioning"]) == ("80000", "8589934592")
