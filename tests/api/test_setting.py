"""Settings over the wire. The one of networks' rate is used as the example: it has a value for each zone."""

import pytest

from mgmt_server.model.settings import Setting, settings
from mgmt_server.resources.networkoffering.views import THROTTLING
from tests.cloud import Refused

RATE = "network.throttling.rate"
ZONE = {"networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}


@pytest.fixture
def odd():
    """Settings of all types, gone after the test."""
    made = [
        Setting("test.secret", "Secret", type="String", default="x", secret=True),
        Setting("test.choice", "Choice", type="String", default="a", options=("a", "b")),
        Setting("test.ratio", "Ratio", type="Float", default="1.0", least=0.5, most=2.0, scopes=("Domain", "Account")),
        Setting("test.flag", "Flag", type="Boolean", default="false"),
        Setting("test.hidden", "Hidden", type="String", default="", category="Hidden"),
    ]
    yield
    for setting in made:
        del settings[setting.name]


def test_a_setting_is_changed_for_all_for_one_zone_and_back(cloud):
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]
    other = cloud.ask("createZone", name="west", **ZONE)["zone"]["id"]
    (seen,) = cloud.ask("listConfigurations", name=RATE)["configuration"]
    assert (seen["value"], seen["defaultvalue"], seen["type"], seen["scope"]) == ("200", "200", "Number", "zone")
    assert cloud.ask("updateConfiguration", name=RATE, value="300")["configuration"]["value"] == "300"
    assert THROTTLING.number() == 300
    cloud.ask("updateConfiguration", name=RATE, value="400", zoneid=zone)
    values = [cloud.ask("listConfigurations", name=RATE, zoneid=z)["configuration"][0]["value"] for z in (zone, other)]
    assert values == ["400", "300"]
    assert cloud.ask("resetConfiguration", name=RATE, zoneid=zone)["configuration"]["value"] == "300"
    assert cloud.ask("resetConfiguration", name=RATE)["configuration"]["value"] == "200"
    assert THROTTLING.number() == 200


def test_the_event_tells_old_and_new_but_no_secret(cloud, odd):
    cloud.ask("updateConfiguration", name=RATE, value="300")
    cloud.ask("updateConfiguration", name=RATE, value="301")
    cloud.ask("updateConfiguration", name="test.secret", value="hunter2")
    told = [e["description"] for e in cloud.ask("listEvents", type="CONFIGURATION.VALUE.EDIT")["event"]]
    assert any("from '300' to '301'" in t for t in told) and not any("hunter2" in t for t in told)
    (seen,) = cloud.ask("listConfigurations", name="test.secret")["configuration"]
    assert "value" not in seen and "defaultvalue" not in seen


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (RATE, "abc", "a whole number"),
        (RATE, "-1", "at least 0"),
        (RATE, "99999999999", "out of range"),
        ("nosuch.setting", "1", "doesn't exist"),
        ("test.hidden", "1", "doesn't exist"),
        ("test.choice", "c", "choose a, b"),
        ("test.ratio", "nan", "out of range"),
        ("test.ratio", "2.5", "0.5 to 2"),
        ("test.flag", "maybe", "true or false"),
        (RATE, "", "must be given"),
    ],
)
def test_a_bad_value_is_refused(cloud, odd, name, value, told):
    with pytest.raises(Refused) as no:
        cloud.ask("updateConfiguration", name=name, value=value)
    assert no.value.status == 431 and told in no.value.text
    assert THROTTLING.number() == 200


def test_a_value_has_one_scope_that_the_setting_has(cloud, odd):
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]
    with pytest.raises(Refused) as no:
        cloud.ask("updateConfiguration", name="test.flag", value="true", zoneid=zone)
    assert "its scope is the whole installation only" in no.value.text


def test_domain_administrators_set_what_is_theirs(cloud, odd):
    cloud.account("boss", kind=2, domain="/a/")
    names = {s["name"] for s in cloud.ask("listConfigurations", user="boss")["configuration"]}
    assert "test.ratio" in names and RATE not in names
    domain = cloud.ask("listDomains", user="boss", listall=True)["domain"][0]["id"]
    kept = cloud.ask("updateConfiguration", user="boss", name="test.ratio", value="1.5", domainid=domain)
    assert kept["configuration"]["value"] == "1.5"
    with pytest.raises(Refused):
        cloud.ask("updateConfiguration", user="boss", name="test.ratio", value="1.5")
    root = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    with pytest.raises(Refused):
        cloud.ask("updateConfiguration", user="boss", name="test.ratio", value="1.5", domainid=root)


def test_pages_and_groups(cloud):
    every = cloud.ask("listConfigurations")["count"]
    paged = cloud.ask("listConfigurations", page=1, pagesize=1)
    assert paged["count"] == every and len(paged["configuration"]) == 1
    assert cloud.ask("listConfigurations", page=99, pagesize=500) == {"count": every}
    assert cloud.ask("listConfigurations", name="nosuch") == {}
    assert cloud.ask("listConfigurationGroups")["count"] >= 1
