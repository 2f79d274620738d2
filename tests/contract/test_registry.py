"""Every command beside the protocol's facts: what is declared is what clients expect, or is argued for here."""

from dataclasses import replace

import pytest

from mgmt_server.api.describe import described, entry, response_fields
from mgmt_server.api.facts import facts, of_command
from mgmt_server.model.tenancy import EVERYONE, ROOT, Caller
from tests.protocol import KEYS_HERE

# parameters that are no business of a command's body: taken from the wire by the floor that owns jobs and events
INTERNAL = {"customjobid", "starteventid", "fordisplay"}
# stricter or richer than the protocol, on purpose
REQUIRED_HERE = {("updateNetworkOffering", "id"): "without it the original fails inside"}
EXTRA_HERE = {("updateZone", "storageaccessgroups"): "sent by the web client; refused, not ignored"}
MISSING_HERE: dict = {}
ANNOTATED = "the rules of a fresh installation's roles name it, beyond what the command itself says"
DIRECTORY = (
    "who names a directory's server is sent the password that searches are made with, and says who logs in as whom: "
    "domain administrators too, whose rights a resource administrator does not have"
)
ROLES_HERE = {  # who may call it here, and why not who may on a fresh installation
    **dict.fromkeys(("addAnnotation", "listAnnotations", "removeAnnotation"), (EVERYONE, ANNOTATED)),
    **dict.fromkeys(("addLdapConfiguration", "deleteLdapConfiguration"), (ROOT, DIRECTORY)),
}
TYPES = {"int": "integer", "bool": "boolean"}


def commands(loaded=None):
    import mgmt_server.jobs.rows  # noqa: F401
    from mgmt_server.api.command import registry
    from mgmt_server.model import everything
    from mgmt_server.resources import load

    everything()
    load()
    return dict(sorted(registry.items()))


ALL = commands()
KNOWN = [name for name in ALL if of_command(name)]


def test_only_marked_commands_are_our_own():
    ours = {"explainDeployment", "listSimulatorFaults", "listLdapLinks", "unlinkDomainFromLdap"}
    assert {name for name in ALL if not of_command(name)} == ours
    assert len(KNOWN) > 100


@pytest.mark.parametrize("name", KNOWN)
def test_a_command_is_what_the_protocol_says(name):
    command, fact = ALL[name], of_command(name)
    assert command.is_async == bool(fact.get("async"))
    assert command.creates == bool(fact.get("asyncCreate"))
    assert command.response_name == fact["responseName"]
    assert command.is_list == bool(fact.get("list"))
    roles, _ = ROLES_HERE.get(name, (fact["defaultRoles"], ""))
    assert set(command.roles) == set(roles)
    assert name not in ROLES_HERE or set(roles) != set(fact["defaultRoles"]), "ROLES_HERE argues for nothing"
    if fact.get("objectName") and not callable_list(command):
        told = fact["objectName"]
        # of several the body says which
        allowed = ("", *told) if isinstance(told, list) else (told, fact.get("altObjectName"))
        assert command.key in allowed or command.key == KEYS_HERE.get(name)
    if command.answers is None:
        return
    known = facts()["responses"][fact["response"]]
    strange = set(response_fields(command)) - known.keys() - fact.get("fields", {}).keys() - {"tags"}
    assert not strange, f"fields that {fact['response']} does not have: {strange}"


def callable_list(command):
    """A list of dictionaries that the body makes itself, key and all."""
    return command.key == "" and command.answers is None and command.is_list


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_the_protocols(name):
    command, fact = ALL[name], of_command(name)
    declared = {p.name: p for p in command.parameters}
    both = declared.keys() & set(command.unsupported)
    assert not both, f"supported and not: {both}"
    have = declared.keys() | set(command.unsupported)
    silent = {p for p in fact["params"].keys() - have - INTERNAL if (name, p) not in MISSING_HERE}
    assert not silent, f"neither taken nor refused: {silent}"
    invented = {p for p in have - fact["params"].keys() if (name, p) not in EXTRA_HERE}
    assert not invented, f"not in the protocol: {invented}"
    for p in declared.values():
        known = fact["params"].get(p.name)
        if known is None:
            continue
        wanted = "uuid" if p.entity is not None and p.type == "uuid" else TYPES.get(known["type"], known["type"])
        assert p.type == wanted, f"{p.name} is {p.type}, not {wanted}"
        if known["type"] == "list" and known.get("of") == "uuid":
            assert p.kind in ("uuid", "string"), p.name
        if (name, p.name) not in REQUIRED_HERE:
            assert p.required == bool(known.get("required")), f"{p.name}: required"
        if "length" in known:
            assert p.length >= known["length"], f"{p.name} takes {p.length} characters, not {known['length']}"


@pytest.mark.parametrize("name", list(ALL))
def test_listapis_tells_a_command_whole(name):
    """What clients that generate code from listApis stumble over."""
    told = entry(name)
    assert told["name"] == name and isinstance(told["isasync"], bool) and told["isasync"] == ALL[name].is_async
    assert isinstance(told["since"], str) and isinstance(told["related"], str)
    assert told["response"], "an answer without a field stops generators"
    texts = [told["description"]]
    for p in told["params"]:
        assert {"name", "description", "type", "length", "required"} <= p.keys(), p
        assert isinstance(p["length"], int) and isinstance(p["required"], bool) and p["type"] and p["name"]
        texts.append(p["description"])
    names = [p["name"] for p in told["params"]]
    assert len(names) == len(set(names))
    for field in told["response"]:
        assert field["name"] and field["type"] and field["description"]
        texts.append(field["description"])
        for inner in field.get("response", []):
            assert inner["name"] and inner["type"] and inner["description"], (field["name"], inner)
            texts.append(inner["description"])
        if "response" in field:
            assert field["response"], f"{field['name']} has an empty inner object"
    wrong = [t for t in texts if not t.strip() or '"""' in t or t.endswith('"') or "\n" in t]
    assert not wrong, wrong


SOMEBODY = Caller(7, "u", "u", 7, "a", "a", 0, 1, "d", "/", "User")


@pytest.mark.parametrize("role", EVERYONE)
def test_listapis_tells_each_role_its_own(role, loaded):
    told = {c["name"] for c in described(replace(SOMEBODY, role=role), simulator=True)}
    assert told == {name for name, c in ALL.items() if role in c.roles}
    assert not [n for n in told if ALL[n].simulator_only] or role == "Admin"
    assert "queryAsyncJobResult" in told


def test_polling_for_a_job_is_no_job(loaded):
    assert entry("queryAsyncJobResult")["isasync"] is False


@pytest.mark.parametrize("name", KNOWN)
def test_events_are_told_under_the_protocols_names(name):
    command, fact = ALL[name], of_command(name)
    known = {e for key in ("events", "createEvents", "actionEvents") for e in fact.get(key, ())}
    if command.event:
        assert not known or command.event in known, (command.event, known)
    else:
        assert command.reads or not fact.get("events"), f"tells no event; the protocol: {fact.get('events')}"
