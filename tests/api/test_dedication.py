"""What is dedicated is its holder's: dedicating, what refuses it, and where machines of others go."""

import pytest
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.db import reading, write
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.affinity import AffinityGroup
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Dedication
from mgmt_server.resources.dedication import rows
from mgmt_server.resources.dedication.groups import Holder
from mgmt_server.resources.router.timers import have_system_vms
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.cloud import Refused
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    """Two hosts; ann and bea in /a/, bob in /a/b/, eve in /c/."""
    found = build(hosts=2)
    for name, domain in (("ann", "/a/"), ("bea", "/a/"), ("bob", "/a/b/"), ("eve", "/c/")):
        cloud.account(name, domain=domain)
    found["hosts"] = found["hosts"].split(",")
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    found["names"] = [cloud.ask("listHosts", id=h)["host"][0]["name"] for h in found["hosts"]]
    return found


def domain(path):
    with reading() as session:
        return session.scalar(select(Domain.uuid).where(Domain.path == path))


def group_of(path):
    """The affinity group of what is dedicated to a domain."""
    with reading() as session:
        place = select(Domain.id).where(Domain.path == path).scalar_subquery()
        mine = select(AffinityGroup.uuid).where(AffinityGroup.domain_id == place, AffinityGroup.account_id == 1)
        return session.scalar(mine.where(AffinityGroup.removed.is_(None)))


def deploy(cloud, zone, user, name, **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"]}
    return cloud.job("deployVirtualMachine", user=user, name=name, **sent, **more)["virtualmachine"]


def places():
    """Host by machine, of all users' machines and routers."""
    with reading() as session:
        rows = select(Vm.name, Host.uuid).join(Host, Host.id == Vm.host_id)
        return {name: host for name, host in session.execute(rows)}  # noqa: C416  rows are no pairs to dict


def dedicate(cloud, kind, number, path, **more):
    sent = {f"{kind.lower()}id": number, "domainid": domain(path)}
    told = cloud.job(f"dedicate{kind}", **sent, **more)
    assert told["count"] == 1
    (made,) = told[f"dedicated{kind.lower()}"]
    return made


def test_a_dedicated_host_answers_as_the_protocol_says(cloud, zone):
    one, name = zone["hosts"][0], zone["names"][0]
    made = dedicate(cloud, "Host", one, "/a/")
    assert made == {
        "id": made["id"], "hostid": one, "hostname": name, "domainid": domain("/a/"),
        "affinitygroupid": group_of("/a/"),
    }  # fmt: skip
    assert cloud.ask("listDedicatedHosts") == {"count": 1, "dedicatedhost": [made]}
    for narrowed in ({"hostid": zone["hosts"][1]}, {"domainid": domain("/c/")}, {"account": "ann"}, {"keyword": "zzz"}):
        assert cloud.ask("listDedicatedHosts", **narrowed) == {}
    for same in ({"hostid": one}, {"domainid": domain("/a/")}, {"keyword": name[:4]}):
        assert cloud.ask("listDedicatedHosts", **same)["count"] == 1
    assert cloud.ask("listDedicatedClusters") == {}
    with pytest.raises(Refused, match="already dedicated"):
        dedicate(cloud, "Host", one, "/c/")
    assert cloud.job("releaseDedicatedHost", hostid=one) == {"success": True}
    assert cloud.ask("listDedicatedHosts") == {}
    with pytest.raises(Refused, match="is not dedicated"):
        cloud.job("releaseDedicatedHost", hostid=one)
    told = [e["type"] for e in cloud.ask("listEvents")["event"]]
    assert "DEDICATE.RESOURCE" in told and "DEDICATE.RESOURCE.RELEASE" in told


@pytest.mark.parametrize("kind", ["Zone", "Pod", "Cluster", "Host"])
def test_every_kind_is_dedicated_to_an_account_and_released(cloud, zone, kind):
    number = zone["hosts"][0] if kind == "Host" else zone[kind.lower()]
    made = dedicate(cloud, kind, number, "/a/", account="ann")
    assert made[f"{kind.lower()}id"] == number and made["accountid"]
    (listed,) = cloud.ask(f"listDedicated{kind}s", account="ann")[f"dedicated{kind.lower()}"]
    assert listed == made
    with pytest.raises(Refused, match="Unable to execute|account"):
        dedicate(cloud, kind, number, "/c/", account="ann")
    cloud.job(f"releaseDedicated{kind}", **{f"{kind.lower()}id": number})
    assert cloud.ask(f"listDedicated{kind}s") == {}


def test_machines_of_others_never_land_on_a_dedicated_host(cloud, zone):
    first, second = zone["hosts"]
    dedicate(cloud, "Host", first, "/a/", account="ann")
    for n in range(4):
        deploy(cloud, zone, "eve", f"eve-{n}")
        deploy(cloud, zone, "bea", f"bea-{n}")
    assert set(places().values()) == {second}
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "admin", "asked", hostid=first)
    assert f"{zone['names'][0]} is dedicated to others" in no.value.text and no.value.answer["errorcode"] == 533
    cloud.ask("updateHost", id=second, allocationstate="Disable")
    deploy(cloud, zone, "ann", "ann-1", affinitygroupnames="DedicatedGrp-ann")
    assert places()["ann-1"] == first
    with pytest.raises(Refused, match="dedicated to others"):
        deploy(cloud, zone, "eve", "eve-9")
    cloud.job("releaseDedicatedHost", hostid=first)
    deploy(cloud, zone, "eve", "eve-10")
    assert places()["eve-10"] == first


def test_a_stopped_machine_does_not_come_back_to_what_is_dedicated_now(cloud, zone):
    first = deploy(cloud, zone, "eve", "eve-1")
    router = next(host for name, host in places().items() if name.startswith("r-"))
    other = next(h for h in zone["hosts"] if h != router)
    vm = deploy(cloud, zone, "admin", "eve-2", account="eve", domainid=domain("/c/"), hostid=other)
    for one in (vm, first):
        cloud.job("stopVirtualMachine", id=one["id"])
    dedicate(cloud, "Host", other, "/a/")
    cloud.job("startVirtualMachine", user="eve", id=vm["id"])
    assert places()["eve-2"] == router


def test_accounts_of_the_domain_and_those_below_may_use_it(cloud, zone):
    dedicate(cloud, "Cluster", zone["cluster"], "/a/")
    for user in ("ann", "bea", "bob"):
        deploy(cloud, zone, user, f"vm-{user}", affinitygroupids=group_of("/a/"))
    for user in ("eve", "admin"):
        with pytest.raises(Refused, match="dedicated to others"):
            deploy(cloud, zone, user, f"vm-{user}")


def test_system_vms_leave_dedicated_hosts_free(cloud, zone):
    dedicate(cloud, "Host", zone["hosts"][0], "/a/")
    have_system_vms()
    cloud.work()
    assert list(places().values()) == [zone["hosts"][1]] * 2


def test_system_vms_run_in_a_zone_that_is_dedicated_whole(cloud, zone):
    dedicate(cloud, "Zone", zone["zone"], "/a/")
    have_system_vms()
    cloud.work()
    assert len(places()) == 2


def test_machines_of_others_refuse_and_are_named(cloud, zone):
    deploy(cloud, zone, "eve", "eve-1")
    there = places()["eve-1"]
    for path, more in (("/a/", {}), ("/c/", {"account": "x"}), ("/a/", {"account": "ann"})):
        if more.get("account") == "x":
            cloud.account("x", domain="/c/")
        with pytest.raises(Refused, match="eve-1 of eve in /c/"):
            dedicate(cloud, "Host", there, path, **more)
        with pytest.raises(Refused, match="eve-1 of eve in /c/"):
            dedicate(cloud, "Zone", zone["zone"], path, **more)
    assert dedicate(cloud, "Zone", zone["zone"], "/c/", account="eve")["accountid"]


def test_what_is_dedicated_above_or_below_refuses(cloud, zone):
    first = zone["hosts"][0]
    dedicate(cloud, "Pod", zone["pod"], "/a/")
    with pytest.raises(Refused, match="its pod pod1 is dedicated to domain /a/"):
        dedicate(cloud, "Host", first, "/c/")
    dedicate(cloud, "Host", first, "/a/b/", account="bob")
    with pytest.raises(Refused, match=f"the host {zone['names'][0]} in it is dedicated to account bob"):
        dedicate(cloud, "Cluster", zone["cluster"], "/a/", account="ann")
    dedicate(cloud, "Cluster", zone["cluster"], "/a/")
    deploy(cloud, zone, "bea", "bea-1", affinitygroupids=group_of("/a/"))
    assert places()["bea-1"] == zone["hosts"][1]
    with pytest.raises(Refused, match="in it is dedicated to"):
        dedicate(cloud, "Zone", zone["zone"], "/c/")
    cloud.job("releaseDedicatedHost", hostid=first)
    cloud.job("releaseDedicatedCluster", clusterid=zone["cluster"])
    cloud.job("releaseDedicatedPod", podid=zone["pod"])
    with pytest.raises(Refused, match="bea-1 of bea"):
        dedicate(cloud, "Zone", zone["zone"], "/a/", account="ann")
    dedicate(cloud, "Zone", zone["zone"], "/a/", account="bea")
    with pytest.raises(Refused, match="its zone east is dedicated to account bea"):
        dedicate(cloud, "Host", first, "/a/", account="bea")


def test_a_wider_dedication_takes_the_same_narrower_one_up(cloud, zone):
    dedicate(cloud, "Host", zone["hosts"][0], "/a/")
    dedicate(cloud, "Cluster", zone["cluster"], "/a/")
    assert cloud.ask("listDedicatedHosts") == {} and cloud.ask("listDedicatedClusters")["count"] == 1


def test_a_dedicated_zone_is_seen_by_its_domain_alone(cloud, zone):
    dedicate(cloud, "Zone", zone["zone"], "/a/")
    assert cloud.ask("listZones")["zone"][0]["domainid"] == domain("/a/")
    assert [cloud.ask("listZones", user=u).get("count") for u in ("ann", "bob", "eve")] == [1, 1, None]
    with pytest.raises(Refused) as foreign:
        deploy(cloud, zone, "eve", "eve-1")
    assert foreign.value.status == 431
    deploy(cloud, zone, "bob", "bob-1")
    assert "domainid" not in cloud.ask("updateZone", id=zone["zone"], ispublic=True)["zone"]
    assert cloud.ask("listDedicatedZones") == {} and cloud.ask("listZones", user="eve")["count"] == 1


def test_a_zone_made_for_a_domain_is_dedicated_to_it(cloud, zone):
    sent = {"networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}
    made = cloud.ask("createZone", name="theirs", domainid=domain("/a/"), **sent)["zone"]
    assert made["domainid"] == domain("/a/")
    (found,) = cloud.ask("listDedicatedZones")["dedicatedzone"]
    assert (found["zoneid"], found["domainid"]) == (made["id"], domain("/a/"))
    cloud.ask("deleteZone", id=made["id"])
    assert cloud.ask("listDedicatedZones") == {}


def test_what_is_deleted_is_dedicated_no_more(cloud, zone):
    other, pod = zone_with_pod(cloud, "west")
    made = cluster(cloud, other, pod)
    one = host(cloud, other, pod, made)["id"]
    for kind, number in (("Host", one), ("Cluster", made), ("Pod", pod)):
        dedicate(cloud, kind, number, "/a/b/" if kind == "Host" else "/a/")
    cloud.ask("deleteHost", id=one, forced=True)
    cloud.ask("deleteCluster", id=made)
    cloud.ask("deletePod", id=pod)
    with reading() as session:
        assert list(session.scalars(select(Dedication))) == []


def test_only_root_dedicates(cloud, zone):
    cloud.account("dora", kind=2, domain="/a/")
    for user in ("dora", "ann"):
        assert cloud.raw(user, "dedicateHost", hostid=zone["hosts"][0], domainid=domain("/a/"))[0] in (401, 432)
        assert cloud.raw(user, "listDedicatedHosts")[0] in (401, 432)


def test_a_host_dedicated_between_choice_and_promise_is_not_taken(cloud, zone):
    """The promise itself asks again: the choice may be old."""
    from mgmt_server.allocation import hosts

    with reading() as session:
        number = session.scalar(select(Host.id).where(Host.uuid == zone["hosts"][0]))
        place = session.scalar(select(Host.zone_id))
        owner = session.scalar(select(Domain).where(Domain.path == "/a/"))
        kept = session.get(Host, number)
    need = hosts.Need(place, "Simulator", 1, 1)
    write(lambda tx: rows.dedicate(tx, "Host", kept, Holder(owner)))
    assert not db.write(lambda tx: hosts.take(tx, number, 1, 1, condition=hosts.guard(tx, need)))
    assert db.write(lambda tx: hosts.take(tx, number, 1, 1))


def test_what_one_holder_has_is_of_one_group_which_goes_with_the_last_of_it(cloud, zone):
    first, second = zone["hosts"]
    made = [dedicate(cloud, "Host", h, "/a/", account="ann")["affinitygroupid"] for h in (first, second)]
    assert made[0] == made[1]
    assert cloud.ask("listDedicatedHosts", affinitygroupid=made[0])["count"] == 2
    (group,) = cloud.ask("listAffinityGroups", id=made[0])["affinitygroup"]
    assert (group["type"], group["name"], group["account"]) == ("ExplicitDedication", "DedicatedGrp-ann", "ann")
    assert [one["resourceid"] for one in group["dedicatedresources"]] == [first, second]
    (seen,) = cloud.ask("listAffinityGroups", user="ann")["affinitygroup"]
    assert seen["id"] == group["id"] and "dedicatedresources" not in seen
    vm = deploy(cloud, zone, "ann", "ann-1", affinitygroupids=group["id"])
    cloud.job("releaseDedicatedHost", hostid=first)
    assert cloud.ask("listDedicatedHosts", affinitygroupid=made[0])["count"] == 1
    cloud.job("releaseDedicatedHost", hostid=second)
    assert cloud.ask("listAffinityGroups", user="ann") == {}
    assert cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["affinitygroup"] == []


def test_a_domains_group_is_seen_and_used_by_its_accounts_and_changed_by_root_alone(cloud, zone):
    dedicate(cloud, "Host", zone["hosts"][0], "/a/")
    group = group_of("/a/")
    cloud.account("dora", kind=2, domain="/a/")
    seen = {u: cloud.ask("listAffinityGroups", user=u).get("count") for u in ("ann", "bob", "dora", "eve")}
    assert seen == {"ann": 1, "bob": 1, "dora": 1, "eve": None}
    for user in ("ann", "dora", "eve"):
        with pytest.raises(Refused) as no:
            cloud.ask("deleteAffinityGroup", user=user, id=group)
        assert no.value.status == 431
    with pytest.raises(Refused) as foreign:
        deploy(cloud, zone, "eve", "eve-1", affinitygroupids=group)
    assert foreign.value.status == 431
    with pytest.raises(Refused, match="Unable to find group by name DedicatedGrp-domain-a for account eve"):
        deploy(cloud, zone, "eve", "eve-1", affinitygroupnames="DedicatedGrp-domain-a")
    with pytest.raises(Refused, match="invalid affinity group type"):
        cloud.ask("createAffinityGroup", user="dora", name="mine", type="ExplicitDedication")
    deploy(cloud, zone, "bob", "bob-1", affinitygroupnames="DedicatedGrp-domain-a")
    assert places()["bob-1"] == zone["hosts"][0]
    seen = [cloud.ask("listAffinityGroups", user=u, id=group)["affinitygroup"][0] for u in ("ann", "bob", "dora")]
    assert [len(one.get("virtualmachineIds", [])) for one in seen] == [0, 1, 1]


def test_only_machines_in_the_group_go_to_what_is_dedicated_and_nowhere_else(cloud, zone):
    first, second = zone["hosts"]
    group = dedicate(cloud, "Host", first, "/a/", account="ann")["affinitygroupid"]
    for n in range(3):
        deploy(cloud, zone, "ann", f"free-{n}")
        deploy(cloud, zone, "ann", f"kept-{n}", affinitygroupids=group)
    assert {places()[f"free-{n}"] for n in range(3)} == {second}
    assert {places()[f"kept-{n}"] for n in range(3)} == {first}
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "admin", "asked", account="ann", domainid=domain("/a/"), hostid=first)
    assert f"{zone['names'][0]} is dedicated: only machines in the affinity group" in no.value.text
    cloud.ask("updateHost", id=first, allocationstate="Disable")
    with pytest.raises(Refused, match="its affinity groups forbid the hosts that have room"):
        deploy(cloud, zone, "ann", "kept-9", affinitygroupids=group)
    with pytest.raises(Refused) as told:
        deploy(cloud, zone, "admin", "k", account="ann", domainid=domain("/a/"), affinitygroupids=group)
    assert f"{zone['names'][1]} is not dedicated with the affinity group DedicatedGrp-ann" in told.value.text


def test_a_dedicated_zone_needs_no_group(cloud, zone):
    group = dedicate(cloud, "Zone", zone["zone"], "/a/")["affinitygroupid"]
    deploy(cloud, zone, "ann", "ann-1")
    deploy(cloud, zone, "ann", "ann-2", affinitygroupids=group)
    assert {"ann-1", "ann-2"} <= set(places())


def test_deleting_the_group_releases_what_is_dedicated_with_it(cloud, zone):
    made = cloud.job("createAffinityGroup", name="vip", type="ExplicitDedication", domainid=domain("/a/"))
    group = made["affinitygroup"]["id"]
    with pytest.raises(Refused, match="has the group vip"):
        cloud.ask("createAffinityGroup", name="more", type="ExplicitDedication", domainid=domain("/a/"))
    assert dedicate(cloud, "Host", zone["hosts"][0], "/a/")["affinitygroupid"] == group
    assert dedicate(cloud, "Host", zone["hosts"][1], "/a/b/")["affinitygroupid"] != group
    cloud.job("deleteAffinityGroup", id=group)
    assert [d["hostid"] for d in cloud.ask("listDedicatedHosts")["dedicatedhost"]] == [zone["hosts"][1]]


def test_an_account_and_a_domain_that_go_leave_nothing_dedicated(cloud, zone):
    dedicate(cloud, "Host", zone["hosts"][0], "/a/", account="ann")
    dedicate(cloud, "Host", zone["hosts"][1], "/c/")
    with reading() as session:
        ann = session.scalar(select(Account.uuid).where(Account.name == "ann"))
    cloud.job("deleteAccount", id=ann)
    cloud.job("deleteDomain", id=domain("/c/"), cleanup=True)
    with reading() as session:
        assert session.scalars(select(Dedication)).all() == []
        assert session.scalars(select(AffinityGroup).where(AffinityGroup.removed.is_(None))).all() == []
