# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules about people, limits, tags and settings do beyond the cycle."""

from __future__ import annotations

import pytest
from ansible_collections.cloudwright.cloud.tests.unit.cycle import cycle
from ansible_collections.cloudwright.cloud.tests.unit.samples_identity import PERSON, SAMPLES, TENANT

ON_TENANT = {"resource_type": "Account", "resource": "tenant", "domain": "ROOT/tenants"}


PLACED = ["account", "user", "project", "project_member", "resource_limit", "tag", "dedication", "guest_vlan_range"]


@pytest.mark.parametrize("module", PLACED)
def test_an_unknown_domain_names_itself_and_nothing_is_in_it(run, module):
    options = {**SAMPLES[module]["create"], "domain": "ROOT/nowhere"}
    assert "no domain named 'ROOT/nowhere'" in run(module, **options)["msg"]
    assert run.ok(module, **{**options, "state": "absent"})["changed"] is False


def test_what_is_not_waited_for_is_told_by_its_job(run):
    options = {**SAMPLES["project_member"]["create"], "wait": False}
    started = run.ok("project_member", **options)
    assert started["changed"] is True and started["job_id"] and "queryAsyncJobResult" not in run.cloud.calls
    assert run.ok("project_member", **options)["changed"] is False


def test_a_domains_name_alone_is_refused_before_anything_is_read(run):
    for path in ("tenants", "ROOT/", "/ROOT/tenants", "ROOT//tenants"):
        assert "is not the path of a domain" in run("domain", path=path, state="absent")["msg"]
    assert run.cloud.calls == []


def test_a_domain_needs_the_one_above_it(run):
    assert "no domain named 'ROOT/nowhere'" in run("domain", check=True, path="ROOT/nowhere/team")["msg"]


def test_a_domain_moves_with_its_id_and_another_path(run):
    made = run.ok("domain", path="ROOT/tenants/team")["entity"]
    run.cloud.calls.clear()
    cycle(run, "domain", id=made["id"], path="ROOT/team")
    assert "updateDomain" not in run.cloud.calls and run.cloud.calls.count("moveDomain") == 1


def test_an_account_of_another_domain_is_another_account(run):
    result = run.ok("account", check=True, **{**TENANT, "domain": "ROOT"}, **PERSON)
    assert result["changed"] is True and result["diff"]["before"] == {}
    assert "domain" in run("account", name="tenant", state="absent")["msg"]


def test_a_password_is_given_to_new_users_only_unless_told_otherwise(run):
    options = SAMPLES["user"]["create"]
    made = run.ok("user", **options)
    assert options["password"] not in str({k: v for k, v in made.items() if k != "invocation"})
    assert run.ok("user", **{**options, "password": "another-one-2"})["changed"] is False
    for _again in range(2):
        run.cloud.calls.clear()
        done = run.ok("user", **{**options, "password": "another-one-2", "update_password": "always"})
        assert done["changed"] is True and run.cloud.calls.count("updateUser") == 1
        assert done["diff"] == {"before": {"password": "not told"}, "after": {"password": "given anew"}}
    user = next(u for u in run.cloud.kinds["user"].values() if u["username"] == "person")
    assert user["password"] == "another-one-2"


def test_a_disabled_account_is_let_in_before_it_is_locked(run):
    run.ok("account", **TENANT, state="disabled")
    run.cloud.calls.clear()
    assert run.ok("account", **TENANT, state="locked")["entity"]["state"] == "locked"
    assert run.cloud.calls.index("enableAccount") < run.cloud.calls.index("disableAccount")


def test_rules_keep_the_order_of_a_list(run):
    wanted = [("listUsers", "deny"), ("list*", "allow"), ("listVirtualMachines", "deny")]
    for changed in (True, False):
        results = [
            run.ok("role_permission", role="auditor", rule=rule, permission=permission, position=number)
            for number, (rule, permission) in enumerate(wanted, 1)
        ]
        assert [r["changed"] for r in results] == [changed] * 3
    assert [r["rule"] for r in run.ok("role_permission_info", role="auditor")["entities"]] == [r for r, _p in wanted]
    assert "the first rule" in run("role_permission", role="auditor", rule="*", permission="deny", position=0)["msg"]


def test_a_single_user_is_a_member_apart_from_its_account(run):
    place = {"project": "ours", "domain": "ROOT/tenants"}
    run.ok("user", **SAMPLES["user"]["create"])
    made = cycle(run, "project_member", **place, user="person")[1]
    assert made["entity"]["username"] == "person" and made["entity"]["role"] == "Regular"
    cycle(run, "project_member", **place, user="person", role="Admin")
    assert run.ok("project_member", check=True, **place, account="tenant")["changed"] is True
    cycle(run, "project_member", **place, user="person", state="absent")
    assert [m["account"] for m in run.ok("project_member_info", **place)["entities"]] == ["keeper"]


def test_limits_with_a_tag_are_apart_from_those_without(run):
    limit = {"domain": "ROOT/tenants", "resource_type": "cpu"}
    cycle(run, "resource_limit", **limit, max=8)
    cycle(run, "resource_limit", **limit, tag="gold", max=4)
    assert run.ok("resource_limit", check=True, **limit, max=8)["changed"] is False
    assert run.ok("resource_limit_info", domain="ROOT/tenants", name="cpu")["entities"][0]["max"] == 8


def test_exclusive_tags_leave_no_others_and_merged_ones_do(run):
    cycle(run, "tag", **ON_TENANT, tags={"a": 1, "b": "2"})
    merged = cycle(run, "tag", **ON_TENANT, tags={"c": "3"})
    assert [r["entity"]["tags"] for r in merged] == [{"a": "1", "b": "2", "c": "3"}] * 2
    alone = cycle(run, "tag", **ON_TENANT, tags={"b": "2"}, exclusive=True)[1]
    assert alone["entity"]["tags"] == alone["diff"]["after"]["tags"] == {"b": "2"}
    cycle(run, "tag", **ON_TENANT, tags={"b": None}, state="absent")


def test_a_dedication_that_cannot_change_is_called_by_its_kind_for_it_has_no_name(run):
    options = SAMPLES["dedication"]["create"]
    run.ok("dedication", **options)
    refused = run("dedication", **{**options, "domain": "ROOT", "account": None})["msg"]
    assert refused.startswith("dedicated_zone: cannot change after creation: domain (is ")


VLANS = {"zone": "lab", "physical_network": "net"}
TENANTS = {"domain": "ROOT/tenants", "account": "tenant"}
WHOLE = {**VLANS, "vlan_range": "160-169"}


def test_vlans_of_a_wider_range_of_the_same_account_are_kept_already(run):
    """Where servers make one range of two beside each other, a task for each of the two finds its VLANs kept."""
    run.ok("guest_vlan_range", **WHOLE, **TENANTS)
    for part in ("160-164", "165-169", "167", " 162 - 163 "):
        found = run.ok("guest_vlan_range", **{**WHOLE, "vlan_range": part}, **TENANTS)
        assert found["changed"] is False and found["entity"]["guestvlanrange"] == "160-169"
    keeper = {**TENANTS, "account": "keeper"}
    for check in (True, False):
        refused = run("guest_vlan_range", check=check, **{**WHOLE, "vlan_range": "160-164"}, **keeper)["msg"]
        assert refused == (
            "guest VLANs 160-164: 160-169 are dedicated to account tenant; release these first, or leave them out"
        )
    assert run.cloud.calls.count("dedicateGuestVlanRange") == 1


@pytest.mark.parametrize("part", ["155-160", "169-175", "155-175"])
def test_vlans_of_which_some_are_dedicated_name_the_range_that_has_them(run, part):
    """Also to the same account, and before anything is sent: which of the two ranges is meant is not to be guessed."""
    run.ok("guest_vlan_range", **WHOLE, **TENANTS)
    for check in (True, False):
        refused = run("guest_vlan_range", check=check, **{**WHOLE, "vlan_range": part}, **TENANTS)["msg"]
        assert f"VLANs {part}: 160-169 are dedicated to account tenant; release" in refused
    assert run.cloud.calls.count("dedicateGuestVlanRange") == 1


def test_a_range_is_released_as_a_whole(run):
    run.ok("guest_vlan_range", **WHOLE, **TENANTS)
    run.ok("guest_vlan_range", **{**WHOLE, "vlan_range": "170"}, domain="ROOT/tenants", project="ours")
    for part, told in (
        ("160-164", "160-169 are dedicated to account tenant; a range is released as a whole"),
        ("160-170", "160-169 are dedicated to account tenant and 170-170 are dedicated to project ours; a range is"),
    ):
        assert told in run("guest_vlan_range", **{**WHOLE, "vlan_range": part}, state="absent")["msg"]
    assert "releaseDedicatedGuestVlanRange" not in run.cloud.calls
    cycle(run, "guest_vlan_range", **WHOLE, state="absent")
    left = run.ok("guest_vlan_range_info", **VLANS, domain="ROOT/tenants", project="ours")["entities"]
    assert [one["guestvlanrange"] for one in left] == ["170-170"]
    assert run.ok("guest_vlan_range_info", **VLANS, **TENANTS)["entities"] == []


def test_a_dedicated_range_says_who_has_it_and_a_release_what_it_was(run):
    made = cycle(run, "guest_vlan_range", **WHOLE, **TENANTS)[1]
    refused = run("guest_vlan_range", **WHOLE, domain="ROOT/tenants", account="keeper")["msg"]
    assert "guest_vlan_range: cannot change after creation: account (is 'tenant', asked for 'keeper')" in refused
    gone = cycle(run, "guest_vlan_range", **WHOLE, state="absent")[1]
    domain = made["diff"]["after"]["domain"]
    assert gone["diff"]["before"] == {"vlan_range": "160-169", "domain": domain, "account": "tenant"}


def test_vlans_that_are_no_single_range_or_for_nobody_are_refused_before_anything_is_sent(run):
    for wrong in ("x", "169-160", "160-162,165", "160-", "-160", "vlan://160"):
        for state in ("present", "absent"):
            refused = run("guest_vlan_range", **{**WHOLE, "vlan_range": wrong}, **TENANTS, state=state)["msg"]
            assert "is not one range of VLANs" in refused
    assert run.cloud.calls == []
    assert run("guest_vlan_range", check=True, **WHOLE)["msg"] == "a new guest_vlan_range needs account"
    assert "mutually exclusive" in run("guest_vlan_range", **WHOLE, **TENANTS, project="ours")["msg"]
    assert "domain" in run("guest_vlan_range", **WHOLE, account="tenant")["msg"]


def test_no_more_events_than_asked_for_are_read(run):
    assert len(run.ok("event_info", limit=1)["entities"]) == 1
    assert len(run.ok("event_info")["entities"]) == 2


PLACES = {
    "zone": {"zone": "lab"},
    "cluster": {"zone": "lab", "cluster": "c1"},
    "storage_pool": {"zone": "lab", "storage_pool": "primary"},
    "image_store": {"zone": "lab", "image_store": "secondary"},
    "domain": {"domain": "ROOT/tenants"},
    "account": {"domain": "ROOT/tenants", "account": "tenant"},
}


@pytest.mark.parametrize("scope", sorted(PLACES))
def test_a_setting_has_a_value_in_each_scope_and_goes_back_to_what_holds_around_it(run, scope):
    setting = {"name": "cpu.overprovisioning.factor", **PLACES[scope]}
    run.ok("configuration", name="cpu.overprovisioning.factor", value="3.0")
    made = cycle(run, "configuration", **setting, value="2.0")[1]
    assert made["diff"] == {"before": {"value": "3.0"}, "after": {"value": "2.0"}}
    shown = run.ok("configuration_info", **setting)["entities"]
    assert [s["value"] for s in shown] == ["2.0"]
    back = cycle(run, "configuration", **setting, state="default")[1]
    assert back["diff"]["after"] == {"value": "3.0"}
