"""Rules instead of tags: a comparison of the tags that an offering asks for decides where its machines go."""

import pytest
from sqlalchemy import select, update

from mgmt_server.allocation import tag_rules
from mgmt_server.db import reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm
from tests.api.test_vm import deploy
from tests.cloud import Refused
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build(hosts=2)
    found["hosts"] = found["hosts"].split(",")
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def offering(cloud, name, **more):
    sent = {"cpunumber": 1, "cpuspeed": 500, "memory": 512, "displaytext": name}
    return cloud.ask("createServiceOffering", name=name, **sent, **more)["serviceoffering"]["id"]


def rule(cloud, host, text):
    return cloud.ask("updateHost", id=host, hosttags=text, istagarule=True)["host"]


def host_of(vm):
    with reading() as session:
        return session.scalar(select(Host.uuid).join(Vm, Vm.host_id == Host.id).where(Vm.uuid == vm["id"]))


def test_a_rule_is_told_as_the_tags_and_goes_when_tags_are_set(cloud, zone):
    text = "tags == 'a,b' || tags.length > 3"
    told = rule(cloud, zone["hosts"][0], text)
    assert (told["hosttags"], told["explicithosttags"], told["istagarule"]) == (text, text, True)
    assert cloud.ask("listHostTags") == {}
    again = cloud.ask("updateHost", id=zone["hosts"][0], hosttags="a,b")["host"]
    assert (again["hosttags"], again["istagarule"]) == ("a,b", False)
    assert "hosttags" not in cloud.ask("updateHost", id=zone["hosts"][0], hosttags="")["host"]


def test_machines_go_where_the_rule_is_true(cloud, zone):
    first, second = zone["hosts"]
    rule(cloud, first, "tags.includes('gold') || tags[0] == 'silver'")
    cloud.ask("updateHost", id=second, hosttags="silver")
    gold, silver = (offering(cloud, name, hosttags=name) for name in ("gold", "silver"))
    for _ in range(2):
        assert host_of(deploy(cloud, zone, serviceofferingid=gold)) == first
        assert host_of(deploy(cloud, zone)) == second
    cloud.ask("updateHost", id=second, allocationstate="Disable")
    assert host_of(deploy(cloud, zone, serviceofferingid=silver)) == first
    with pytest.raises(Refused) as no:
        deploy(cloud, zone)
    assert "has a tag rule that does not fit an offering without tags" in no.value.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tags[7].length > 1", "has a tag rule that failed: an element that is not there has no length"),
        ("tags[0] > 1", "has a tag rule that failed: 'gold' and 1 have no order"),
        ("tags.length", "has a tag rule that failed: 1 is neither true nor false"),
        ("tags[0] != 'gold' || tags.length > 1", "has a tag rule that does not fit the tags gold"),
    ],
)
def test_a_rule_that_fails_refuses_and_the_explanation_says_so(cloud, zone, text, told):
    rule(cloud, zone["hosts"][0], text)
    sent = {"zoneid": zone["zone"], "templateid": zone["template"]}
    found = cloud.ask("explainDeployment", serviceofferingid=offering(cloud, "g", hosttags="gold"), **sent)[
        "deployment"
    ]
    assert not found["possible"] and found["host"][0]["rule"] == "tag" and told in found["host"][0]["reason"]


@pytest.mark.parametrize(
    "text",
    ["tags.includes(", "}; alert(1); {", " ", "while (true) {}", "tags.constructor", "tags['length']() ", "eval('1')",
     "tags = 'a'", "(" * 60 + "true" + ")" * 60, "tags.length == 99999999999", "x => x"],
)  # fmt: skip
def test_what_is_no_comparison_is_not_taken(cloud, zone, text):
    with pytest.raises(Refused, match="no comparison of tags|1 to 1000 characters") as no:
        rule(cloud, zone["hosts"][0], text)
    assert no.value.status == 431


def test_a_rule_needs_a_text(cloud, zone):
    with pytest.raises(Refused, match="needs hosttags"):
        cloud.ask("updateHost", id=zone["hosts"][0], istagarule=True)
    with pytest.raises(Refused, match="needs tags"):
        cloud.ask("updateStoragePool", id=cloud.ask("listStoragePools")["storagepool"][0]["id"], istagarule=True)


def test_pools_have_rules_too(cloud, zone):
    (pool,) = cloud.ask("listStoragePools")["storagepool"]
    assert pool["istagarule"] is False
    text = "tags.includes('fast')"
    changed = cloud.ask("updateStoragePool", id=pool["id"], tags=text, istagarule=True)["storagepool"]
    assert (changed["tags"], changed["istagarule"]) == (text, True)
    with pytest.raises(Refused) as no:
        deploy(cloud, zone)
    assert f"pool {pool['name']} has a tag rule that does not fit an offering without tags" in no.value.text
    made = cloud.ask(
        "createStoragePool", zoneid=zone["zone"], clusterid=zone["cluster"], podid=zone["pod"], name="second",
        url="nfs://192.0.2.9/second", tags="tags.length == 0", istagarule=True,
    )["storagepool"]  # fmt: skip
    assert made["istagarule"] is True
    for wanted, more in ((made, {}), (pool, {"serviceofferingid": offering(cloud, "fast", tags="fast")})):
        vm = deploy(cloud, zone, **more)
        (disk,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
        assert disk["storageid"] == wanted["id"]


def strict(cloud, name, value):
    cloud.ask("updateConfiguration", name=name, value=value)


def test_on_a_host_that_was_named_only_strict_tags_decide(cloud, zone):
    first, second = zone["hosts"]
    cloud.ask("updateHost", id=first, hosttags="gold,fast")
    sent = {"serviceofferingid": offering(cloud, "g", hosttags="gold,fast")}
    assert host_of(deploy(cloud, zone, **sent)) == first
    vm = deploy(cloud, zone, **sent, hostid=second)
    assert host_of(vm) == second, "the administrator says where"
    cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=first)
    strict(cloud, "vm.strict.host.tags", "other, fast")
    for call, more in (
        ("migrateVirtualMachine", {"virtualmachineid": vm["id"]}),
        ("startVirtualMachine", {"id": vm["id"]}),
    ):
        if call == "startVirtualMachine":
            cloud.job("stopVirtualMachine", id=vm["id"])
        with pytest.raises(Refused, match="lacks the tag fast$|lacks the tag fast;"):
            cloud.job(call, **more, hostid=second)
    with pytest.raises(Refused, match="lacks the tag fast"):
        deploy(cloud, zone, **sent, hostid=second)
    cloud.ask("updateHost", id=second, hosttags="fast")
    cloud.job("startVirtualMachine", id=vm["id"], hostid=second)
    assert host_of(vm) == second


@pytest.mark.parametrize("looked", [True, False])
def test_tags_with_limits_of_their_own_are_strict_unless_a_setting_says_otherwise(cloud, zone, looked):
    first, second = zone["hosts"]
    cloud.ask("updateHost", id=first, hosttags="gpu")
    strict(cloud, "resource.limit.host.tags", "gpu")
    strict(cloud, "vm.strict.resource.limit.host.tag.check", str(looked).lower())
    sent = {"serviceofferingid": offering(cloud, "g", hosttags="gpu"), "hostid": second}
    explained = cloud.ask(
        "explainDeployment", zoneid=zone["zone"], templateid=zone["template"], **sent
    )["deployment"]  # fmt: skip
    assert explained["possible"] is not looked
    if looked:
        with pytest.raises(Refused, match="lacks the tag gpu"):
            deploy(cloud, zone, **sent)
    else:
        assert host_of(deploy(cloud, zone, **sent)) == second


def test_a_rule_is_asked_on_a_named_host_for_strict_tags_alone(cloud, zone):
    first, _ = zone["hosts"]
    rule(cloud, first, "tags.length == 1 && tags[0] == 'gold'")
    sent = {"serviceofferingid": offering(cloud, "g", hosttags="gold,fast"), "hostid": first}
    assert host_of(deploy(cloud, zone, **sent)) == first
    strict(cloud, "vm.strict.host.tags", "gold")
    assert host_of(deploy(cloud, zone, **sent)) == first
    strict(cloud, "vm.strict.host.tags", "fast")
    with pytest.raises(Refused, match="has a tag rule that does not fit the tags fast"):
        deploy(cloud, zone, **sent)


def test_a_machine_that_runs_gets_an_offering_whose_strict_tags_its_host_has(cloud, zone):
    first, _ = zone["hosts"]
    strict(cloud, "enable.dynamic.scale.vm", "true")
    write(lambda tx: tx.execute(update(Template).values(dynamically_scalable=True)) and None)
    vm = deploy(cloud, zone, serviceofferingid=offering(cloud, "plain"), hostid=first)
    strict(cloud, "vm.strict.host.tags", "gold")
    with pytest.raises(Refused, match="The host of the machine lacks the tag gold, for which gold asks"):
        cloud.ask("scaleVirtualMachine", id=vm["id"], serviceofferingid=offering(cloud, "gold", hosttags="gold"))
    fast = offering(cloud, "fast", hosttags="fast")
    told = cloud.job("scaleVirtualMachine", id=vm["id"], serviceofferingid=fast)["virtualmachine"]
    assert (told["serviceofferingname"], told["state"]) == ("fast", "Running")


def test_a_machine_goes_to_hosts_with_the_tag_of_its_template_too(cloud, zone):
    _, second = zone["hosts"]
    cloud.ask("updateTemplate", id=zone["template"], templatetag="gold")
    with pytest.raises(Refused, match="lacks the tag gold"):
        deploy(cloud, zone)
    cloud.ask("updateHost", id=second, hosttags="gold")
    assert host_of(deploy(cloud, zone)) == second


@pytest.mark.parametrize(
    ("text", "wanted", "true"),
    [
        ("tags.length == 0", [], True),
        ("tags[0] === 'a' && !(tags.indexOf('b') > -1)", ["a"], True),
        ("tags[0] === 'a' && !(tags.indexOf('b') > -1)", ["a", "b"], False),
        ('tags == "a,b"', ["a", "b"], True),
        ("tags !== 'a'", ["a"], False),
        ("tags[1] == tags[0]", ["a"], False),
        ("tags[0].startsWith('ss') || tags[0].endsWith('d')", ["hdd"], True),
        ("tags[0].length >= 3 && tags[0].includes('s')", ["ssd"], True),
        ("true || tags[0].length > 0", [], True),
        ("!!false", [], False),
        ("tags[0] < 'b'", ["a"], True),
        ("1 == '1'", [], False),
    ],
)
def test_what_rules_say(text, wanted, true):
    assert tag_rules.holds(text, wanted) is true
