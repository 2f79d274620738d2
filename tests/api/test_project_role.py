"""Roles of projects: rules that narrow what members may do there."""

import pytest

from tests.api.test_project import refused
from tests.projects import add, add_user, members, project, second_user, world
from tests.simulated import build

ISOLATED = "DefaultIsolatedNetworkOfferingWithSourceNatService"


@pytest.fixture
def alpha(cloud):
    world(cloud)
    return project(cloud, "alpha")


def role(cloud, where, *rules, name="reader", user="ann"):
    made = cloud.ask("createProjectRole", user=user, projectid=where, name=name)["projectrole"]["id"]
    for rule in rules:
        word, _, pattern = rule.partition(" ")
        allow(cloud, where, made, pattern, word, user)
    return made


def allow(cloud, where, of, rule, permission, user="ann"):
    sent = {"projectid": where, "projectroleid": of, "rule": rule, "permission": permission}
    return cloud.ask("createProjectRolePermission", user=user, **sent)["projectrolepermission"]


def rules(cloud, where, of, user="ann"):
    found = cloud.ask("listProjectRolePermissions", user=user, projectid=where, projectroleid=of)
    return [(r["rule"], r["permission"]) for r in found.get("projectrolepermission", [])]


def key(cloud, user, where, name="k"):
    return cloud.ask("createSSHKeyPair", user=user, projectid=where, name=name)["keypair"]


def test_a_role_is_made_changed_listed_and_deleted(cloud, alpha):
    made = cloud.ask("createProjectRole", user="ann", projectid=alpha, name="reader", description="d")["projectrole"]
    assert (made["name"], made["description"], made["projectid"], made["ispublic"]) == ("reader", "d", alpha, True)
    assert refused(cloud, "createProjectRole", user="ann", projectid=alpha, name="reader", job=False).status == 431
    changed = cloud.ask("updateProjectRole", user="ann", projectid=alpha, id=made["id"], name="looker")["projectrole"]
    assert (changed["name"], changed["description"]) == ("looker", "d")
    role(cloud, alpha, "deny *", name="other")
    listed = cloud.ask("listProjectRoles", user="ann", projectid=alpha)["projectrole"]
    assert [r["name"] for r in listed] == ["looker", "other"]
    assert cloud.ask("listProjectRoles", user="ann", projectid=alpha, name="other")["count"] == 1
    assert cloud.ask("listProjectRoles", user="ann", projectid=alpha, projectroleid=made["id"])["count"] == 1
    add(cloud, alpha, "bob", projectroleid=made["id"])
    no = refused(cloud, "deleteProjectRole", user="ann", projectid=alpha, id=made["id"], job=False)
    assert no.status == 536
    cloud.job("deleteAccountFromProject", user="ann", projectid=alpha, account="bob")
    assert cloud.ask("deleteProjectRole", user="ann", projectid=alpha, id=made["id"])["success"]
    role(cloud, alpha, name="looker")
    for kind in ("CREATE", "UPDATE", "DELETE"):
        told = cloud.ask("listEvents", user="dom", listall=True, type=f"PROJECT.ROLE.{kind}")
        assert told["count"] >= 1, kind


def test_the_first_rule_that_fits_decides_and_none_allows(cloud, alpha):
    reader = role(cloud, alpha, "allow list*", "deny *SSHKeyPair", "allow createSSHKeyPair")
    add(cloud, alpha, "bob", projectroleid=reader)
    no = refused(cloud, "createSSHKeyPair", user="bob", name="k", projectid=alpha, job=False)
    assert no.status == 432 and "role in this project does not allow createSSHKeyPair" in no.text
    key(cloud, "ann", alpha)
    assert cloud.ask("listSSHKeyPairs", user="bob", projectid=alpha)["count"] == 1
    assert cloud.ask("createSSHKeyPair", user="bob", name="own")["keypair"]["account"] == "bob"
    assert cloud.ask("listProjects", user="bob", id=alpha)["count"] == 1, "of this no rule speaks"


def test_rules_hold_for_what_belongs_to_the_project_too(cloud, alpha):
    """Without projectid, by the thing's own id."""
    made = key(cloud, "ann", alpha)
    reader = role(cloud, alpha, "deny listSSH*", "deny createTags", "deny deleteProject*")
    add(cloud, alpha, "bob", projectroleid=reader)
    assert refused(cloud, "listSSHKeyPairs", user="bob", projectid=alpha, job=False).status == 432
    assert refused(cloud, "listSSHKeyPairs", user="bob", id=made["id"], job=False).status == 432
    assert cloud.ask("listSSHKeyPairs", user="bob", projectid="-1") == {}
    assert cloud.ask("listSSHKeyPairs", user="bob", projectid="-1", listall=True) == {}
    other = project(cloud, "beta", user="bob")
    key(cloud, "bob", other)
    assert [k["project"] for k in cloud.ask("listSSHKeyPairs", user="bob", projectid="-1")["sshkeypair"]] == ["beta"]
    account = cloud.ask("listProjects", user="bob", id=alpha)["project"][0]["projectaccountname"]
    for command in ("listSSHKeyPairs", "createSSHKeyPair"):
        sent = {"account": account, "name": "k", "job": False}
        assert refused(cloud, command, user="bob", **sent).status == 431, "nor by the name of the project's account"


def test_rules_hold_where_the_kind_of_a_thing_is_sent_along(cloud, alpha):
    zone = build()["zone"]
    offering = cloud.ask("listNetworkOfferings", name=ISOLATED)["networkoffering"][0]["id"]
    sent = {"zoneid": zone, "networkofferingid": offering, "name": "n"}
    made = cloud.ask("createNetwork", user="ann", projectid=alpha, **sent)["network"]["id"]
    add(cloud, alpha, "bob", projectroleid=role(cloud, alpha, "deny *Tags", "deny listNetworks"))
    tag = {"resourceids": made, "resourcetype": "Network", "tags[0].key": "k", "tags[0].value": "v"}
    assert refused(cloud, "createTags", user="bob", **tag).status == 432
    assert cloud.job("createTags", user="ann", **tag)["success"]
    assert refused(cloud, "listNetworks", user="bob", id=made, job=False).status == 432


def test_a_role_narrows_and_gives_nothing(cloud, alpha):
    reader = role(cloud, alpha, "allow *")
    add(cloud, alpha, "bob", projectroleid=reader)
    assert refused(cloud, "suspendProject", user="bob", id=alpha).status == 531
    assert refused(cloud, "listHosts", user="bob", projectid=alpha, job=False).status == 432


def test_administrators_are_not_narrowed(cloud, alpha):
    reader = role(cloud, alpha, "deny *")
    add(cloud, alpha, "bob", projectroleid=reader, roletype="Admin")
    assert key(cloud, "bob", alpha)["project"] == "alpha"
    assert key(cloud, "dom", alpha, "k2")["project"] == "alpha"
    cloud.job("updateProject", user="ann", id=alpha, account="bob", roletype="Regular")
    assert refused(cloud, "createSSHKeyPair", user="bob", name="k3", projectid=alpha, job=False).status == 432


def test_a_role_of_one_user_is_not_its_neighbours(cloud, alpha):
    second_user("bob2", "bob")
    add_user(cloud, alpha, "bob", projectroleid=role(cloud, alpha, "deny create*"))
    add_user(cloud, alpha, "bob2")
    assert refused(cloud, "createSSHKeyPair", user="bob", name="k", projectid=alpha, job=False).status == 432
    assert key(cloud, "bob2", alpha)["project"] == "alpha"


def test_rules_are_changed_reordered_and_removed_at_once(cloud, alpha):
    reader = role(cloud, alpha, "deny createSSHKeyPair", "allow *SSHKeyPair")
    add(cloud, alpha, "bob", projectroleid=reader)
    found = cloud.ask("listProjectRolePermissions", user="ann", projectid=alpha)["projectrolepermission"]
    first, second = (r["id"] for r in found)
    assert found[0]["projectrolename"] == "reader" and found[0]["projectroleid"] == reader
    assert refused(cloud, "createSSHKeyPair", user="bob", name="k", projectid=alpha, job=False).status == 432
    change = {"user": "ann", "projectid": alpha, "projectroleid": reader}
    cloud.ask("updateProjectRolePermission", **change, ruleorder=f"{second},{first}")
    assert rules(cloud, alpha, reader) == [("*SSHKeyPair", "allow"), ("createSSHKeyPair", "deny")]
    key(cloud, "bob", alpha)
    cloud.ask("updateProjectRolePermission", **change, projectrolepermissionid=second, permission="DENY")
    assert rules(cloud, alpha, reader)[0] == ("*SSHKeyPair", "deny")
    assert refused(cloud, "deleteSSHKeyPair", user="bob", name="k", projectid=alpha, job=False).status == 432
    cloud.ask("deleteProjectRolePermission", user="ann", projectid=alpha, id=second)
    assert cloud.ask("deleteSSHKeyPair", user="bob", name="k", projectid=alpha)["success"]
    for sent in (
        {},
        {"ruleorder": f"{first},{first}", "permission": "allow"},
        {"projectrolepermissionid": first},
        {"projectrolepermissionid": first, "permission": "maybe"},
        {"ruleorder": second},
    ):
        assert refused(cloud, "updateProjectRolePermission", **change, **sent, job=False).status == 431, sent
    for rule in ("list Hosts", "a;b", "", "x" * 101):
        sent = {"projectid": alpha, "projectroleid": reader, "rule": rule, "permission": "allow"}
        assert refused(cloud, "createProjectRolePermission", user="ann", **sent, job=False).status == 431, rule
    assert rules(cloud, alpha, reader) == [("createSSHKeyPair", "deny")]


def test_roles_are_seen_by_members_and_made_by_administrators(cloud, alpha):
    reader = role(cloud, alpha, "deny createSSHKeyPair")
    rule = cloud.ask("listProjectRolePermissions", user="ann", projectid=alpha)["projectrolepermission"][0]["id"]
    add(cloud, alpha, "bob")
    assert cloud.ask("listProjectRoles", user="bob", projectid=alpha)["count"] == 1
    assert rules(cloud, alpha, reader, user="bob") == [("createSSHKeyPair", "deny")]
    beta = project(cloud, "beta", user="bob")
    calls = (
        ("createProjectRole", {"name": "x"}),
        ("updateProjectRole", {"id": reader, "name": "x"}),
        ("deleteProjectRole", {"id": reader}),
        ("createProjectRolePermission", {"projectroleid": reader, "rule": "a", "permission": "allow"}),
        ("updateProjectRolePermission", {"projectroleid": reader, "ruleorder": rule}),
        ("deleteProjectRolePermission", {"id": rule}),
    )
    for command, sent in calls:
        no = refused(cloud, command, user="bob", projectid=alpha, job=False, **sent)
        assert no.status == 531, command
        if "name" not in sent or "id" in sent:  # not a role of that project
            assert refused(cloud, command, user="bob", projectid=beta, job=False, **sent).status == 431, command
        for stranger in ("cid", "eve", "ed"):
            assert refused(cloud, command, user=stranger, projectid=alpha, job=False, **sent).status == 431
    no = refused(cloud, "addAccountToProject", user="bob", projectid=beta, account="cid", projectroleid=reader)
    assert no.status == 431 and "projectroleid" in no.text
    assert members(cloud, beta, user="bob") == {"bob": "Admin"}
