"""Whose a new thing will be: the one place that decides it, through every command that makes something."""

import pytest

from mgmt_server.api.command import registry
from tests.api.test_project import refused, zone  # noqa: F401  a fixture
from tests.projects import add, project, world

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl user@host"
ISOLATED = "DefaultIsolatedNetworkOfferingWithSourceNatService"
MAKERS = {
    "createSSHKeyPair": {"name": "k"},
    "registerSSHKeyPair": {"name": "r", "publickey": PUBLIC_KEY},
    "createNetwork": {"name": "n", "zoneid": "{zone}", "networkofferingid": "{networkoffering}"},
    "deployVirtualMachine": {"zoneid": "{zone}", "templateid": "{template}", "serviceofferingid": "{offering}"},
    "registerTemplate": {
        "name": "t", "displaytext": "t", "format": "QCOW2", "hypervisor": "Simulator", "zoneid": "{zone}",
        "url": "http://203.0.113.9/t.qcow2", "ostypeid": "{ostype}",
    },
    "registerIso": {
        "name": "i", "displaytext": "i", "zoneid": "{zone}", "url": "http://203.0.113.9/i.iso", "bootable": "false",
    },
    "uploadVolume": {
        "name": "u", "format": "QCOW2", "zoneid": "{zone}", "url": "http://203.0.113.9/u.qcow2",
    },
    "createVolume": {"name": "v", "zoneid": "{zone}", "diskofferingid": "{disk}"},
    "createAffinityGroup": {"name": "a", "type": "host anti-affinity"},
    "createSecurityGroup": {"name": "s"},
    "registerUserData": {"name": "u", "userdata": "IyEvYmluL3No"},
    "createInstanceGroup": {"name": "g"},
}  # fmt: skip


@pytest.fixture
def people(cloud):
    return world(cloud)


@pytest.fixture
def names(people, zone):  # noqa: F811
    offered = people.ask("listNetworkOfferings", name=ISOLATED)["networkoffering"][0]
    zone["networkoffering"] = offered["id"]
    zone["ostype"] = people.ask("listOsTypes", pagesize=1, page=1)["ostype"][0]["id"]
    zone["disk"] = people.ask("createDiskOffering", name="d", displaytext="d", disksize=1)["diskoffering"]["id"]
    return zone


def sent_for(command, names):
    return {k: v.format(**names) for k, v in MAKERS[command].items()}


@pytest.mark.parametrize("command", MAKERS)
def test_only_members_make_things_in_an_active_project(people, names, command):
    if command not in registry:
        pytest.skip("no such command yet")
    cloud, sent = people, sent_for(command, names)
    where = project(cloud, "alpha")
    add(cloud, where, "bob")
    run = cloud.job if registry[command].is_async else cloud.ask
    for stranger in ("cid", "eve", "ed"):
        no = refused(cloud, command, user=stranger, projectid=where, job=False, **sent)
        assert no.status == 431 and "Invalid parameter projectid" in no.text, stranger
    no = refused(cloud, command, user="bob", projectid=where, account="bob", job=False, **sent)
    assert no.status == 431 and "exclude each other" in no.text
    cloud.job("suspendProject", user="ann", id=where)
    no = refused(cloud, command, user="bob", projectid=where, job=False, **sent)
    assert no.status == 531 and "alpha is suspended" in no.text
    cloud.job("activateProject", user="ann", id=where)
    answered = run(command, user="bob", projectid=where, **sent)
    (made,) = answered.values() if not answered.get("count") else [v for k, v in answered.items() if k != "count"]
    made = made[0] if isinstance(made, list) else made
    assert (made["projectid"], made["project"]) == (where, "alpha") and "account" not in made


def test_every_command_that_takes_projectid_and_makes_something_is_here():
    first = ("create", "register", "deploy", "associate", "reserve", "import", "upload")
    takers = {
        name for name, c in registry.items()
        if name.startswith(first) and {"projectid", "account"} <= {p.name for p in c.parameters}
    }  # fmt: skip
    for_operators = {name for name in takers if registry[name].roles == ("Admin",)}
    of_disks = {"createTemplate"}  # needs a disk to be made of: test_a_template_for_a_project
    unknown = takers - for_operators - MAKERS.keys() - of_disks
    assert not unknown, f"add to MAKERS, with what it needs: {unknown}"


def test_the_account_of_a_project_cannot_be_named_directly(people):
    where = project(people, "alpha")
    add(people, where, "bob")
    account = people.ask("listProjects", user="ann")["project"][0]["projectaccountname"]
    domain = people.ask("listDomains", listall=True, name="b")["domain"][0]["id"]
    for user in ("ann", "bob", "dom", "admin"):
        sent = {"account": account, "domainid": domain, "name": "k", "job": False}
        no = refused(people, "createSSHKeyPair", user=user, **sent)
        assert no.status == 431 and "Invalid parameter account" in no.text, user


def test_administrators_above_make_things_in_a_project(people):
    where = project(people, "alpha")
    for user in ("dom", "pam", "admin"):
        made = people.ask("createSSHKeyPair", user=user, name=user, projectid=where)["keypair"]
        assert made["project"] == "alpha", user


def test_what_a_project_makes_counts_for_the_project(people, names):
    where = project(people, "alpha")
    people.ask("updateConfiguration", name="max.project.networks", value="1")
    sent = sent_for("createNetwork", names)
    people.ask("createNetwork", user="ann", projectid=where, **sent)
    (told,) = people.ask("listProjects", user="ann")["project"]
    assert (told["networktotal"], told["networklimit"], told["networkavailable"]) == (1, "1", "0")
    no = refused(people, "createNetwork", user="ann", projectid=where, job=False, **sent | {"name": "n2"})
    assert no.status == 535 and "project" in no.text
    assert people.ask("createNetwork", user="ann", **sent)["network"]["account"] == "ann"
