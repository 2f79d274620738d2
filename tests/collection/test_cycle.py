"""The modules against the real server with simulated hosts: the zone by its playbook, then the cycle of each module."""

from __future__ import annotations

from importlib import import_module
from secrets import token_urlsafe

import pytest
from ansible_collections.cloudwright.cloud.plugins.module_utils._client import API_SPEC, Client, is_read
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Choice, Entity, EntityInfo, api_name
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import KINDS
from ansible_collections.cloudwright.cloud.tests.unit.cycle import life
from ansible_collections.cloudwright.cloud.tests.unit.runner import Runner
from ansible_collections.cloudwright.cloud.tests.unit.samples import SAMPLES

from tests.collection.servers import PLAYBOOK, ROOT
from tests.collection.test_hosts import proxy

MODULES = sorted(
    p.stem for p in (ROOT / "collections/ansible_collections/cloudwright/cloud/plugins/modules").glob("*.py")
)
INFOS = [name for name in MODULES if name.endswith("_info") and name != "unmanaged_vm_info"]  # see test_hosts.py

OF_NONE = {  # of these the zone has none
    "affinity_group_info",
    "instance_group_info",
    "iso_info",
    "snapshot_info",
    "ssh_key_pair_info",
    "user_data_info",
    "vm_info",
    "vm_snapshot_info",
}

MADE_FOR_THE_LIST = {  # of these, too, which have no name
    "dedication_info",
    "guest_vlan_range_info",
    "snapshot_policy_info",
    "tag_info",
    "vm_nic_secondary_ip_info",
}

# what modules offer for other servers of the same API, and this one does not have
NOT_HERE = {
    "addImageStore details",
    "deployVirtualMachine securitygroupids",
    "updateVirtualMachine securitygroupids",
    "updateNetwork networkofferingid",
}


def have_user(run):
    """A user without keys."""
    named = {"username": "cycle", "firstname": "c", "lastname": "c", "email": "c@example.org", "account": "admin"}
    params = {**named, "password": token_urlsafe(12)}
    run.ok("api_request", command="createUser", params=params)


def test_the_zone_is_built_once_and_then_left_alone(built):
    server, first, options = built
    assert first.recap("changed") > 10
    second = server.play(PLAYBOOK, *options)
    assert (second.code, second.recap("changed")) == (0, 0), second.text
    check = server.play(PLAYBOOK, *options, "--check", "--diff")
    assert (check.code, check.recap("changed")) == (0, 0), check.text


@pytest.mark.parametrize("module", sorted(name for name in SAMPLES if "unsteady" not in SAMPLES[name]))
def test_life(run, module):
    if module == "user_keys":
        have_user(run)
    life(run, module)


@pytest.mark.parametrize("module", INFOS)
def test_info(run, module):
    """What the zone has is found, by name and by id; what it has not is not."""
    entity = import_module(f"ansible_collections.cloudwright.cloud.plugins.modules.{module}").ENTITY
    sample = SAMPLES.get(module.removesuffix("_info"), {}).get("create", {})
    if isinstance(entity, Choice):
        entity = entity.entities[sample[entity.option]]
    filters = {name: sample[name] for name in entity.filters if name in sample and name != "state"}
    if "zone" in filters:
        filters["zone"] = "lab"
    if module in OF_NONE:
        made = {name: value for name, value in sample.items() if name != "public_key"}
        run.ok(module.removesuffix("_info"), **{**made, "name": "shown"})
    if module in MADE_FOR_THE_LIST:
        run.ok(module.removesuffix("_info"), **sample)
    if module == "system_vm_info":
        proxy(run)
    if module == "alert_info":
        params = {"type": 14, "name": "ALERT.MANAGEMENT", "description": "shown"}
        run.ok("api_request", command="generateAlert", params=params)
    found = run.ok(module, check=True, **filters)["entities"]
    assert found, module
    if "name" not in entity.by:
        return
    named = found[0].get(KINDS[entity.kind].names[0])
    if isinstance(named, str):
        ids = [e.get("id") for e in run.ok(module, name=named, **filters)["entities"]]
        assert found[0].get("id") in ids
    assert run.ok(module, name="nobody has this name", **filters)["entities"] == []


def test_a_wrong_secret_is_refused_and_told(run):
    stranger = Runner(run.cloud, {**run.credentials, "api_secret": "x"})
    assert "(401)" in stranger("zone_info")["msg"]


def test_the_server_knows_every_command_and_parameter_that_modules_use(run):
    listed = Client({**dict.fromkeys(API_SPEC), **run.credentials, "api_retries": 0}).list("listApis")
    known = {api["name"]: {p["name"].lower() for p in api["params"]} for api in listed}
    missing = [f"{command} {name}" for command, names in used() for name in names if name not in known.get(command, ())]
    missing += [command for command, _names in used() if command not in known]
    assert set(missing) <= NOT_HERE


def used():
    """(command, names of parameters) that the modules can send."""
    for module in MODULES:
        entity = import_module(f"ansible_collections.cloudwright.cloud.plugins.modules.{module}").ENTITY
        for one in entity.entities.values() if isinstance(entity, Choice) else [entity]:
            yield from sent_by(one)


def command(entity, named, option):
    """The command that an entity names, where the only option given decides that."""
    return named(dict.fromkeys(entity.fields) | {option: "x"}) if callable(named) else named


def sent_by(entity):
    """The same of one entity, or of a list of some."""
    if isinstance(entity, EntityInfo):
        named = {api_name(n, e) for n, e in entity.filters.items() if "use" not in e}
        yield KINDS[entity.kind].listing, named
    if isinstance(entity, Entity):
        found = {parameter for name in entity.fields for parameter in entity.narrowing(name)}
        yield KINDS[entity.kind].listing, found
        fields = {name: field for name, field in entity.fields.items() if "use" not in field}
        made = {name for name, field in fields.items() if field.get("create") is not False}
        if callable(entity.create):
            yield from ((command(entity, entity.create, name), {entity.api(name)}) for name in made)
        elif entity.create:
            yield entity.create, {entity.api(name) for name in made} | set(entity.derived)
        yield from ((to, set(named)) for to, named in entity.address.items())
        for name, field in fields.items():
            by = field.get("via") or entity.update
            if by and field.get("update") is not False and field.get("shown") is not False:
                yield by, {field["update"] if isinstance(field.get("update"), str) else entity.api(name)}
        for name, field in entity.fields.items():
            yield from ((to, {entity.api(name)}) for to in field.get("along", ()))
        for name in entity.fields if entity.delete else ():
            yield (
                command(entity, entity.delete, name),
                {entity.api(n) for n, f in entity.fields.items() if f.get("use") == "delete"},
            )
        for state in entity.states.values():
            steps = [] if callable(state.path) else [step for path in state.path.values() for step in path]
            yield from ((step, set()) if isinstance(step, str) else (step[0], set(step[1])) for step in steps)
            if state.set:
                yield entity.update, set(state.set)


def test_reads_are_what_the_server_takes_for_reads():
    """The client tries reads again: none of the commands that modules send to change something may look like one."""
    writes = {command for command, _names in used() if not command.startswith("list")}
    assert writes and not any(is_read(command) for command in writes)
