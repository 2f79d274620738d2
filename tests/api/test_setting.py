"""Settings over the wire. The one of networks' rate is used as the example: it has a value for each zone."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.model.account import Account
from mgmt_server.model.groups import group_of
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting, settings
from mgmt_server.model.storage import Pool
from mgmt_server.model.zone import Zone
from mgmt_server.resources.networkoffering.rates import OF_NETWORKS
from mgmt_server.resources.setting.values import checked
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
    assert OF_NETWORKS.number() == 300
    cloud.ask("updateConfiguration", name=RATE, value="400", zoneid=zone)
    values = [cloud.ask("listConfigurations", name=RATE, zoneid=z)["configuration"][0]["value"] for z in (zone, other)]
    assert values == ["400", "300"]
    assert cloud.ask("resetConfiguration", name=RATE, zoneid=zone)["configuration"]["value"] == "300"
    assert cloud.ask("resetConfiguration", name=RATE)["configuration"]["value"] == "200"
    assert OF_NETWORKS.number() == 200


def test_the_event_tells_old_and_new_but_no_secret(cloud, odd):
    cloud.ask("updateConfiguration", name=RATE, value="300")
    cloud.ask("updateConfiguration", name=RATE, value="301")
    cloud.ask("updateConfiguration", name="test.secret", value="hunter2")
    changes = cloud.ask("listEvents", type="CONFIGURATION.VALUE.EDIT", resourcetype="Configuration")["event"]
    told = [e["description"] for e in changes]
    assert any("from '300' to '301'" in t for t in told) and not any("hunter2" in t for t in told)
    (seen,) = cloud.ask("listConfigurations", name="test.secret")["configuration"]
    assert "value" not in seen and "defaultvalue" not in seen


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (RATE, "abc", "a whole number"),
        (RATE, "-2", "at least -1"),
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
    assert OF_NETWORKS.number() == 200


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("api.allowed.source.cidr.list", "10.0.0.0/8, localhost", "localhost is no network"),
        ("proxy.cidr", "10.0.0.0/33", "10.0.0.0/33 is no network"),
        ("password.policy.regex", "(", "not valid"),
        ("expunge.delay", "0", "at least 1"),
        ("job.expire.minutes", "-5", "at least 1"),
        ("vm.password.length", "6", "8 to 100"),
    ],
)
def test_a_slip_that_would_shut_people_out_is_refused(cloud, name, value, told):
    with pytest.raises(Refused) as no:
        cloud.ask("updateConfiguration", name=name, value=value)
    assert told in no.value.text


def test_a_text_can_be_made_empty(cloud):
    cloud.ask("updateConfiguration", name="resource.limit.host.tags", value="gpu")
    changed = cloud.ask("updateConfiguration", name="resource.limit.host.tags", value="")["configuration"]
    assert changed["value"] == ""
    cloud.ask("updateConfiguration", name="guest.domain.suffix", value="")
    (seen,) = cloud.ask("listConfigurations", name="guest.domain.suffix")["configuration"]
    assert (seen["value"], seen["defaultvalue"]) == ("", "cloud.internal")


def test_the_event_of_a_change_names_whose_value_it_is(cloud):
    cloud.account("ann")
    (ann,) = cloud.ask("listAccounts", name="ann", listall=True)["account"]
    sent = {"name": "api.allowed.source.cidr.list", "accountid": ann["id"]}
    cloud.ask("updateConfiguration", **sent, value="192.0.2.0/24")
    cloud.ask("resetConfiguration", **sent)
    told = [e["description"] for e in cloud.ask("listEvents", type="CONFIGURATION.VALUE.EDIT")["event"]]
    assert all(f"of account ann ({ann['id']})" in text for text in told) and len(told) == 2


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


@pytest.fixture
def nested():
    """Settings of accounts and of pools, gone after the test."""
    made = [
        Setting("test.of.account", "Account's", type="Integer", default="1", scopes=("Account",)),
        Setting("test.of.pool", "Pool's", type="Integer", default="1", scopes=("StoragePool", "Zone")),
        Setting("test.child", "Child", type="String", default="", parent="test.of.pool"),
    ]
    yield
    for setting in made:
        del settings[setting.name]


def test_a_pool_has_the_value_of_its_zone_until_it_has_its_own(cloud, nested):
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]

    def make(tx):
        pool = Pool(name="p", zone_id=tx.scalar(select(Zone.id)), scope="ZONE", type="NetworkFilesystem", path="/p")
        tx.add(pool)
        tx.flush()
        return pool.uuid

    pool = write(make)

    def value():
        return cloud.ask("listConfigurations", name="test.of.pool", storageid=pool)["configuration"][0]["value"]

    assert value() == "1"
    cloud.ask("updateConfiguration", name="test.of.pool", value="2", zoneid=zone)
    assert value() == "2"
    cloud.ask("updateConfiguration", name="test.of.pool", value="3", storageid=pool)
    assert value() == "3"
    assert cloud.ask("resetConfiguration", name="test.of.pool", storageid=pool)["configuration"]["value"] == "2"
    told = cloud.ask("listEvents", type="CONFIGURATION.VALUE.EDIT")["event"][0]
    assert "from '3' to '2'" in told["description"] and told["username"] == "admin"


def test_an_account_has_the_value_of_its_domain_where_that_is_switched_on(cloud, nested):
    cloud.account("ann", domain="/a/b/")
    account = cloud.ask("listAccounts", name="ann", listall=True)["account"][0]
    sent = {"name": "test.of.account", "value": "5", "domainid": account["domainid"]}
    with pytest.raises(Refused) as no:
        cloud.ask("updateConfiguration", **sent)
    assert "has no value for one Domain" in no.value.text
    cloud.ask("updateConfiguration", name="enable.account.settings.for.domain", value="true")
    cloud.ask("updateConfiguration", **sent)
    (seen,) = cloud.ask("listConfigurations", name="test.of.account", accountid=account["id"])["configuration"]
    assert seen["value"] == "5"
    with reading() as session:
        number = session.scalar(select(Account.id).where(Account.name == "ann"))
        assert settings["test.of.account"].number(*of_account(session, number)) == 5


def test_settings_that_hang_on_one_are_found_by_it(cloud, nested):
    (seen,) = cloud.ask("listConfigurations", parent="test.of.pool")["configuration"]
    assert (seen["name"], seen["parent"]) == ("test.child", "test.of.pool")


def test_groups_are_those_that_clients_know(cloud):
    """Recorded from the original: what is shown there under a tab is shown here under it too."""
    known = {
        "account.cleanup.interval": "Access/Account", "guest.domain.suffix": "Access/Domain",
        "allow.user.expunge.recover.vm": "Compute/Virtual Machine",
        "vm.allocation.algorithm": "Compute/Virtual Machine",
        "storage.cleanup.interval": "Infrastructure/Primary Storage", "event.purge.delay": "Management Server/Events",
        "secstorage.allowed.internal.sites": "Infrastructure/Secondary Storage", "ping.timeout": "Miscellaneous/Others",
        "expunge.delay": "Management Server/Limits", "default.page.size": "Miscellaneous/Others",
        "network.throttling.rate": "Network/Network", "check.pod.cidrs": "Network/Network",
        "allow.user.expunge.recover.volume": "Storage/Volume",
        "validate.url.is.resolvable.before.registering.template": "Storage/Images",
        "allow.end.users.to.specify.vr.mtu": "System VMs/VirtualRouter",
        "direct.agent.load.size": "Management Server/Agent",
    }  # fmt: skip
    assert {name: "/".join(group_of(name)) for name in known} == known
    told = cloud.ask("listConfigurationGroups")["configurationgroup"]
    assert [g["name"] for g in told][:3] == ["Access", "Compute", "Storage"] and told[0]["subgroup"][0]["name"]
    groups = {(g["name"], s["name"]) for g in told for s in g["subgroup"]}
    assert {(s["group"], s["subgroup"]) for s in cloud.ask("listConfigurations")["configuration"]} == groups


def test_hidden_settings_and_secret_values_are_nowhere(cloud, odd):
    every = cloud.ask("listConfigurations", pagesize=500, page=1)["configuration"]
    assert "test.hidden" not in {s["name"] for s in every}
    secret = [s for s in every if settings[s["name"]].secret]
    assert secret and not [s for s in secret if "value" in s or "defaultvalue" in s]
    cloud.ask("updateConfiguration", name="test.secret", value="hunter2")
    cloud.ask("resetConfiguration", name="test.secret")
    assert "hunter2" not in str(cloud.ask("listEvents"))


def test_every_setting_says_what_it_is():
    for setting in settings.values():
        assert setting.description and "\n" not in setting.description and len(setting.description) < 200, setting.name
        assert setting.type in ("String", "Integer", "Long", "Float", "Double", "Boolean"), setting.name
        if setting.default and setting.type != "String":
            assert checked(setting, setting.default), setting.name
        if setting.default and setting.options:
            assert checked(setting, setting.default) == setting.default, setting.name
