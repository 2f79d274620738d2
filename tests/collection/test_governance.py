"""The modules about people, limits, tags, dedications and settings against the real server, beyond their cycle."""

from __future__ import annotations

import pytest

from tests.collection.servers import ROOT  # noqa: F401  makes the collection importable

from ansible_collections.cloudwright.cloud.tests.unit.cycle import cycle  # isort: skip
from ansible_collections.cloudwright.cloud.tests.unit.samples import SAMPLES  # isort: skip


PLACES = {
    "zone": {"zone": "lab"},
    "cluster": {"zone": "lab", "cluster": "c1"},
    "storage_pool": {"zone": "lab", "storage_pool": "primary"},
    "domain": {"domain": "ROOT/tenants"},
    "account": {"domain": "ROOT/tenants", "account": "tenant"},
}


@pytest.mark.parametrize("scope", sorted(PLACES))
def test_a_setting_has_a_value_in_each_scope_and_goes_back_to_what_holds_around_it(run, scope):
    """Any that may have one there; one that nothing has a value of its own for yet."""
    found = run.ok("configuration_info", **PLACES[scope])["entities"]
    usual = [s for s in found if "value" in s and s["value"] == s["defaultvalue"]]
    setting = next(s for s in usual if s["value"] in ("true", "false") or s["value"].replace(".", "").isdecimal())
    other = {"true": "false", "false": "true"}.get(setting["value"], "0.5" if "." in setting["value"] else "7")
    named = {"name": setting["name"], **PLACES[scope]}
    made = cycle(run, "configuration", **named, value=other)[1]
    assert made["diff"] == {"before": {"value": setting["value"]}, "after": {"value": other}}
    assert [s["value"] for s in run.ok("configuration_info", **named)["entities"]] == [other]
    assert [s["value"] for s in run.ok("configuration_info", name=setting["name"])["entities"]] == [setting["value"]]
    back = cycle(run, "configuration", **named, state="default")[1]
    assert back["diff"]["after"] == {"value": setting["value"]}


def test_a_setting_has_a_value_for_one_image_store(run):
    (store,) = run.ok("image_store_info", zone="lab")["entities"]
    place = {"name": "secstorage.nfs.version", "zone": "lab", "image_store": store["name"]}
    cycle(run, "configuration", **place, value="4.1")
    assert [s["value"] for s in run.ok("configuration_info", **place)["entities"]] == ["4.1"]
    assert [s["value"] for s in run.ok("configuration_info", name=place["name"])["entities"]] == [""]
    cycle(run, "configuration", **place, state="default")
    assert [s["value"] for s in run.ok("configuration_info", **place)["entities"]] == [""]


@pytest.mark.parametrize(
    ("resource_type", "where"),
    [
        ("Network", {"resource": "guests", "zone": "lab"}),
        ("Template", {"resource": "tiny"}),
        ("Project", {"resource": "ours", "domain": "ROOT/tenants"}),
        ("User", {"resource": "tenant", "domain": "ROOT/tenants"}),
    ],
)
def test_tags_of_each_kind_are_merged_or_exclusive(run, resource_type, where):
    place = {"resource_type": resource_type, **where}
    cycle(run, "tag", **place, tags={"a": "1", "b": "2"})
    merged = cycle(run, "tag", **place, tags={"b": "3", "c": "4"})
    assert [r["entity"]["tags"] for r in merged] == [{"a": "1", "b": "3", "c": "4"}] * 2
    assert cycle(run, "tag", **place, tags={"b": "3"}, exclusive=True)[1]["entity"]["tags"] == {"b": "3"}
    assert cycle(run, "tag", **place, tags={"b": None}, state="absent")[1]["entity"]["tags"] == {}


@pytest.mark.parametrize("resource_type", ["pod", "cluster", "host"])
def test_every_kind_of_place_is_dedicated_and_released(run, resource_type):
    pod = {"start_ip": "10.98.0.10", "end_ip": "10.98.0.20", "gateway": "10.98.0.1", "netmask": "255.255.255.0"}
    place = {"zone": "lab", "pod": "hers"}
    run.ok("pod", zone="lab", name="hers", **pod)
    run.ok("cluster", **place, name="hers-c", hypervisor="Simulator")
    run.ok("host", **place, cluster="hers-c", name="hers-h", hypervisor="Simulator", url="http://sim/hers/h")
    resource = {"pod": "hers", "cluster": "hers-c", "host": "hers-h"}[resource_type]
    named = {"resource_type": resource_type, "resource": resource, "zone": "lab"}
    cycle(run, "dedication", **named, domain="ROOT/tenants", account="tenant")
    found = run.ok("dedication_info", resource_type=resource_type, name=resource, domain="ROOT/tenants")["entities"]
    assert [d[f"{resource_type}name"] for d in found] == [resource]
    cycle(run, "dedication", **named, state="absent")
    cycle(run, "dedication", **named, domain="ROOT/tenants")
    cycle(run, "dedication", **named, state="absent")


def test_guest_vlans_are_dedicated_and_released_range_by_range(run):
    place = {"zone": "lab", "physical_network": "net"}
    tenant, keeper = ({"domain": "ROOT/tenants", "account": name} for name in ("tenant", "keeper"))
    first, second = ({**place, "vlan_range": vlans} for vlans in ("160-169", "170"))
    others = run.ok("guest_vlan_range_info", **place)["entities"]
    made = cycle(run, "guest_vlan_range", **first, **tenant)[1]["entity"]
    assert (made["guestvlanrange"], made["account"], made["domainpath"]) == ("160-169", "tenant", "ROOT/tenants")
    cycle(run, "guest_vlan_range", **second, domain="ROOT/tenants", project="ours")

    def ranges(**whose):
        found = run.ok("guest_vlan_range_info", **place, domain="ROOT/tenants", **whose)["entities"]
        return [entity["guestvlanrange"] for entity in found if entity not in others]

    assert (ranges(account="tenant"), ranges(project="ours")) == (["160-169"], ["170-170"])
    assert ranges(account="keeper") == [] and ranges(name="160-169") == ["160-169"]
    assert sorted(ranges()) == ["160-169", "170-170"]

    overlapping = {**place, "vlan_range": "165-174"}
    for check in (True, False):
        refused = run("guest_vlan_range", check=check, **overlapping, **keeper)["msg"]
        assert "165-174: 160-169 are dedicated to account tenant and 170-170 are dedicated to project ours" in refused
    assert "account (is 'tenant', asked for 'keeper')" in run("guest_vlan_range", **first, **keeper)["msg"]
    part = {**place, "vlan_range": "160-164"}
    assert run.ok("guest_vlan_range", **part, **tenant)["changed"] is False
    assert "160-169 are dedicated to account tenant" in run("guest_vlan_range", **part, **keeper)["msg"]
    assert "is released as a whole" in run("guest_vlan_range", **part, state="absent")["msg"]
    outside = run("guest_vlan_range", **{**place, "vlan_range": "199-201"}, **tenant)["msg"]
    assert "the VLANs 199 to 201 are not all in 100-200" in outside

    cycle(run, "guest_vlan_range", **first, state="absent")
    cycle(run, "guest_vlan_range", **{**place, "vlan_range": "165-169"}, **keeper)
    cycle(run, "guest_vlan_range", **{**place, "vlan_range": "165-169"}, state="absent")
    cycle(run, "guest_vlan_range", **second, state="absent")
    assert ranges() == []


def test_a_domain_moves_and_takes_what_is_in_it_along(run):
    made = run.ok("domain", path="ROOT/tenants/moves")["entity"]
    run.ok("domain", path="ROOT/tenants/moves/below")
    cycle(run, "domain", id=made["id"], path="ROOT/moved")
    assert run.ok("domain_info", name="ROOT/moved/below")["entities"]
    assert "msg" in run("domain", path="ROOT/moved", state="absent"), "something is in it"
    cycle(run, "domain", path="ROOT/moved", state="absent", cleanup=True)
    assert run.ok("domain_info", name="ROOT/moved/below")["entities"] == []


def test_users_rules_members_and_limits_beside_the_cycle(run):
    person = {**SAMPLES["user"]["create"], "name": "single"}
    place = {"project": "ours", "domain": "ROOT/tenants"}
    run.ok("user", **person)
    assert run.ok("user", **{**person, "password": "another-one-2"})["changed"] is False
    new = run.ok("user", **{**person, "password": "another-one-2", "update_password": "always"})
    assert new["changed"] is True and "another-one-2" not in str({k: v for k, v in new.items() if k != "invocation"})
    cycle(run, "project_member", **place, user="single")
    cycle(run, "project_member", **place, user="single", role="Admin")
    cycle(run, "project_member", **place, user="single", state="absent")
    for number, rule in enumerate(("listUsers", "listHosts", "list*"), 1):
        cycle(run, "role_permission", role="auditor", rule=rule, permission="deny", position=number)
    order = [rule["rule"] for rule in run.ok("role_permission_info", role="auditor")["entities"]]
    assert order == ["listUsers", "listHosts", "list*", "listVirtualMachines"]
    cycle(run, "resource_limit", **place, resource_type="volume", max=3)
    cycle(run, "resource_limit", domain="ROOT/tenants", resource_type="secondary_storage", max=100)
    found = run.ok("resource_limit_info", **place, name="volume")["entities"]
    assert [limit["max"] for limit in found] == [3]


def test_what_happened_and_what_there_is_are_narrowed(run):
    run.ok("domain", path="ROOT/tenants/told")
    told = run.ok("event_info", type="DOMAIN.CREATE", list_all=True, limit=1)["entities"]
    assert len(told) == 1 and "told" in told[0]["description"]
    memory = run.ok("capacity_info", zone="lab", cluster="c1", type="memory")["entities"]
    assert [entry["name"] for entry in memory] == ["MEMORY"] and memory[0]["clustername"] == "c1"
