"""Guest VLANs that an account keeps for its networks."""

import pytest
from sqlalchemy import select, update

from mgmt_server import db
from mgmt_server.allocation import addresses
from mgmt_server.errors import NoAddress
from mgmt_server.model import settings
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.network import Network
from mgmt_server.model.offering import NetworkOffering
from mgmt_server.model.zone import PhysicalNetwork
from tests.api.test_nic import network
from tests.api.test_vm import deploy
from tests.cloud import Refused
from tests.simulated import build

ZONE = {"name": "east", "networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}


@pytest.fixture
def physical(cloud):
    zone = cloud.ask("createZone", **ZONE)["zone"]["id"]
    for name, path in (("ann", "/a/"), ("eve", "/c/")):
        cloud.account(name, domain=path)
    return cloud.job("createPhysicalNetwork", zoneid=zone, name="n", vlan="100-105")["physicalnetwork"]["id"]


def domain(path):
    with db.reading() as session:
        return session.scalar(select(Domain.uuid).where(Domain.path == path))


def dedicate(cloud, physical, vlans, name="ann", path="/a/"):
    sent = {"physicalnetworkid": physical, "vlanrange": vlans, "account": name, "domainid": domain(path)}
    return cloud.ask("dedicateGuestVlanRange", **sent)["dedicatedguestvlanrange"]


@pytest.fixture
def taker(cloud, physical, request):
    """The VLAN that a new network of an account gets."""

    def take(name):
        def work(tx):
            account = tx.scalar(select(Account).where(Account.name == name))
            carrier = tx.scalar(select(PhysicalNetwork).where(PhysicalNetwork.uuid == physical))
            offering = tx.scalar(select(NetworkOffering.id).limit(1))
            network = Network(
                name="n", zone_id=carrier.zone_id, physical_network_id=carrier.id, offering_id=offering,
                traffic_type="Guest", guest_type="Isolated", account_id=account.id,
                domain_id=account.domain_id, details={},
            )  # fmt: skip
            tx.add(network)
            tx.flush()
            return addresses.take_vnet(tx, network)

        return db.write(work)

    return take


def test_a_dedicated_range_answers_as_the_protocol_says(cloud, physical):
    made = dedicate(cloud, physical, "102-103")
    with db.reading() as session:  # the protocol tells internal numbers here
        number, zone = session.execute(select(PhysicalNetwork.id, PhysicalNetwork.zone_id)).one()
    assert made == {
        "id": made["id"], "guestvlanrange": "102-103", "physicalnetworkid": number, "zoneid": zone, "account": "ann",
        "domainid": domain("/a/"), "domain": "a", "domainpath": "ROOT/a",
    }  # fmt: skip
    for asked in ({}, {"physicalnetworkid": physical}, {"guestvlanrange": "102-103"}, {"account": "ann"}):
        assert cloud.ask("listDedicatedGuestVlanRanges", **asked) == {"count": 1, "dedicatedguestvlanrange": [made]}
    for other in ({"guestvlanrange": "102-104"}, {"account": "eve"}, {"domainid": domain("/c/")}):
        assert cloud.ask("listDedicatedGuestVlanRanges", **other) == {}
    assert cloud.job("releaseDedicatedGuestVlanRange", id=made["id"]) == {"success": True}
    assert cloud.ask("listDedicatedGuestVlanRanges") == {}


def test_networks_take_vlans_of_their_account_first_and_never_those_of_others(cloud, physical, taker):
    dedicate(cloud, physical, "102-103")
    assert {taker("ann"), taker("ann")} == {102, 103} and taker("ann") == 100
    assert [taker("eve") for _ in range(3)] == [101, 104, 105]
    with pytest.raises(NoAddress, match="for this account"):
        taker("eve")


def test_an_account_may_be_kept_to_its_vlans(cloud, physical, taker):
    dedicate(cloud, physical, "102")
    cloud.ask("updateConfiguration", name="use.system.guest.vlans", value=False)
    settings.forget()
    assert taker("ann") == 102 and taker("eve") == 100
    with pytest.raises(NoAddress):
        taker("ann")


def test_vlans_that_others_have_are_not_dedicated(cloud, physical, taker):
    assert taker("eve") == 100
    with pytest.raises(Refused, match="100 by n") as no:
        dedicate(cloud, physical, "100-101")
    assert no.value.status == 536
    dedicate(cloud, physical, "101-102")
    with pytest.raises(Refused, match="101 to 102 are dedicated to account ann"):
        dedicate(cloud, physical, "102-103", "eve", "/c/")
    for wrong in ("105-106", "x", "103-104,105"):
        with pytest.raises(Refused) as no:
            dedicate(cloud, physical, wrong)
        assert no.value.status == 431
    with pytest.raises(Refused, match="dedicated to an account"):
        cloud.ask("updatePhysicalNetwork", id=physical, vlan="100-101")


def test_each_vlan_is_listed_with_who_has_it(cloud, physical, taker):
    dedicate(cloud, physical, "102-103")
    tag = taker("eve")
    found = cloud.ask("listGuestVlans", physicalnetworkid=physical)
    assert found["count"] == 6 and [v["vlan"] for v in found["guestvlan"]] == [str(n) for n in range(100, 106)]
    by_tag = {v["vlan"]: v for v in found["guestvlan"]}
    taken, kept = by_tag[str(tag)], by_tag["102"]
    assert taken["allocationstate"] == "Allocated" and [n["name"] for n in taken["network"]] == ["n"]
    assert taken["isdedicated"] is False and "account" not in taken
    assert (kept["allocationstate"], kept["isdedicated"], kept["network"]) == ("Free", True, [])
    assert (kept["account"], kept["domainpath"], kept["zonename"]) == ("ann", "ROOT/a", "east")
    assert kept["physicalnetworkid"] == physical and kept["physicalnetworkname"] == "n"
    assert isinstance(kept["id"], int) and cloud.ask("listGuestVlans", id=kept["id"])["guestvlan"] == [kept]
    (only,) = cloud.ask("listGuestVlans", allocatedonly=True, zoneid=kept["zoneid"])["guestvlan"]
    assert only == taken and cloud.ask("listGuestVlans", vnet=tag)["guestvlan"] == [taken]
    assert [v["vlan"] for v in cloud.ask("listGuestVlans", keyword="10", page=2, pagesize=4)["guestvlan"]] == [
        "104",
        "105",
    ]
    assert cloud.ask("listGuestVlans", vnet=99) == {}
    with pytest.raises(Refused, match="is no VLAN or VNI"):
        cloud.ask("listGuestVlans", vnet="x")
    with pytest.raises(Refused) as no:
        cloud.ask("listGuestVlans", user="ann")
    assert no.value.status == 432


@pytest.mark.parametrize(("isolation", "kind", "word"), [("VLAN", "VLAN", "VLAN"), ("VXLAN", "VXLAN", "VNI")])
def test_what_a_network_takes_of_its_zone_and_gives_back_is_told(cloud, isolation, kind, word):
    zone = build()
    db.write(lambda tx: tx.execute(update(PhysicalNetwork).values(isolation=isolation)) and None)
    zone["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    net = network(cloud, zone)
    assert cloud.ask("listEvents", keyword="LAN.ASSIGN") == {}, "not before a machine needs it"
    vm = deploy(cloud, zone, networkids=net)
    (told,) = cloud.ask("listEvents", type=f"ZONE.{kind}.ASSIGN")["event"]
    tag = cloud.ask("listNetworks", id=net)["network"][0]["vlan"]
    name = cloud.ask("listNetworks", id=net)["network"][0]["name"]
    assert told["description"] == f"{word} {tag} was given to network {name}"
    assert (told["resourcetype"], told["resourceid"], told["username"]) == ("Network", net, "system")
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    cloud.job("deleteNetwork", id=net)
    (told,) = cloud.ask("listEvents", type=f"ZONE.{kind}.RELEASE")["event"]
    assert told["description"] == f"{word} {tag} was given back by network {name}"
