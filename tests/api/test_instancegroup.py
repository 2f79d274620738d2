"""Instance groups over the wire."""

import pytest

from tests.cloud import Refused
from tests.simulated import build


def test_groups_have_names_of_their_own_and_machines_leave_them(cloud):
    zone = build()
    offering = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    made = cloud.ask("createInstanceGroup", name="web")["instancegroup"]
    assert (made["name"], made["account"]) == ("web", "admin") and made["created"]
    with pytest.raises(Refused) as no:
        cloud.ask("createInstanceGroup", name="web")
    assert no.value.status == 431 and "already exists" in no.value.text
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": offering}
    vm = cloud.job("deployVirtualMachine", **sent, group="web", startvm=False)["virtualmachine"]
    assert vm["groupid"] == made["id"]
    assert cloud.ask("updateInstanceGroup", id=made["id"], name="front")["instancegroup"]["name"] == "front"
    (listed,) = cloud.ask("listVirtualMachines", groupid=made["id"])["virtualmachine"]
    assert (listed["id"], listed["group"]) == (vm["id"], "front")
    assert cloud.ask("deleteInstanceGroup", id=made["id"]) == {"success": True}
    assert cloud.ask("listInstanceGroups") == {}
    assert "group" not in cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]


def test_a_stranger_sees_and_changes_nothing(cloud):
    for name in ("ann", "bob"):
        cloud.account(name)
    made = cloud.ask("createInstanceGroup", user="ann", name="mine")["instancegroup"]
    assert cloud.ask("createInstanceGroup", user="bob", name="mine")["instancegroup"]["account"] == "bob"
    for command, more in (("updateInstanceGroup", {"name": "x"}), ("deleteInstanceGroup", {})):
        with pytest.raises(Refused) as no:
            cloud.ask(command, user="bob", id=made["id"], **more)
        assert no.value.status == 431
    assert cloud.ask("listInstanceGroups", user="ann")["instancegroup"] == [made]
