"""Lists of machines: each filter leaves those that are meant, and no others."""

import pytest

from tests.api.test_vm import deploy
from tests.api.test_vm import zone as a_zone
from tests.cloud import Refused
from tests.simulated import build

zone = a_zone


@pytest.fixture
def two(cloud, zone):
    """Ids of a machine with all that can be asked for, and of a plain one in another zone, which is stopped."""
    cloud.ask("createSSHKeyPair", name="k")
    group = cloud.job("createAffinityGroup", name="g", type="host anti-affinity")["affinitygroup"]["id"]
    text = cloud.ask("registerUserData", name="u", userdata="I2Nsb3Vk")["userdata"]["id"]
    size = {"cpunumber": 1, "cpuspeed": 100, "memory": 128, "offerha": True}
    sure = cloud.ask("createServiceOffering", name="sure", **size)["serviceoffering"]["id"]
    rich = deploy(
        cloud, zone, name="rich", group="web", keypair="k", affinitygroupids=group, userdataid=text,
        serviceofferingid=sure,
    )  # fmt: skip
    cloud.job("createTags", resourceids=rich["id"], resourcetype="UserVm", **{"tags[0].key": "a", "tags[0].value": "b"})
    west = build(name="west")
    plain = deploy(cloud, west | {"offering": zone["offering"]}, name="plain", startvm=False)
    meant = {
        "zoneid": zone["zone"], "podid": zone["pod"], "clusterid": zone["cluster"], "hostid": rich["hostid"],
        "storageid": zone["pool"], "networkid": rich["nic"][0]["networkid"], "groupid": rich["groupid"],
        "affinitygroupid": group, "userdataid": text, "serviceofferingid": sure, "keypair": "k", "haenable": True,
        "state": "Running", "name": "rich", "keyword": "ric", "id": rich["id"], "ids": rich["id"],
        "tags[0].key": "a",
    }  # fmt: skip
    return rich["id"], plain["id"], meant


def listed(cloud, **sent):
    return {m["id"] for m in cloud.ask("listVirtualMachines", **sent).get("virtualmachine", [])}


def test_each_filter_leaves_the_machines_that_are_meant(cloud, zone, two):
    rich, plain, meant = two
    assert listed(cloud) == {rich, plain}
    wrong = {name: value for name, value in meant.items() if listed(cloud, **{name: value}) != {rich}}
    assert not wrong
    assert listed(cloud, **meant) == {rich}
    for sent, found in (
        ({"state": "Stopped"}, {plain}), ({"state": "stopped"}, {plain}),
        ({"haenable": False}, {plain}), ({"hypervisor": "Simulator"}, {rich, plain}),
        ({"hypervisor": "KVM"}, set()), ({"arch": "x86_64"}, {rich, plain}), ({"arch": "aarch64"}, set()),
        ({"forvirtualnetwork": True}, {rich, plain}), ({"forvirtualnetwork": False}, set()),
        ({"templateid": zone["template"]}, {rich, plain}), ({"ids": [rich, plain]}, {rich, plain}),
        ({"leased": True}, set()), ({"isvnf": True}, set()), ({"state": "Running", "name": "plain"}, set()),
    ):  # fmt: skip
        assert listed(cloud, **sent) == found, sent


def test_what_does_not_exist_filters_nothing_quietly(cloud, zone, two):
    for name in ("zoneid", "podid", "networkid", "groupid", "affinitygroupid", "userdataid", "serviceofferingid"):
        with pytest.raises(Refused, match="entity does not exist"):
            listed(cloud, **{name: "11111111-2222-3333-4444-555555555555"})
