"""Settings of zones, networks and stores take effect: each is turned, and what it is for is looked at."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.storage import simulator
from mgmt_server.model.account import Account
from mgmt_server.model.storage import ImageStore
from mgmt_server.resources.imagestore.settings import at_host
from tests.api import test_nic
from tests.api.infrastructure import ZONE
from tests.api.test_nic import isolated, network
from tests.api.test_setting_effects import turn
from tests.cloud import Refused

zone = test_nic.zone


def of(name):
    with reading() as session:
        return session.scalar(select(Account.uuid).where(Account.name == name))


def shared(cloud, zone, name="shared", vlan="77", **more):
    offering = cloud.ask("listNetworkOfferings", name="DefaultSharedNetworkOffering")["networkoffering"][0]["id"]
    sent = {"zoneid": zone["zone"], "networkofferingid": offering, "vlan": vlan, "name": name, **more}
    return cloud.ask("createNetwork", **sent)["network"]


def test_networks_of_an_account_have_different_names_where_it_has_to_be(cloud, zone):
    cloud.account("ann")
    network(cloud, zone, name="same")
    network(cloud, zone, 4, name="same")
    turn(cloud, "allow.duplicate.networkname", "false", accountid=of("admin"))
    with pytest.raises(Refused, match="The account admin has a network same already"):
        network(cloud, zone, 5, name="same")
    network(cloud, zone, 5, name="other")
    for number in (6, 7):
        sent = {"zoneid": zone["zone"], "networkofferingid": isolated(cloud), "name": "same"}
        cloud.ask("createNetwork", user="ann", gateway=f"10.{number}.0.1", netmask="255.255.255.0", **sent)


def test_shared_networks_name_their_addresses_where_they_have_to(cloud, zone):
    assert shared(cloud, zone)["name"] == "shared"
    turn(cloud, "allow.empty.start.end.ipaddress", "false")
    with pytest.raises(Refused, match="startip and endip are missing"):
        shared(cloud, zone, "bare", "78")
    ends = {"startip": "192.0.2.10", "endip": "192.0.2.14", "gateway": "192.0.2.1", "netmask": "255.255.255.0"}
    assert shared(cloud, zone, "whole", "79", **ends)["name"] == "whole"


def test_domains_below_may_use_a_network_as_the_setting_says_where_nobody_says_it(cloud, zone):
    assert shared(cloud, zone)["subdomainaccess"] is True
    turn(cloud, "allow.subdomain.network.access", "false")
    assert shared(cloud, zone, "b", "78")["subdomainaccess"] is False
    assert shared(cloud, zone, "c", "79", subdomainaccess=True)["subdomainaccess"] is True


def test_users_networks_are_no_larger_than_the_setting_says(cloud, zone):
    cloud.account("ann")
    sent = {"zoneid": zone["zone"], "networkofferingid": isolated(cloud), "name": "n", "gateway": "10.3.0.1"}
    with pytest.raises(Refused, match="/21: networks of users are no larger than a /22"):
        cloud.ask("createNetwork", user="ann", netmask="255.255.248.0", **sent)
    cloud.ask("createNetwork", user="ann", netmask="255.255.252.0", **sent)
    cloud.ask("createNetwork", netmask="255.255.0.0", **sent)
    turn(cloud, "network.guest.cidr.limit", 20)
    cloud.ask("createNetwork", user="ann", netmask="255.255.248.0", **{**sent, "gateway": "10.4.0.1"})


def test_guests_have_private_ranges_unless_any_is_let(cloud, zone):
    east = {**ZONE, "name": "other", "guestcidraddress": "198.51.100.0/24"}
    sent = {"zoneid": zone["zone"], "networkofferingid": isolated(cloud), "name": "n", "netmask": "255.255.255.0"}
    for ask in (
        lambda: cloud.ask("createZone", **east),
        lambda: cloud.ask("updateZone", id=zone["zone"], guestcidraddress="198.51.100.0/24"),
        lambda: cloud.ask("createNetwork", gateway="198.51.100.1", **sent),
    ):
        turn(cloud, "allow.non.rfc1918.compliant.ips", "false")
        with pytest.raises(Refused, match="198.51.100.0/24 is no private range"):
            ask()
        turn(cloud, "allow.non.rfc1918.compliant.ips", "true")
        ask()
    turn(cloud, "allow.non.rfc1918.compliant.ips", "false")
    assert cloud.ask("createZone", **{**east, "name": "x", "guestcidraddress": "100.64.3.0/24"})


@pytest.mark.parametrize(("name", "key", "figure"), [
    ("listZonesMetrics", "zone", "clusters"), ("listClustersMetrics", "cluster", "hosts"),
])  # fmt: skip
def test_figures_of_zones_and_clusters_are_summed_up_or_not(cloud, zone, name, key, figure):
    (told,) = cloud.ask(name)[key]
    assert figure in told
    turn(cloud, "allow.list.metrics.computation", "false")
    (bare,) = cloud.ask(name)[key]
    assert figure not in bare and bare["id"] == told["id"]
    assert "powerstate" in cloud.ask("listHostsMetrics")["host"][0]


def test_secondary_storage_is_mounted_with_the_version_that_it_has_to_be(cloud, zone, monkeypatch):
    def store():
        with reading() as session:
            return session.scalar(select(ImageStore).where(ImageStore.uuid == zone["store"]))

    ran = []
    monkeypatch.setattr(nfs, "how", lambda: "mount")
    monkeypatch.setattr(nfs, "run", lambda argv, seconds: ran.append(argv[4]))
    monkeypatch.setattr(nfs.Path, "mkdir", lambda *args, **more: None)

    def mounted():
        with nfs._open(store().url):
            return ran[-1]

    assert "vers" not in mounted() and at_host(store()).details == {}
    turn(cloud, "secstorage.nfs.version", "3")
    assert mounted().endswith(",vers=3") and at_host(store()).details == {"nfsmountopts": "vers=3"}
    turn(cloud, "secstorage.nfs.version", "4.1", imagestoreuuid=zone["store"])
    assert mounted().endswith(",vers=4.1") and at_host(store()).details == {"nfsmountopts": "vers=4.1"}
    with pytest.raises(Refused, match="choose 3, 4, 4.0, 4.1, 4.2"):
        turn(cloud, "secstorage.nfs.version", "4,exec", imagestoreuuid=zone["store"])
    (seen,) = cloud.ask("listConfigurations", imagestoreuuid=zone["store"])["configuration"]
    assert (seen["name"], seen["value"], seen["scope"]) == ("secstorage.nfs.version", "4.1", "imagestore")
    turn(cloud, "secstorage.nfs.version", "", imagestoreuuid=zone["store"])
    assert "vers" not in mounted(), "an empty one is one too"


def test_disabled_pools_are_made_ready_on_a_host_that_connects_or_not(cloud, zone, monkeypatch):
    asked = []
    real = simulator.SimulatedStorage.add_pool
    monkeypatch.setattr(
        simulator.SimulatedStorage, "add_pool", lambda self, *told: (asked.append(told[-1].uuid), real(self, *told))[1]
    )
    host = zone["hosts"].split(",")[0]

    def ready():
        asked.clear()
        assert cloud.job("reconnectHost", id=host)["host"]["state"] == "Up"
        return zone["pool"] in asked

    turn(cloud, "mount.disabled.storage.pool", "false", clusterid=zone["cluster"])
    assert ready(), "one that is not disabled"
    cloud.ask("updateStoragePool", id=zone["pool"], enabled=False)
    assert not ready()
    turn(cloud, "mount.disabled.storage.pool", "true", clusterid=zone["cluster"])
    assert ready()
