"""Ranges of public addresses, and of shared networks, over the wire."""

import pytest
from sqlalchemy import func, select, update

from mgmt_server import db
from mgmt_server.model.zone import Address
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
        ({"account": "admin"}, "does not support the parameter account"),
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
