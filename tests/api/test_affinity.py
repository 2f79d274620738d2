"""Affinity groups: who has them, and where their machines go."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.model.affinity import AffinityMember
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from tests.cloud import Refused
from tests.simulated import build

APART, TOGETHER = "host anti-affinity", "host affinity"


@pytest.fixture
def zone(cloud):
    found = build(hosts=3)
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def group(cloud, name, type=APART, user="admin", **more):
    return cloud.job("createAffinityGroup", user=user, name=name, type=type, **more)["affinitygroup"]


def stopped(cloud, zone, *groups, user="admin", **more):
    """A machine in these groups that has not run yet."""
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    vm = cloud.job("deployVirtualMachine", user=user, startvm=False, **sent)["virtualmachine"]["id"]
    if groups:
        cloud.job("updateVMAffinityGroup", user=user, id=vm, affinitygroupids=[g["id"] for g in groups])
    return vm


def start(cloud, vm, user="admin", **more):
    """The number of the host."""
    cloud.job("startVirtualMachine", user=user, id=vm, **more)
    with reading() as session:
        return session.scalar(select(Vm.host_id).where(Vm.uuid == vm))


def test_a_group_is_made_listed_and_deleted(cloud):
    made = group(cloud, "web", description="apart", type="Host Anti-Affinity")
    assert made == {
        "id": made["id"], "name": "web", "description": "apart", "type": APART, "account": "admin", "domain": "ROOT",
        "domainid": made["domainid"], "domainpath": "ROOT",
    }  # fmt: skip
    assert cloud.ask("listAffinityGroups", name="web") == {"count": 1, "affinitygroup": [made]}
    assert cloud.ask("listAffinityGroups", type=TOGETHER) == {}
    with pytest.raises(Refused, match="a group with name web already exists") as no:
        cloud.ask("createAffinityGroup", name="web", type=APART)
    assert no.value.status == 431
    with pytest.raises(Refused, match="invalid affinity group type: bogus. Valid values are host anti-affinity"):
        cloud.ask("createAffinityGroup", name="x", type="bogus")
    with pytest.raises(Refused, match="either id or name"):
        cloud.ask("deleteAffinityGroup", id=made["id"], name="web")
    assert cloud.job("deleteAffinityGroup", name="web") == {"success": True}
    assert cloud.ask("listAffinityGroups") == {}
    with pytest.raises(Refused, match="Unable to find affinity group web"):
        cloud.ask("deleteAffinityGroup", name="web")
    group(cloud, "web")


def test_machines_join_and_leave_while_they_are_stopped(cloud, zone):
    web, db = group(cloud, "web"), group(cloud, "db", TOGETHER)
    vm = stopped(cloud, zone, web)
    (listed,) = cloud.ask("listAffinityGroups", virtualmachineid=vm)["affinitygroup"]
    assert listed["name"] == "web" and listed["virtualmachineIds"] == [vm]
    cloud.job("updateVMAffinityGroup", id=vm, affinitygroupnames="db,web")
    assert cloud.ask("listAffinityGroups", virtualmachineid=vm)["count"] == 2
    with pytest.raises(Refused, match="Unable to find group by name none"):
        cloud.ask("updateVMAffinityGroup", id=vm, affinitygroupnames="none")
    with pytest.raises(Refused, match="send affinitygroupids or affinitygroupnames"):
        cloud.ask("updateVMAffinityGroup", id=vm)
    cloud.job("updateVMAffinityGroup", id=vm, affinitygroupids="")
    assert cloud.ask("listAffinityGroups", virtualmachineid=vm) == {}
    cloud.job("updateVMAffinityGroup", id=vm, affinitygroupids=db["id"])
    start(cloud, vm)
    with pytest.raises(Refused, match="is Running: stop it first"):
        cloud.ask("updateVMAffinityGroup", id=vm, affinitygroupids=web["id"])
    cloud.job("deleteAffinityGroup", id=db["id"])
    assert cloud.ask("listAffinityGroups", virtualmachineid=vm) == {}


def test_a_group_is_its_accounts_alone(cloud, zone):
    for name in ("ann", "bob"):
        cloud.account(name, domain="/a/")
    mine = group(cloud, "web", user="ann")
    assert cloud.ask("listAffinityGroups", user="bob", listall=True) == {}
    foreign, missing = (
        pytest.raises(Refused, cloud.ask, "deleteAffinityGroup", user="bob", id=i).value
        for i in (mine["id"], "7b0d5ee0-1e9c-4a3f-9d28-0d6ac2e6c27d")
    )
    assert foreign.status == missing.status == 431 and foreign.text.replace(mine["id"], "") == missing.text.replace(
        "7b0d5ee0-1e9c-4a3f-9d28-0d6ac2e6c27d", ""
    )
    vm = stopped(cloud, zone, user="bob")
    with pytest.raises(Refused):
        cloud.ask("updateVMAffinityGroup", user="bob", id=vm, affinitygroupids=mine["id"])
    with pytest.raises(Refused, match="is not of the account bob"):
        cloud.ask("updateVMAffinityGroup", id=vm, affinitygroupids=mine["id"])


def test_strictly_apart_is_apart_and_the_refusal_names_the_group(cloud, zone):
    web = group(cloud, "web")
    machines = [stopped(cloud, zone, web) for _ in range(4)]
    hosts = [start(cloud, vm) for vm in machines[:3]]
    assert len(set(hosts)) == 3
    with pytest.raises(Refused) as no:
        start(cloud, machines[3])
    assert no.value.status == 533 and "east-h0 is forbidden by the affinity group web" in no.value.text
    cloud.job("stopVirtualMachine", id=machines[0])
    assert start(cloud, machines[3], considerlasthost=False) == hosts[0]
    with pytest.raises(Refused, match="affinity group web"):
        start(cloud, machines[0])


def test_strictly_together_is_on_one_host(cloud, zone):
    db = group(cloud, "db", TOGETHER)
    machines = [stopped(cloud, zone, db) for _ in range(4)]
    first = start(cloud, machines[0])
    assert {start(cloud, vm) for vm in machines[1:]} == {first}
    cloud.job("stopVirtualMachine", id=machines[3])
    write(lambda tx: setattr(tx.get_one(Host, first), "machines", 50))
    with pytest.raises(Refused) as no:
        start(cloud, machines[3])
    assert "has 50 machines, of at most 50" in no.value.text and "forbidden by the affinity group db" in no.value.text


def test_wishes_are_met_where_they_can_be(cloud, zone):
    near, far = group(cloud, "near", "non-strict host affinity"), group(cloud, "far", "non-strict host anti-affinity")
    together = [stopped(cloud, zone, near) for _ in range(3)]
    assert len({start(cloud, vm) for vm in together}) == 1
    apart = [stopped(cloud, zone, far) for _ in range(4)]
    hosts = [start(cloud, vm) for vm in apart]
    assert len(set(hosts[:3])) == 3 and hosts[3] in hosts[:3]


def test_an_expunged_machine_is_in_no_group(cloud, zone):
    web = group(cloud, "web")
    vm = stopped(cloud, zone, web)
    cloud.job("destroyVirtualMachine", id=vm, expunge=True)
    assert "virtualmachineIds" not in cloud.ask("listAffinityGroups", id=web["id"])["affinitygroup"][0]
    with reading() as session:
        assert session.scalars(select(AffinityMember.id)).all() == []
