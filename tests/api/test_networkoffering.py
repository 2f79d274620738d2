"""Network offerings over the wire."""

import pytest

from tests.cloud import Refused

ROUTED = "Dhcp,Dns,SourceNat,PortForwarding,Vpn,Firewall,Lb,UserData,StaticNat"
ISOLATED = {
    "name": "gno",
    "displaytext": "golden net",
    "traffictype": "GUEST",
    "guestiptype": "Isolated",
    "supportedservices": ROUTED,
    **{f"serviceproviderlist[{n}].service": s for n, s in enumerate(ROUTED.split(","))},
    **{f"serviceproviderlist[{n}].provider": "VirtualRouter" for n in range(len(ROUTED.split(",")))},
    "servicecapabilitylist[0].service": "SourceNat",
    "servicecapabilitylist[0].capabilitytype": "SupportedSourceNatTypes",
    "servicecapabilitylist[0].capabilityvalue": "peraccount",
}


def test_a_fresh_cloud_offers_what_clients_look_for(cloud):
    found = {o["name"]: o for o in cloud.ask("listNetworkOfferings")["networkoffering"]}
    assert len(found) == 21 and not any(name.startswith("System-") for name in found)
    shared = found["DefaultSharedNetworkOfferingWithSGService"]
    assert {s["name"]: s["provider"][0]["name"] for s in shared["service"]} == {
        "Dhcp": "VirtualRouter",
        "Dns": "VirtualRouter",
        "UserData": "VirtualRouter",
        "SecurityGroup": "SecurityGroupProvider",
    }
    assert (shared["specifyvlan"], shared["guestiptype"], shared["networkrate"]) == (True, "Shared", 200)
    isolated = found["DefaultIsolatedNetworkOfferingWithSourceNatService"]
    assert isolated["availability"] == "Required" and isolated["egressdefaultpolicy"] is False
    assert {"SourceNat", "PortForwarding", "Lb", "Vpn"} <= {s["name"] for s in isolated["service"]}
    assert found["DefaultTungstenSharedNetworkOfferingWithSGService"]["fortungsten"] is True
    assert shared["fortungsten"] is False


def test_an_offering_is_made_enabled_and_deleted(cloud):
    cloud.account("ann")
    made = cloud.ask("createNetworkOffering", **ISOLATED)["networkoffering"]
    assert (made["state"], made["egressdefaultpolicy"], made["traffictype"]) == ("Disabled", True, "Guest")
    services = {s["name"]: s for s in made["service"]}
    assert set(services) == set(ROUTED.split(","))
    assert {"name": "SupportedSourceNatTypes", "value": "peraccount", "canchooseservicecapability": False} in services[
        "SourceNat"
    ]["capability"]
    assert cloud.ask("listNetworkOfferings", user="ann", name="gno") == {}
    changed = cloud.ask("updateNetworkOffering", id=made["id"], state="Enabled", name="gno2")["networkoffering"]
    assert (changed["state"], changed["name"]) == ("Enabled", "gno2")
    assert cloud.ask("listNetworkOfferings", user="ann", name="gno2")["count"] == 1
    assert cloud.ask("listNetworkOfferings", supportedservices="Vpn,Lb", isdefault=False)["count"] == 1
    assert cloud.ask("listNetworkOfferings", sourcenatsupported=False, isdefault=False) == {}
    assert cloud.ask("deleteNetworkOffering", id=made["id"]) == {"success": True}
    assert cloud.ask("listNetworkOfferings", id=made["id"]) == {}


def test_a_default_one_stays(cloud):
    one = cloud.ask("listNetworkOfferings", name="DefaultSharedNetworkOffering")["networkoffering"][0]
    with pytest.raises(Refused) as no:
        cloud.ask("deleteNetworkOffering", id=one["id"])
    assert no.value.status == 431 and "Default network offering can't be deleted" in no.value.text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"supportedservices": "Nonsense"}, "Invalid service Nonsense"),
        ({"traffictype": "Bogus"}, "traffictype=Bogus is none of"),
        ({"traffictype": "Public"}, "Guest traffic alone"),
        ({"guestiptype": "Bogus"}, "guestiptype=Bogus is none of"),
        ({"guestiptype": "Shared"}, "no service"),
        ({"supportedservices": "Dhcp"}, "which supportedservices does not"),
        ({"serviceproviderlist[0].provider": "Nsx"}, "the provider Nsx has no service Dhcp"),
        ({"servicecapabilitylist[0].capabilityvalue": "perzone"}, "none of peraccount"),
        ({"servicecapabilitylist[0].capabilitytype": "Magic"}, "no capability Magic"),
        ({"forvpc": True}, "forvpc"),
        ({"internetprotocol": "DualStack"}, "none of IPv4"),
    ],
)
def test_what_does_not_go_together_is_refused(cloud, wrong, told):
    with pytest.raises(Refused) as no:
        cloud.ask("createNetworkOffering", **{**ISOLATED, **wrong})
    assert no.value.status == 431 and told in no.value.text
    assert cloud.ask("listNetworkOfferings", name="gno") == {}


def test_shared_networks_name_their_vlan(cloud):
    shared = {"name": "s", "traffictype": "Guest", "guestiptype": "Shared", "supportedservices": "Dhcp,Dns,UserData"}
    with pytest.raises(Refused) as no:
        cloud.ask("createNetworkOffering", **shared)
    assert "specifyvlan" in no.value.text
    made = cloud.ask("createNetworkOffering", **shared, specifyvlan=True, specifyipranges=True)["networkoffering"]
    assert made["specifyipranges"] is True


def test_port_forwarding_needs_source_nat(cloud):
    with pytest.raises(Refused) as no:
        cloud.ask(
            "createNetworkOffering", name="x", traffictype="Guest", guestiptype="Isolated",
            supportedservices="Dhcp,PortForwarding",
        )  # fmt: skip
    assert "works through SourceNat" in no.value.text
