"""Zones over the wire."""

import pytest

from tests.cloud import Refused

ZONE = {"name": "east", "networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}


def test_a_zone_is_made_changed_listed_and_deleted(cloud):
    made = cloud.ask("createZone", **ZONE)["zone"]
    assert (made["name"], made["networktype"], made["allocationstate"]) == ("east", "Advanced", "Disabled")
    assert made["guestcidraddress"] == "10.1.1.0/24" and made["tags"] == []
    assert cloud.ask("listZones", keyword="EAS")["count"] == 1
    changed = cloud.ask("updateZone", id=made["id"], allocationstate="enabled", dns2="192.0.2.55")["zone"]
    assert (changed["allocationstate"], changed["dns2"], changed["dns1"]) == ("Enabled", "192.0.2.55", "192.0.2.53")
    cloud.ask("updateZone", id=made["id"], domain="east.example.org", internaldns2="192.0.2.56")
    changed = cloud.ask("updateZone", id=made["id"], domain="", dns1="", dns2="", internaldns2="")["zone"]
    assert {"domain", "dns2", "internaldns2"} & changed.keys() == set()
    assert changed["dns1"] == "192.0.2.53", "a zone is never without"
    assert cloud.ask("deleteZone", id=made["id"]) == {"success": True}
    assert cloud.ask("listZones") == {}


def test_tenants_see_enabled_zones_without_the_operators_part(cloud):
    cloud.account("ann")
    zone = cloud.ask("createZone", **ZONE)["zone"]
    assert cloud.ask("listZones", user="ann") == {}
    cloud.ask("updateZone", id=zone["id"], allocationstate="Enabled")
    (seen,) = cloud.ask("listZones", user="ann")["zone"]
    assert "internaldns1" not in seen and seen["dns1"] == "192.0.2.53"
    with pytest.raises(Refused) as no:
        cloud.ask("deleteZone", user="ann", id=zone["id"])
    assert no.value.status == 432


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": ""}, "name"),
        ({"dns1": "nowhere"}, "dns1=nowhere is no IPv4 address"),
        ({"networktype": "Fancy"}, "none of Basic, Advanced"),
        ({"guestcidraddress": "10.1.1.0/99"}, "is no network"),
        ({"domain": "-x"}, "is no domain name"),
        ({"name": "n" * 256}, "max allowed length 255"),
        ({"domainid": "nonsense"}, "Invalid parameter domainid"),
    ],
)
def test_bad_values_are_told_and_leave_nothing(cloud, wrong, told):
    with pytest.raises(Refused) as no:
        cloud.ask("createZone", **{**ZONE, **wrong})
    assert no.value.status == 431 and told in no.value.text
    assert cloud.ask("listZones") == {}


def test_a_name_is_taken_once(cloud):
    cloud.ask("createZone", **ZONE)
    with pytest.raises(Refused) as no:
        cloud.ask("createZone", **ZONE)
    assert "already exists" in no.value.text


def test_a_zone_goes_with_its_physical_networks_and_not_before_its_pods(cloud):
    zone = cloud.ask("createZone", **ZONE)["zone"]["id"]
    network = cloud.job("createPhysicalNetwork", zoneid=zone, name="n", vlan="100-200")["physicalnetwork"]["id"]
    cloud.job("addTrafficType", physicalnetworkid=network, traffictype="Public")
    public = {"gateway": "192.0.2.1", "netmask": "255.255.255.0", "startip": "192.0.2.2", "endip": "192.0.2.9"}
    cloud.ask("createVlanIpRange", zoneid=zone, **public)
    pod = cloud.ask("createPod", zoneid=zone, name="p", **{**public, "startip": "192.0.2.20", "endip": "192.0.2.30"})
    with pytest.raises(Refused, match="still has 1 pod") as no:
        cloud.ask("deleteZone", id=zone)
    assert no.value.status == 530
    cloud.ask("deletePod", id=pod["pod"]["id"])
    assert cloud.ask("deleteZone", id=zone) == {"success": True}
    assert cloud.ask("listPhysicalNetworks") == {} and cloud.ask("listVlanIpRanges") == {}


def test_resource_administrators_see_all_zones_or_those_of_their_domain(cloud):
    for name, kind in (("dep", 3), ("boss", 2), ("ann", 0)):
        cloud.account(name, kind=kind, domain="/a/")
    cloud.account("other", kind=3, domain="/b/")
    (domain,) = cloud.ask("listDomains", name="a")["domain"]
    cloud.ask("createZone", **ZONE, allocationstate="Enabled")
    cloud.ask("createZone", **{**ZONE, "name": "own"}, allocationstate="Enabled", domainid=domain["id"])

    def seen(user):
        return sorted(z["name"] for z in cloud.ask("listZones", user=user)["zone"])

    assert seen("dep") == ["east", "own"]
    cloud.ask("updateConfiguration", name="allow.user.view.all.zones", value="false", domainid=domain["id"])
    assert seen("dep") == ["own"] and seen("other") == ["east"]
    assert seen("boss") == seen("ann") == seen("admin") == ["east", "own"]


def test_zones_are_listed_by_their_sort_keys(cloud):
    made = [cloud.ask("createZone", **{**ZONE, "name": f"place{n}"})["zone"]["id"] for n in range(3)]
    for place, zone in enumerate(reversed(made)):
        cloud.ask("updateZone", id=zone, sortkey=place - 1)
    assert [z["id"] for z in cloud.ask("listZones", ids=made)["zone"]] == made[::-1]
