"""What a whole cloud answers: every value of the type that the protocol gives it, in JSON and in XML."""

import re
import shutil
from xml.etree import ElementTree

import pytest

from mgmt_server import db
from mgmt_server.api import callers
from mgmt_server.api.command import registry
from mgmt_server.api.facts import facts, of_command
from mgmt_server.model import settings
from tests.cloud import Cloud
from tests.contract.test_registry import ALL
from tests.contract.whole import answers, filled, only_reads
from tests.directory import CLOUD, asked_by, slapd

READS = [n for n in ALL if only_reads(n)]
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")
NUMBERS = {"int", "long", "short"}
FRACTIONS = {"float", "double", "decimal"}
# nothing on a simulated cloud makes these tell something
EMPTY = {
    "listSimulatorFaults": "no fault is switched on",
    "querySimulatorMock": "no fault is switched on",
    "listInternalLoadBalancerElements": "there are none in this version",
    "listPortForwardingRules": "no command makes any yet",
    "listIpForwardingRules": "no command makes any yet",
    "listVmwareDcs": "there is no vCenter",
    "listAffectedVmsForStorageScopeChange": "all machines are in the one cluster",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(fresh_file, tmp_path_factory):
    """Every answer, taken once."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copyfile(fresh_file, folder / "cloud.db")
    db.connect(f"sqlite:///{folder}/cloud.db")
    callers.forget()
    settings.forget()
    try:
        cloud = Cloud()
        names = filled(cloud)
        skipped = {n: registry.pop(n) for n in EMPTY if n in registry and n == "querySimulatorMock"}
        try:
            with slapd(folder / "ldap") as server:
                asked_by(cloud, server)
                root = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
                cloud.ask("linkDomainToLdap", domainid=root, type="GROUP", accounttype=0, ldapdomain=CLOUD)
                return answers(cloud, names)
        finally:
            registry.update(skipped)
    finally:
        db.disconnect()


def wrong_in(value, kind, where):
    """What in `value` is not of the type `kind` of the facts."""
    kind = kind.split(":")[0]
    inner = re.fullmatch(r"(list|object|map)<(.+)>", kind)
    if inner and inner[1] == "list":
        if not isinstance(value, list):
            return [f"{where} is {type(value).__name__}, not a list"]
        return [w for n, item in enumerate(value) for w in wrong_in(item, inner[2], f"{where}[{n}]")]
    if inner and inner[1] == "object":
        fields = facts()["responses"].get(inner[2])
        return wrong_object(value, fields, where) if fields else []
    if kind.startswith("map"):
        return [] if isinstance(value, dict) else [f"{where} is {type(value).__name__}, not a map"]
    good = True
    if kind == "bool":
        good = isinstance(value, bool)
    elif kind in NUMBERS:
        good = isinstance(value, int) and not isinstance(value, bool)
    elif kind in FRACTIONS:
        good = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind == "date":
        good = isinstance(value, str) and bool(DATE.fullmatch(value))
    elif kind == "string" or kind.startswith("enum"):
        good = isinstance(value, str)
    return [] if good else [f"{where} is {value!r}, not {kind}"]


def wrong_object(value, fields, where):
    if not isinstance(value, dict):
        return [f"{where} is {type(value).__name__}, not an object"]
    found = []
    for name, item in value.items():
        kind = fields.get(name)
        if kind is None:
            found.append(f"{where}.{name} is no field")
            continue
        found += wrong_in(item, kind if isinstance(kind, str) else kind["type"], f"{where}.{name}")
    return found


def objects(name, content):
    command = ALL[name]
    if not command.key:
        fact = of_command(name) or {}
        lists = [v for v in content.values() if isinstance(v, list)]
        return lists[0] if fact.get("jsonKind") == "list" and lists else [content]
    value = content.get(command.key, [])
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", [n for n in READS if n != "querySimulatorMock"])
def test_every_value_has_the_protocols_type(told, name):
    content, _ = told[name]
    assert "errorcode" not in content, content
    found = objects(name, content)
    assert found and found != [{}] or name in EMPTY, f"{name} tells nothing: fill the cloud of tests/contract/whole.py"
    if "count" in content:
        assert content["count"] >= len(found) > 0
    fact = of_command(name)
    if fact is None or not found:
        return
    fields = facts()["responses"][fact["response"]] | fact.get("fields", {})
    wrong = [w for n, one in enumerate(found) for w in wrong_object(one, fields, f"{name}[{n}]")]
    assert not wrong, sorted(set(wrong))[:20]


def shape(element):
    """An XML element as JSON would say it, lists as repeated names."""
    children = list(element)
    if not children:
        return element.text or ""
    found = {}
    for child in children:
        found.setdefault(child.tag, []).append(shape(child))
    return found


def flat(value):
    """A JSON value in the same terms: texts, and each name with a list of what it has."""
    if isinstance(value, dict):
        found = {}
        for name, item in value.items():
            items = item if isinstance(item, list) else [item]
            if items:
                found[name] = [flat(i) for i in items]
        return found or ""
    return str(value).lower() if isinstance(value, bool) else str(value)


MOVING = {"queries", "connections", "uptime", "collectiontime"}  # go on between two answers


def without_moments(value):
    if isinstance(value, dict):
        return {k: without_moments(v) for k, v in value.items() if k not in MOVING}
    if isinstance(value, list):
        return [without_moments(v) for v in value]
    return value


@pytest.mark.parametrize("name", [n for n in READS if n != "querySimulatorMock"])
def test_xml_says_the_same(told, name):
    content, xml = told[name]
    root = ElementTree.fromstring(xml)  # noqa: S314  our own answer
    assert root.tag == ALL[name].response_name and root.attrib == {"cloud-stack-version": "4.22.1.0"}
    if name != "getVMPassword":  # which is encrypted anew for each answer
        assert without_moments(shape(root)) == without_moments(flat(content))


def test_fields_in_a_view_are_told_by_some_row(told):
    """Not a rule, a look: views whose fields nobody ever sees are listed for whoever reads the output."""
    silent = {}
    for name in READS:
        command = ALL[name]
        if command.answers is None or name not in told or name in EMPTY:
            continue
        seen = {key for one in objects(name, told[name][0]) for key in one}
        silent[name] = sorted(set(command.answers.fields) - seen)
    total = sum(map(len, silent.values()))
    print(f"{len(told)} reads; fields that no row told: {total}")
    assert total < sum(len(ALL[n].answers.fields) for n in silent) // 2
