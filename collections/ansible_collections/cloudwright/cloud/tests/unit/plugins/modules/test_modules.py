# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module found in plugins/modules goes through the same cycle."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import yaml
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Choice, Entity, EntityInfo
from ansible_collections.cloudwright.cloud.tests.unit.cycle import cycle, life
from ansible_collections.cloudwright.cloud.tests.unit.samples import PLACE, SAMPLES, ZONE

ROOT = Path(__file__).parents[4]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))
TESTED_APART = ("api_request", "image_download", "rolling_maintenance")
WRITING = [name for name in MODULES if not name.endswith("_info") and name not in TESTED_APART]
INFOS = [name for name in MODULES if name.endswith("_info")]
LISTED_ELSEWHERE = {"host_power"}  # by the infos of hosts
LISTS_ONLY = {
    "alert_info": {},
    "capacity_info": {},
    "event_info": {},
    "management_server_info": {},
    "unmanaged_vm_info": {"zone": "lab", "cluster": "c1"},
}


def entity(name):
    """The ENTITY of a module."""
    return import_module(f"ansible_collections.cloudwright.cloud.plugins.modules.{name}").ENTITY


def meant(name, options):
    """The entity or list of a module, where it has several that of these options."""
    found = entity(name)
    return found.entities[options[found.option]] if isinstance(found, Choice) else found


def test_every_module_has_a_sample_a_route_and_a_place_in_the_group():
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert set(WRITING) == set(SAMPLES)
    assert runtime["action_groups"]["cloud"] == MODULES
    assert set(runtime["plugin_routing"]["modules"]) == set(MODULES)
    listing = [name for name in WRITING if name not in LISTED_ELSEWHERE]
    listed = {f"{name}_info" for name in listing if isinstance(entity(name), (Entity, Choice))}
    assert set(INFOS) == listed.union(LISTS_ONLY)
    assert all({"wait", "wait_timeout"} <= set(entity(name).argument_spec) for name in MODULES), "defaults of the group"


@pytest.mark.parametrize("module", WRITING)
def test_life(run, module):
    life(run, module)


@pytest.mark.parametrize("module", [name for name in INFOS if name not in LISTS_ONLY])
def test_info_finds_one_and_none(run, module):
    of = module.replace("_info", "")
    create = SAMPLES[of]["create"]
    spec = meant(module, create)
    assert isinstance(spec, EntityInfo)
    run.ok(of, **create)
    key = SAMPLES[of].get("called") or create[meant(of, create).key]
    filters = {name: create[name] for name in spec.filters if name in create and name != "state"}
    run.cloud.calls.clear()
    found = run.ok(module, check=True, name=key, **filters)
    assert found["changed"] is False
    assert len(found["entities"]) == 1
    assert run.ok(module, name="nobody", **filters)["entities"] == []
    assert run.ok(module, **filters)["entities"]
    assert all(call.startswith("list") for call in run.cloud.calls)


@pytest.mark.parametrize("module", LISTS_ONLY)
def test_what_can_only_be_read_is_found(run, module):
    found = run.ok(module, check=True, **LISTS_ONLY[module])
    assert found["changed"] is False and found["entities"]
    assert run.cloud.calls and all(call.startswith("list") for call in run.cloud.calls)


@pytest.mark.parametrize("module", [name for name in WRITING if "zone" in getattr(entity(name), "fields", {})])
def test_an_unknown_reference_names_itself(run, module):
    options = {**SAMPLES[module]["create"], "zone": "nowhere"}
    assert "no zone named 'nowhere'" in run(module, **options)["msg"]
    if "end" not in SAMPLES[module]:
        gone = run.ok(module, **{**options, "state": "absent"})
        assert gone["changed"] is False  # what is in no zone is absent


def test_a_pod_is_looked_for_in_its_zone_only(run):
    run.ok("zone", name="other", dns1="192.0.2.1")
    result = run("cluster", name="c9", zone="other", pod="pod1", hypervisor="KVM")
    assert "no pod named 'pod1' in zone 'other'" in result["msg"]


def test_a_list_looks_for_a_machine_in_its_zone_only(run):
    """Wherever the option that says where stands among the module's."""
    made = SAMPLES["vm"]["create"]
    run.ok("vm", **made)
    (there,) = [vm for vm in run.cloud.kinds["virtualmachine"].values() if vm["name"] == made["name"]]
    run.ok("zone", name="other", dns1="192.0.2.1")
    (other,) = [zone for zone in run.cloud.kinds["zone"].values() if zone["name"] == "other"]
    like = {name: value for name, value in there.items() if name != "id"}
    run.cloud.add("virtualmachine", {**like, "zoneid": other["id"], "zonename": "other"})
    asked = {"vm": there["name"]}
    assert there["id"] in run("vm_nic_info", **asked)["msg"], "two have that name"
    assert run.ok("vm_nic_info", zone="lab", **asked)["entities"]


def test_two_of_one_name_are_an_error_with_both_ids(run):
    for _again in range(2):
        run.cloud.add("serviceoffering", {"name": "twin"})
    message = run("service_offering", name="twin", display_text="x")["msg"]
    ids = [e["id"] for e in run.cloud.kinds["serviceoffering"].values() if e["name"] == "twin"]
    assert all(ident in message for ident in ids)
    assert run("service_offering", id=ids[0], display_text="x")["changed"] is True


def test_an_unknown_id_creates_nothing(run):
    result = run("zone", id="1f573c02-cc54-4e61-b243-8cc813a5d5bd", name="x", dns1="192.0.2.1")
    assert "no zone with id" in result["msg"]
    assert run.ok("zone", id="1f573c02-cc54-4e61-b243-8cc813a5d5bd", state="absent")["changed"] is False


def test_what_a_new_one_needs_is_named_before_anything_is_sent(run):
    result = run("pod", check=True, name="p", zone="lab")
    assert result["msg"] == "a new pod needs start_ip, gateway, netmask"


def test_a_part_of_a_machines_name_is_not_its_name(run):
    base = SAMPLES["vm"]["create"]
    run.ok("vm", **{**base, "name": "web10"})
    assert run.ok("vm", **{**base, "name": "web1"})["changed"] is True
    assert run.ok("vm", name="web", zone="lab", state="absent")["changed"] is False


def test_restart_always_changes(run):
    options = SAMPLES["vm"]["create"]
    assert run.ok("vm", **options, state="restarted")["changed"] is True
    assert "rebootVirtualMachine" not in run.cloud.calls  # it was just started
    for _again in range(2):
        run.cloud.calls.clear()
        assert run.ok("vm", **options, state="restarted")["changed"] is True
        assert run.cloud.calls.count("rebootVirtualMachine") == 1
    assert run.ok("network", name="guests", zone="lab", state="restarted")["changed"] is True


def test_a_stopped_machine_never_runs(run):
    made = run.ok("vm", **SAMPLES["vm"]["create"], state="stopped")
    assert made["entity"]["state"] == "Stopped"
    assert "stopVirtualMachine" not in run.cloud.calls


def test_a_stop_comes_before_the_change_and_a_start_after_it(run):
    options = SAMPLES["vm"]["create"]
    run.ok("vm", **options)
    run.cloud.calls.clear()
    run.ok("vm", **{**options, "service_offering": "Small Instance", "state": "stopped"})
    run.ok("vm", **{**options, "service_offering": "tiny", "state": "started"})
    order = [c for c in run.cloud.calls if c in ("stopVirtualMachine", "scaleVirtualMachine", "startVirtualMachine")]
    assert order == ["stopVirtualMachine", "scaleVirtualMachine", "scaleVirtualMachine", "startVirtualMachine"]


def test_without_wait_the_last_job_is_left_alone(run):
    result = run.ok("vm", **SAMPLES["vm"]["create"], wait=False)
    assert result["job_id"] in run.cloud.jobs
    assert "queryAsyncJobResult" not in run.cloud.calls


def test_a_forced_host_skips_maintenance(run):
    run.ok("host", name="sim1", **PLACE, state="absent", forced=True)
    assert "prepareHostForMaintenance" not in run.cloud.calls
    run.ok("host", name="sim2", **PLACE, state="absent")
    assert "prepareHostForMaintenance" in run.cloud.calls


def test_a_host_is_waited_for(run):
    made = run.ok("host", **SAMPLES["host"]["create"])
    assert made["entity"]["state"] == "Up"
    assert made["entity"]["name"] == "cycle"  # whatever the server called it


def test_a_host_that_does_not_come_up_is_found_again(run):
    listing = run.cloud.commands["listHosts"]

    def down(params):
        return {**listing(params), "host": [{**h, "state": "Down"} for h in listing(params).get("host", [])]}

    run.cloud.commands["listHosts"] = down
    result = run("host", **SAMPLES["host"]["create"], wait_timeout=5)
    assert "after wait_timeout=5 s" in result["msg"]
    run.cloud.commands["listHosts"] = listing
    again = run.ok("host", **SAMPLES["host"]["create"])
    assert again["changed"] is False and run.cloud.calls.count("addHost") == 1


def test_a_download_that_failed_says_why(run):
    born = run.cloud.born
    detail = {"downloaddetails": [{"downloadState": "DOWNLOAD_ERROR"}], "status": "404 Not Found"}
    run.cloud.born = lambda kind, entity, params: {**born(kind, entity, params), **detail}
    assert "the download failed: 404 Not Found" in run("template", **SAMPLES["template"]["create"])["msg"]


def test_a_failed_job_carries_the_servers_words(run):
    failed = [{"jobstatus": 2, "jobresult": {"errorcode": 533, "errortext": "no host has room"}}]
    job = run.cloud.job
    run.cloud.job = lambda result, **more: run.cloud.jobs.update(j=failed) or {"jobid": "j", **more}
    result = run("vm", **SAMPLES["vm"]["create"])
    run.cloud.job = job
    assert (result["msg"], result["errorcode"]) == ("deployVirtualMachine: no host has room (533)", 533)
    assert result["job_id"] == "j"


def test_secrets_stay_out_of_results_and_diffs(run):
    made = run.ok("host", **SAMPLES["host"]["create"], username="root", password="hunter2")
    assert "hunter2" not in str({k: v for k, v in made.items() if k != "invocation"})
    keys = run.ok("user_keys", user="cycle")
    user = next(u for u in run.cloud.kinds["user"].values() if u["username"] == "cycle")
    assert user["secretkey"] not in str(keys)
    again = run.ok("user_keys", user="cycle", return_secret=True)
    assert (again["changed"], again["secret_key"]) == (False, None), "a secret is told when it is made"
    new = run.ok("user_keys", user="cycle", regenerate=True, return_secret=True)
    assert new["secret_key"] == user["secretkey"] and new["api_key"] != keys["api_key"]


def test_a_new_key_pair_is_returned_once(run):
    first = run.ok("ssh_key_pair", name="made")
    assert first["private_key"] == "-----BEGIN" and "privatekey" not in first["entity"]
    again = run.ok("ssh_key_pair", name="made")
    assert again["changed"] is False and "private_key" not in again


def test_enabling_a_provider_enables_its_element(run):
    options = SAMPLES["network_service_provider"]["create"]
    done = cycle(run, "network_service_provider", **options)[1]
    assert done["diff"]["after"] == {"element": "Enabled", "state": "Enabled"}
    assert all(e["enabled"] for e in run.cloud.kinds["virtualrouterelement"].values())


def test_lists_are_compared_without_order_and_text_with_numbers(run):
    options = SAMPLES["service_offering"]["create"]
    run.ok("service_offering", **options)
    assert run.ok("service_offering", **{**options, "storage_tags": ["a", "b"]})["changed"] is False


def test_unchanged_costs_only_reads_of_the_entity_and_what_it_names(run):
    run.ok("pod", **{k: v for k, v in ZONE["pods"][0].items() if k != "clusters"}, zone="lab")
    assert run.cloud.calls == ["listZones", "listPods"]


def test_api_request(run):
    zones = run.ok("api_request", check=True, command="listZones")
    assert zones["changed"] is False and zones["response"]["count"] == 2
    zone = zones["response"]["zone"][0]["id"]
    params = {"zoneid": zone, "name": "raw", "isolationmethods": ["VLAN"]}
    options = {"command": "createPhysicalNetwork", "params": params}
    assert run.ok("api_request", check=True, **options) == {"changed": True, "response": {}}
    made = run.ok("api_request", **options)
    assert made["response"]["physicalnetwork"]["name"] == "raw" and made["job_id"]
    assert "must not hold apiKey" in run("api_request", command="listZones", params={"apiKey": "x"})["msg"]
