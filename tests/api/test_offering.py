"""Service and disk offerings over the wire."""

import pytest

from tests.cloud import Refused
from tests.simulated import build

SIZE = {"cpunumber": 2, "cpuspeed": 400, "memory": 256}


def test_a_fresh_cloud_offers_two_sizes_of_machines_and_four_of_disks(cloud):
    cloud.account("ann")
    seen = cloud.ask("listServiceOfferings", user="ann")["serviceoffering"]
    assert [(o["name"], o["cpunumber"], o["cpuspeed"], o["memory"]) for o in seen] == [
        ("Small Instance", 1, 500, 512),
        ("Medium Instance", 1, 1000, 1024),
    ]
    disks = cloud.ask("listDiskOfferings", user="ann")["diskoffering"]
    assert [(d["name"], d["disksize"], d["iscustomized"]) for d in disks] == [
        ("Small", 5, False),
        ("Medium", 20, False),
        ("Large", 100, False),
        ("Custom", 0, True),
    ]
    system = cloud.ask("listServiceOfferings", issystem=True, systemvmtype="domainrouter")["serviceoffering"]
    assert {o["storagetype"] for o in system} == {"shared", "local"} and len(system) == 2


def test_a_service_offering_is_made_changed_and_deleted(cloud):
    made = cloud.ask(
        "createServiceOffering", name="big", displaytext="Big one", **SIZE, tags="t1, t2", hosttags="h1", offerha=True,
        **{"serviceofferingdetails[0].key": "k", "serviceofferingdetails[0].value": "v"},
    )["serviceoffering"]  # fmt: skip
    assert (made["cpunumber"], made["cpuspeed"], made["memory"]) == (2, 400, 256)
    assert (made["storagetags"], made["hosttags"], made["offerha"]) == ("t1,t2", "h1", True)
    assert made["serviceofferingdetails"] == {"k": "v"} and made["iscustomized"] is False
    changed = cloud.ask("updateServiceOffering", id=made["id"], name="bigger", displaytext="changed")["serviceoffering"]
    assert (changed["name"], changed["displaytext"], changed["diskofferingname"]) == ("bigger", "changed", "big")
    assert (changed["storagetags"], changed["hosttags"]) == ("t1,t2", "h1")
    changed = cloud.ask("updateServiceOffering", id=made["id"], storagetags="", hosttags="")["serviceoffering"]
    assert {"storagetags", "hosttags"} & changed.keys() == set()
    assert cloud.ask("deleteServiceOffering", id=made["id"]) == {"success": True}
    assert cloud.ask("listServiceOfferings", id=made["id"]) == {}


def test_users_choose_inside_bounds(cloud):
    made = cloud.ask(
        "createServiceOffering", name="c", cpuspeed=500, mincpunumber=1, maxcpunumber=4, minmemory=256, maxmemory=1024
    )["serviceoffering"]
    assert made["iscustomized"] is True and "cpunumber" not in made and made["cpuspeed"] == 500
    assert made["serviceofferingdetails"] == {
        "mincpunumber": "1",
        "maxcpunumber": "4",
        "minmemory": "256",
        "maxmemory": "1024",
    }


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"cpunumber": 0}, "cpunumber=0 is out of range"),
        ({"memory": 1}, "memory=1 is out of range"),
        ({"customized": "false", "memory": ""}, "needs memory"),
        ({"memory": ""}, "memory missing: send cpunumber"),
        ({"mincpunumber": 4, "maxcpunumber": 2, "minmemory": 64, "maxmemory": 128}, "mincpunumber=4 is above"),
        ({"mincpunumber": 4}, "is missing"),
        ({"storagetype": "floppy"}, "none of shared, local"),
        ({"issystem": True}, "needs systemvmtype"),
        ({"encryptroot": True}, "not supported"),
        ({"gpucount": 1}, "gpucount"),
        ({"miniops": 5}, "go together"),
        ({"bytesreadrate": 5, "bytesreadratemax": 4}, "below bytesreadrate"),
    ],
)
def test_a_bad_service_offering_is_refused_and_leaves_nothing(cloud, wrong, told):
    with pytest.raises(Refused) as no:
        cloud.ask("createServiceOffering", **{"name": "bad", **SIZE, **wrong})
    assert no.value.status == 431 and told in no.value.text
    assert cloud.ask("listServiceOfferings", name="bad") == {}


def test_an_offering_for_a_domain_is_hidden_from_others(cloud):
    cloud.account("ann", domain="/a/")
    cloud.account("deep", domain="/a/b/")
    cloud.account("bob", domain="/c/")
    domains = {d["name"]: d["id"] for d in _domains()}
    made = cloud.ask("createDiskOffering", name="theirs", disksize=3, domainid=domains["a"])["diskoffering"]
    assert made["domainid"] == domains["a"] and made["domain"] == "a"
    for user, sees in (("ann", True), ("deep", True), ("bob", False), ("admin", True)):
        assert bool(cloud.ask("listDiskOfferings", user=user, id=made["id"]) if sees else None) is sees
    with pytest.raises(Refused) as no:
        cloud.ask("listDiskOfferings", user="bob", id=made["id"])
    assert "Invalid parameter id" in no.value.text
    both = cloud.ask("updateDiskOffering", id=made["id"], domainid=f"{domains['a']},{domains['c']}")["diskoffering"]
    assert set(both["domainid"].split(",")) == {domains["a"], domains["c"]}
    assert cloud.ask("listDiskOfferings", user="bob", name="theirs")["count"] == 1
    assert "domainid" not in cloud.ask("updateDiskOffering", id=made["id"], domainid="public")["diskoffering"]


def test_domain_administrators_change_what_is_theirs_alone(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("ann", domain="/c/")
    domains = {d["name"]: d["id"] for d in _domains()}
    with pytest.raises(Refused) as no:
        cloud.ask("createDiskOffering", user="boss", name="x", disksize=1)
    assert "domainid is missing" in no.value.text
    with pytest.raises(Refused):
        cloud.ask("createDiskOffering", user="boss", name="x", disksize=1, domainid=domains["c"])
    mine = cloud.ask("createDiskOffering", user="boss", name="x", disksize=1, domainid=domains["a"])["diskoffering"]
    assert cloud.ask("updateDiskOffering", user="boss", id=mine["id"], name="y")["diskoffering"]["name"] == "y"
    assert cloud.ask("updateDiskOffering", user="boss", id=mine["id"], tags="")["diskoffering"]["name"] == "y"
    cloud.ask("updateDiskOffering", id=mine["id"], tags="ssd")
    with pytest.raises(Refused) as no:
        cloud.ask("updateDiskOffering", user="boss", id=mine["id"], tags="")
    assert "tags are for root administrators" in no.value.text
    assert "tags" not in cloud.ask("updateDiskOffering", id=mine["id"], tags="")["diskoffering"]
    cloud.ask("updateDiskOffering", id=mine["id"], domainid=f"{domains['a']},{domains['c']}")
    with pytest.raises(Refused):
        cloud.ask("deleteDiskOffering", user="boss", id=mine["id"])
    small = cloud.ask("listDiskOfferings", name="Small")["diskoffering"][0]
    with pytest.raises(Refused):
        cloud.ask("updateDiskOffering", user="boss", id=small["id"], name="z")


def test_disk_offerings_are_checked(cloud):
    for wrong, told in (({"disksize": 0}, "at least 1 GB"), ({"disksize": 3, "customized": True}, "not allowed")):
        with pytest.raises(Refused) as no:
            cloud.ask("createDiskOffering", name="bad", **wrong)
        assert no.value.status == 431 and told in no.value.text
    made = cloud.ask("createDiskOffering", name="q", disksize=1, bytesreadrate=1000, iopswriterate=50)["diskoffering"]
    assert (made["diskBytesReadRate"], made["diskIopsWriteRate"]) == (1000, 50)
    assert cloud.ask("updateDiskOffering", id=made["id"], state="Inactive")["diskoffering"]["state"] == "Inactive"
    assert cloud.ask("listDiskOfferings", name="q") == {}
    assert cloud.ask("listDiskOfferings", name="q", state="all")["count"] == 1


def test_what_system_vms_start_with_stays(cloud):
    one = cloud.ask("listServiceOfferings", issystem=True)["serviceoffering"][0]
    with pytest.raises(Refused) as no:
        cloud.ask("deleteServiceOffering", id=one["id"])
    assert "it stays" in no.value.text


def _domains():
    from sqlalchemy import select

    from mgmt_server.db import reading
    from mgmt_server.model.account import Domain

    with reading() as session:
        return [{"name": d.name, "id": d.uuid} for d in session.scalars(select(Domain))]


@pytest.mark.parametrize(
    ("kind", "answer", "sent"),
    [("ServiceOffering", "serviceoffering", SIZE), ("DiskOffering", "diskoffering", {"disksize": 1})],
)
def test_a_project_is_shown_the_offerings_of_its_domain(cloud, kind, answer, sent):
    cloud.account("ann", domain="/a/")
    cloud.account("bob", domain="/b/")
    domains = {d["name"]: d["id"] for d in cloud.ask("listDomains", listall=True)["domain"]}
    for name in ("a", "b"):
        cloud.ask(f"create{kind}", name=f"for {name}", displaytext="x", domainid=domains[name], **sent)
    project = cloud.job("createProject", user="ann", name="p", displaytext="p")["project"]["id"]

    def seen(user="admin", **more):
        return {o["name"] for o in cloud.ask(f"list{kind}s", user=user, **more)[answer]} & {"for a", "for b"}

    assert seen() == seen(projectid=-1) == {"for a", "for b"}
    assert seen(projectid=project) == seen(user="ann", projectid=project) == {"for a"}
    with pytest.raises(Refused) as no:
        seen(user="bob", projectid=project)
    assert no.value.status == 431


def test_bursts_of_disks_have_a_length(cloud):
    burst = {"iopswriterate": 50, "iopswriteratemax": 90, "iopswriteratemaxlength": 20}
    made = cloud.ask("createDiskOffering", name="d", displaytext="x", disksize=1, **burst)["diskoffering"]
    assert made["diskIopsWriteRateMaxLength"] == 20
    changed = cloud.ask("updateDiskOffering", id=made["id"], iopswriteratemaxlength=30)["diskoffering"]
    assert (changed["diskIopsWriteRateMaxLength"], changed["diskIopsWriteRateMax"]) == (30, 90)
    compute = cloud.ask("createServiceOffering", name="s", displaytext="x", **SIZE, **burst)["serviceoffering"]
    assert compute["diskIopsWriteRateMaxLength"] == 20
    alone = cloud.ask("createDiskOffering", name="e", displaytext="x", disksize=1)["diskoffering"]
    for sent, why in (
        ({"bytesreadratemaxlength": 5}, "bytesreadratemaxlength=5 is the length of bursts"),
        ({"bytesreadratemaxlength": 5, "bytesreadratemax": 9}, "is for bursts beyond bytesreadrate"),
        ({"bytesreadratemaxlength": 0}, "out of range: choose 1 to 86400 seconds"),
    ):
        with pytest.raises(Refused, match=why):
            cloud.ask("updateDiskOffering", id=alone["id"], **sent)
        with pytest.raises(Refused, match=why):
            cloud.ask("createDiskOffering", name="f", displaytext="x", disksize=1, **sent)


def test_offerings_that_let_users_choose_are_found_by_what_may_be_chosen(cloud):
    bounds = {"cpuspeed": 500, "mincpunumber": 1, "maxcpunumber": 4, "minmemory": 256, "maxmemory": 1024}
    cloud.ask("createServiceOffering", name="bounded", **bounds)
    cloud.ask("createServiceOffering", name="free", customized=True)
    cloud.ask("createServiceOffering", name="fixed", **SIZE)

    def found(**wanted):
        listed = cloud.ask("listServiceOfferings", **wanted).get("serviceoffering", [])
        return {o["name"] for o in listed} - {"Small Instance", "Medium Instance"}

    assert found(cpunumber=2) == {"bounded", "free", "fixed"}
    assert found(cpunumber=4) == {"bounded", "free"}
    assert found(cpunumber=5) == {"free"}
    assert found(memory=256, cpuspeed=500) == {"bounded", "free"}
    assert found(memory=1025) == {"free"}


def test_offerings_for_a_machine_are_those_that_it_could_change_to(cloud):
    zone = build()
    for name, wanted in (("small", {}), ("large", {"memory": 512}), ("stiff", {"dynamicscalingenabled": False})):
        cloud.ask("createServiceOffering", name=name, **{**SIZE, **wanted})
    own = cloud.ask("createServiceOffering", name="own", customized=True)["serviceoffering"]["id"]
    size = {"details[0].cpuNumber": 2, "details[0].cpuSpeed": 400, "details[0].memory": 300}
    place = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": own}
    vm = cloud.job("deployVirtualMachine", **place, **size)["virtualmachine"]

    def found():
        listed = cloud.ask("listServiceOfferings", virtualmachineid=vm["id"])["serviceoffering"]
        return {o["name"] for o in listed} - {"Small Instance", "Medium Instance"}

    assert vm["state"] == "Running" and found() == {"large", "own"}
    cloud.job("stopVirtualMachine", id=vm["id"])
    assert found() == {"small", "large", "stiff", "own"}
