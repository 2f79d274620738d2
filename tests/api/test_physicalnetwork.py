"""Physical networks, traffic types and providers over the wire."""

import pytest

from mgmt_server import db
from mgmt_server.model.zone import Vnet
from tests.cloud import Refused

ZONE = {"name": "east", "networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}


@pytest.fixture
def zone(cloud):
    return cloud.ask("createZone", **ZONE)["zone"]["id"]


@pytest.fixture
def network(cloud, zone):
    made = cloud.job("createPhysicalNetwork", zoneid=zone, name="pnet", isolationmethods="VLAN")
    return made["physicalnetwork"]["id"]


def tags():
    with db.reading() as session:
        return sorted(session.query(Vnet.tag).all())


def test_a_network_is_made_with_the_answers_of_the_protocol(cloud, zone):
    accepted = cloud.ask("createPhysicalNetwork", zoneid=zone, name="pnet", isolationmethods="VLAN")
    assert set(accepted) == {"id", "jobid"}
    cloud.work()
    (seen,) = cloud.ask("listPhysicalNetworks", zoneid=zone)["physicalnetwork"]
    assert seen == {
        "id": accepted["id"], "name": "pnet", "broadcastdomainrange": "ZONE", "zoneid": zone, "zonename": "east",
        "state": "Disabled", "isolationmethods": "VLAN",
    }  # fmt: skip
    done = cloud.job("updatePhysicalNetwork", id=accepted["id"], state="Enabled", vlan="100-102,200")
    assert done["physicalnetwork"]["state"] == "Enabled" and done["physicalnetwork"]["vlan"] == "100-102,200"
    assert [t for (t,) in tags()] == [100, 101, 102, 200]


def test_a_range_shrinks_around_what_is_used_only(cloud, network):
    cloud.job("updatePhysicalNetwork", id=network, vlan="100-110")
    cloud.job("updatePhysicalNetwork", id=network, vlan="105-112")
    assert [t for (t,) in tags()] == list(range(105, 113))
    for wrong in ("200-100", "0-5", "4000-5000", "x", "1-5,3"):
        with pytest.raises(Refused) as no:
            cloud.job("updatePhysicalNetwork", id=network, vlan=wrong)
        assert no.value.status == 431
    assert [t for (t,) in tags()] == list(range(105, 113))


def test_an_enabled_zone_takes_none_and_names_are_taken_once(cloud, zone, network):
    with pytest.raises(Refused, match="already exists"):
        cloud.ask("createPhysicalNetwork", zoneid=zone, name="pnet")
    cloud.ask("updateZone", id=zone, allocationstate="Enabled")
    with pytest.raises(Refused, match="disable it before") as no:
        cloud.ask("createPhysicalNetwork", zoneid=zone, name="other")
    assert no.value.status == 531


def test_a_basic_zone_has_one_network_without_vlans(cloud):
    basic = cloud.ask("createZone", **{**ZONE, "name": "flat", "networktype": "Basic"})["zone"]["id"]
    made = cloud.job("createPhysicalNetwork", zoneid=basic, name="b", isolationmethods="L3")["physicalnetwork"]
    assert (made["broadcastdomainrange"], made["isolationmethods"]) == ("POD", "L3")
    with pytest.raises(Refused, match="one only"):
        cloud.ask("createPhysicalNetwork", zoneid=basic, name="c")
    with pytest.raises(Refused, match="is for Advanced zones"):
        cloud.ask("updatePhysicalNetwork", id=made["id"], vlan="100-200")


def test_traffic_types_have_labels_and_stand_once(cloud, network):
    made = cloud.job("addTrafficType", physicalnetworkid=network, traffictype="guest", kvmnetworklabel="cloudbr1")
    assert made["traffictype"]["traffictype"] == "Guest"
    assert made["traffictype"]["kvmnetworklabel"] == "cloudbr1"
    with pytest.raises(Refused, match="is on physical network pnet already"):
        cloud.ask("addTrafficType", physicalnetworkid=network, traffictype="Guest")
    with pytest.raises(Refused, match="cannot be a bridge"):
        cloud.ask("addTrafficType", physicalnetworkid=network, traffictype="Public", kvmnetworklabel="much/too/long/x")
    changed = cloud.job("updateTrafficType", id=made["traffictype"]["id"], xennetworklabel="cloud")["traffictype"]
    assert (changed["kvmnetworklabel"], changed["xennetworklabel"]) == ("cloudbr1", "cloud")
    assert cloud.job("deleteTrafficType", id=made["traffictype"]["id"]) == {"success": True}
    assert cloud.ask("listTrafficTypes", physicalnetworkid=network) == {}
    cloud.job("addTrafficType", physicalnetworkid=network, traffictype="Guest")
    assert cloud.ask("listTrafficTypeImplementors", traffictype="Public")["traffictypeimplementorresponse"] == [
        {"traffictype": "Public", "traffictypeimplementor": "PublicNetworkGuru"}
    ]


def test_the_router_is_enabled_as_clients_do_it(cloud, network):
    sent = {"name": "VirtualRouter", "physicalnetworkid": network, "state": "Disabled"}
    (provider,) = cloud.ask("listNetworkServiceProviders", **sent)["networkserviceprovider"]
    assert provider["servicelist"][0] == "Vpn" and provider["canenableindividualservice"] is True
    with pytest.raises(Refused, match="configureVirtualRouterElement first"):
        cloud.ask("updateNetworkServiceProvider", id=provider["id"], state="Enabled")
    (element,) = cloud.ask("listVirtualRouterElements", nspid=provider["id"])["virtualrouterelement"]
    assert element == {"id": element["id"], "nspid": provider["id"], "enabled": False}
    done = cloud.job("configureVirtualRouterElement", id=element["id"], enabled=True)
    assert done["virtualrouterelement"]["enabled"] is True
    done = cloud.job("updateNetworkServiceProvider", id=provider["id"], state="Enabled")
    assert done["networkserviceprovider"]["state"] == "Enabled"
    assert cloud.ask("listInternalLoadBalancerElements")["count"] == 1
    assert cloud.ask("listVirtualRouterElements")["count"] == 2


def test_providers_are_added_once_and_removed(cloud, network):
    with pytest.raises(Refused, match="is on physical network pnet already"):
        cloud.ask("addNetworkServiceProvider", name="VirtualRouter", physicalnetworkid=network)
    (found,) = cloud.ask("listNetworkServiceProviders", name="VirtualRouter")["networkserviceprovider"]
    assert cloud.job("deleteNetworkServiceProvider", id=found["id"]) == {"success": True}
    again = cloud.job("addNetworkServiceProvider", name="virtualrouter", physicalnetworkid=network, servicelist="Dhcp")
    assert again["networkserviceprovider"]["servicelist"] == ["Dhcp"]
    listed = cloud.ask("listSupportedNetworkServices", service="Lb")["networkservice"]
    assert {"name": "InternalLbVm", "canenableindividualservice": True} in listed[0]["provider"]


def test_deleting_leaves_nothing(cloud, network):
    cloud.job("updatePhysicalNetwork", id=network, vlan="100-110")
    cloud.job("addTrafficType", physicalnetworkid=network, traffictype="Guest")
    assert cloud.job("deletePhysicalNetwork", id=network) == {"success": True}
    assert cloud.ask("listPhysicalNetworks") == {} and tags() == []
    assert cloud.ask("listNetworkServiceProviders") == {}
    with pytest.raises(Refused):
        cloud.ask("listTrafficTypes", physicalnetworkid="nonsense")
