"""What a whole cloud answers: every value of the type that the protocol gives it, in JSON and in XML."""

import shutil
from xml.etree import ElementTree

import pytest

from mgmt_server import db
from mgmt_server.api import callers
from mgmt_server.api.command import registry
from mgmt_server.model import settings
from tests.cloud import Cloud
from tests.contract.test_registry import ALL
from tests.contract.whole import answers, filled, only_reads
from tests.directory import CLOUD, asked_by, slapd
from tests.protocol import flat, objects, shape, wrong_answer

READS = [n for n in ALL if only_reads(n)]
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


@pytest.mark.parametrize("name", [n for n in READS if n != "querySimulatorMock"])
def test_every_value_has_the_protocols_type(told, name):
    content, _ = told[name]
    assert "errorcode" not in content, content
    found = objects(name, content)
    assert found and found != [{}] or name in EMPTY, f"{name} tells nothing: fill the cloud of tests/contract/whole.py"
    if "count" in content:
        assert content["count"] >= len(found) > 0
    wrong = wrong_answer(name, content)
    assert not wrong, sorted(set(wrong))[:20]


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
