"""Public addresses."""

from tests.api.test_vm import deploy
from tests.simulated import build


def test_a_network_has_its_source_nat_address_and_others_do_not_see_it(cloud):
    for name in ("ann", "bob"):
        cloud.account(name)
    zone = build()
    zone["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    vm = deploy(cloud, zone, user="ann")
    (mine,) = cloud.ask("listPublicIpAddresses", user="ann")["publicipaddress"]
    assert mine["issourcenat"] and mine["associatednetworkid"] == vm["nic"][0]["networkid"]
    assert mine["state"] == "Allocated" and mine["account"] == "ann" and "vlanid" not in mine
    assert cloud.ask("listPublicIpAddresses", user="bob", listall=True) == {}
    assert cloud.ask("listPublicIpAddresses", listall=True)["count"] == 1
    everything = cloud.ask("listPublicIpAddresses", listall=True, allocatedonly=False)
    assert everything["count"] == 51 and everything["publicipaddress"][0]["vlanname"] == "vlan://50"
    assert cloud.ask("listPublicIpAddresses", listall=True, isstaticnat=True) == {}
    assert cloud.ask("listPortForwardingRules", user="ann") == {}
