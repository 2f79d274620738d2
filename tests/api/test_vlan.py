"""Ranges of public addresses, and of shared networks, over the wire."""

import pytest
from sqlalchemy import func, select, update

from mgmt_server import db
from mgmt_server.allocation import addresses
from mgmt_server.errors import NoAddress
from mgmt_server.model import settings
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.network import Network
from mgmt_server.model.zone import Address, Zone
from tests.cloud import Refused

ZONE = {"name": "east", "networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}
RANGE = {
    "gateway": "192.168.2.1", "netmask": "255.255.255.0", "startip": "192.168.2.2", "endip": "192.168.2.20", "vlan": 50,
    "forvirtualnetwork": True,
}  # fmt: skip


@pytest.fixture
def zone(cloud):
    made = cloud.ask("createZone", **ZONE)["zone"]["id"]
    network = cloud.job("createPhysicalNetwork", zoneid=made, name="n")["physicalnetwork"]["id"]
    cloud.job("addTrafficType", physicalnetworkid=network, traffictype="Public")
    return made


def count(**where):
    with db.reading() as session:
        return session.scalar(select(func.count()).select_from(Address).filter_by(**where))


def test_a_public_range_answers_as_the_protocol_says(cloud, zone):
    made = cloud.ask("createVlanIpRange", zoneid=zone, **RANGE)["vlan"]
    assert made == {
        "id": made["id"], "forvirtualnetwork": True, "zoneid": zone, "vlan": "vlan://50", "gateway": "192.168.2.1",
        "netmask": "255.255.255.0", "cidr": "192.168.2.0/24", "startip": "192.168.2.2", "endip": "192.168.2.20",
        "physicalnetworkid": made["physicalnetworkid"], "forsystemvms": False,
    }  # fmt: skip
    assert cloud.ask("listVlanIpRanges", vlan="vlan://50") == {"count": 1, "vlaniprange": [made]}
    assert cloud.ask("listVlanIpRanges", forvirtualnetwork=False) == {} and count() == 19


def test_the_same_vlan_is_given_out_once(cloud, zone):
    cloud.ask("createVlanIpRange", zoneid=zone, **RANGE)
    with pytest.raises(Refused, match="overlaps 192.168.2.2 to 192.168.2.20"):
        cloud.ask("createVlanIpRange", zoneid=zone, **{**RANGE, "startip": "192.168.2.20", "endip": "192.168.2.30"})
    cloud.ask("createVlanIpRange", zoneid=zone, **{**RANGE, "vlan": 51})
    assert count() == 38


def test_a_range_keeps_what_is_in_use(cloud, zone):
    made = cloud.ask("createVlanIpRange", zoneid=zone, **RANGE)["vlan"]["id"]
    changed = cloud.ask("updateVlanIpRange", id=made, endip="192.168.2.30", forsystemvms=True)["vlan"]
    assert changed["endip"] == "192.168.2.30" and changed["forsystemvms"] is True and count() == 29
    db.write(lambda tx: tx.execute(update(Address).where(Address.address == "192.168.2.9").values(state="Allocated")))
    for command, sent in (("updateVlanIpRange", {"endip": "192.168.2.8"}), ("deleteVlanIpRange", {})):
        with pytest.raises(Refused, match=r"192\.168\.2\.9") as no:
            cloud.ask(command, id=made, **sent)
        assert no.value.status == 536 and count() == 29
    db.write(lambda tx: tx.execute(update(Address).values(state="Free")))
    assert cloud.ask("deleteVlanIpRange", id=made) == {"success": True}
    assert count() == 0 and cloud.ask("listVlanIpRanges") == {}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"startip": ""}, "startip is missing"),
        ({"gateway": ""}, "gateway and netmask"),
        ({"startip": "192.168.3.2", "endip": "192.168.3.9"}, "is not in 192.168.2.0/24"),
        ({"vlan": "x"}, "vlan=x is none"),
        ({"account": "nobody"}, "account"),
        ({"zoneid": ""}, "zoneid is missing"),
        ({"forvirtualnetwork": False}, "networkid is missing"),
    ],
)
def test_bad_ranges_are_refused(cloud, zone, wrong, told):
    with pytest.raises(Refused, match=told) as no:
        cloud.ask("createVlanIpRange", **{"zoneid": zone, **RANGE, **wrong})
    assert no.value.status == 431 and count() == 0


def test_a_zone_without_public_traffic_is_told(cloud):
    bare = cloud.ask("createZone", **{**ZONE, "name": "bare"})["zone"]["id"]
    with pytest.raises(Refused, match="add it with addTrafficType"):
        cloud.ask("createVlanIpRange", zoneid=bare, **RANGE)
    basic = cloud.ask("createZone", **{**ZONE, "name": "flat", "networktype": "Basic"})["zone"]["id"]
    with pytest.raises(Refused, match="has no public network"):
        cloud.ask("createVlanIpRange", zoneid=basic, **RANGE)


def domain(path):
    with db.reading() as session:
        return session.scalar(select(Domain.uuid).where(Domain.path == path))


@pytest.fixture
def public(cloud, zone):
    """Two ranges of a few addresses; ann in /a/, bob in /a/b/, eve in /c/. Gives their ids."""
    for name, path in (("ann", "/a/"), ("bob", "/a/b/"), ("eve", "/c/")):
        cloud.account(name, domain=path)
    made = []
    for vlan, first in ((60, 2), (61, 2)):
        ends = {"startip": f"192.168.{vlan}.{first}", "endip": f"192.168.{vlan}.{first + 2}"}
        sent = {"gateway": f"192.168.{vlan}.1", "netmask": "255.255.255.0", "vlan": vlan, **ends}
        made.append(cloud.ask("createVlanIpRange", zoneid=zone, **sent)["vlan"]["id"])
    return made


def taker(name, zone):
    """The next public address that a network of the account gets."""

    def take(tx):
        account = tx.scalar(select(Account).where(Account.name == name))
        network = Network(account_id=account.id, domain_id=account.domain_id)
        place = tx.scalar(select(Zone.id).where(Zone.uuid == zone))
        return addresses.take_public(tx, place, network, False)[0].address

    return db.write(take)


def test_addresses_of_a_dedicated_range_are_its_holders(cloud, zone, public):
    made = cloud.ask("dedicatePublicIpRange", id=public[1], domainid=domain("/a/"), account="ann")["vlan"]
    assert (made["account"], made["domainid"], made["id"]) == ("ann", domain("/a/"), public[1])
    assert cloud.ask("listVlanIpRanges", account="ann", domainid=domain("/a/"))["vlaniprange"] == [made]
    assert [taker("ann", zone) for _ in range(4)][:3] == ["192.168.61.2", "192.168.61.3", "192.168.61.4"]
    assert {taker("eve", zone), taker("bob", zone)} == {"192.168.60.3", "192.168.60.4"}
    with pytest.raises(NoAddress, match="for this account"):
        taker("eve", zone)
    with pytest.raises(Refused, match="already dedicated"):
        cloud.ask("dedicatePublicIpRange", id=public[1], domainid=domain("/c/"))
    assert cloud.ask("releasePublicIpRange", id=public[1]) == {"success": True}
    with pytest.raises(Refused, match="not dedicated"):
        cloud.ask("releasePublicIpRange", id=public[1])


def test_a_range_of_a_domain_is_for_those_below_too(cloud, zone, public):
    cloud.ask("dedicatePublicIpRange", id=public[0], domainid=domain("/a/"))
    assert taker("bob", zone) == "192.168.60.2" and taker("eve", zone) == "192.168.61.2"
    assert taker("system", zone) == "192.168.61.3"


def test_accounts_with_ranges_may_be_kept_to_them(cloud, zone, public):
    cloud.ask("dedicatePublicIpRange", id=public[1], domainid=domain("/a/"), account="ann")
    cloud.ask("updateConfiguration", name="use.system.public.ips", value=False)
    settings.forget()
    for _ in range(3):
        taker("ann", zone)
    with pytest.raises(NoAddress):
        taker("ann", zone)
    assert taker("eve", zone) == "192.168.60.2", "who has no range of their own is not kept from the others"


def test_a_range_in_use_by_others_is_not_dedicated(cloud, zone, public):
    taken = taker("eve", zone)
    with pytest.raises(Refused, match=f"{taken} of eve") as no:
        cloud.ask("dedicatePublicIpRange", id=public[0], domainid=domain("/a/"))
    assert no.value.status == 536
    cloud.ask("dedicatePublicIpRange", id=public[0], domainid=domain("/c/"), account="eve")


def test_ranges_kept_for_system_vms_are_taken_by_them_first(cloud, zone, public):
    cloud.ask("updateVlanIpRange", id=public[1], forsystemvms=True)
    assert taker("system", zone) == "192.168.61.2" and taker("eve", zone) == "192.168.60.2"
    with pytest.raises(Refused, match="kept for system VMs"):
        cloud.ask("dedicatePublicIpRange", id=public[1], domainid=domain("/a/"))
    cloud.ask("updateVlanIpRange", id=public[1], forsystemvms=False)
    cloud.ask("updateConfiguration", name="system.vm.public.ip.reservation.mode.strictness", value=True)
    settings.forget()
    with pytest.raises(NoAddress):
        taker("system", zone)


def test_a_range_is_made_for_an_account(cloud, zone, public):
    sent = {**RANGE, "account": "eve", "domainid": domain("/c/")}
    made = cloud.ask("createVlanIpRange", zoneid=zone, **sent)["vlan"]
    assert made["account"] == "eve" and taker("eve", zone) == "192.168.2.2"
    assert taker("ann", zone) == "192.168.60.2"
