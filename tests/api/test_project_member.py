"""Members of projects: accounts with all their users, and single users."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.api.test_project import counted, refused, user_id
from tests.projects import add, add_user, members, project, second_user, world


@pytest.fixture
def alpha(cloud):
    world(cloud)
    return project(cloud, "alpha")


def sees(cloud, user, **sent):
    return [p["name"] for p in cloud.ask("listProjects", user=user, **sent).get("project", [])]


def test_an_account_is_a_member_with_all_its_users(cloud, alpha):
    second_user("bob2", "bob")
    assert sees(cloud, "bob") == sees(cloud, "bob2") == []
    add(cloud, alpha, "bob")
    assert sees(cloud, "bob") == sees(cloud, "bob2") == ["alpha"]
    cloud.ask("createSSHKeyPair", user="bob2", name="k", projectid=alpha)
    assert cloud.job("deleteAccountFromProject", user="ann", projectid=alpha, account="bob")["success"]
    assert sees(cloud, "bob") == sees(cloud, "bob2") == []
    assert cloud.ask("listSSHKeyPairs", user="ann", projectid=alpha)["count"] == 1, "what it made stays"


def test_a_single_user_opens_the_project_to_nobody_else_of_its_account(cloud, alpha):
    second_user("bob2", "bob")
    cloud.ask("createSSHKeyPair", user="ann", name="k", projectid=alpha)
    add_user(cloud, alpha, "bob2")
    assert sees(cloud, "bob2") == ["alpha"] and sees(cloud, "bob") == sees(cloud, "bob", listall=True) == []
    assert cloud.ask("listSSHKeyPairs", user="bob2", projectid=alpha)["count"] == 1
    for command, sent in (
        ("listSSHKeyPairs", {}),
        ("createSSHKeyPair", {"name": "x"}),
        ("listProjectAccounts", {}),
        ("listProjectRoles", {}),
    ):
        assert refused(cloud, command, user="bob", projectid=alpha, job=False, **sent).status == 431, command
    assert cloud.ask("listSSHKeyPairs", user="bob", projectid="-1") == {}
    assert members(cloud, alpha) == {"ann": "Admin", "bob/bob2": "Regular"}
    assert cloud.job("deleteUserFromProject", user="ann", projectid=alpha, userid=user_id(cloud, "bob2"))["success"]
    assert sees(cloud, "bob2") == []


def test_an_account_takes_the_place_of_its_single_users(cloud, alpha):
    second_user("bob2", "bob")
    add_user(cloud, alpha, "bob", roletype="Admin")
    add_user(cloud, alpha, "bob2")
    assert counted("bob") == 1
    add(cloud, alpha, "bob")
    assert members(cloud, alpha) == {"ann": "Admin", "bob": "Regular"} and counted("bob") == 0
    no = refused(cloud, "addUserToProject", user="ann", projectid=alpha, username="bob2", roletype="Admin")
    assert "is a member of the project alpha already, as Regular" in no.text


def test_adding_a_member_again_changes_nothing(cloud, alpha):
    add(cloud, alpha, "bob")
    add(cloud, alpha, "bob")
    assert members(cloud, alpha) == {"ann": "Admin", "bob": "Regular"}
    no = refused(cloud, "addAccountToProject", user="ann", projectid=alpha, account="bob", roletype="Admin")
    assert "updateProject" in no.text and members(cloud, alpha)["bob"] == "Regular"


def test_only_people_of_the_projects_own_domain_are_added(cloud, alpha):
    cloud.account("deep", domain="/a/b/deep/")
    for name in ("eve", "pam", "deep", "system", "admin", "PrjAcct-alpha-1", "nobody"):
        no = refused(cloud, "addAccountToProject", user="ann", projectid=alpha, account=name)
        assert f"There is no account {name} in the domain" in no.text
    for name in ("eve", "system", "nobody"):
        no = refused(cloud, "addUserToProject", user="ann", projectid=alpha, username=name)
        assert f"There is no user {name} in the domain" in no.text
    assert "send account, or email" in refused(cloud, "addAccountToProject", user="ann", projectid=alpha).text
    no = refused(cloud, "addAccountToProject", user="ann", projectid=alpha, email="x@example.org")
    assert "project.invite.required" in no.text


def test_the_last_administrator_cannot_go(cloud, alpha):
    no = refused(cloud, "deleteAccountFromProject", user="ann", projectid=alpha, account="ann")
    assert "would have no administrator" in no.text
    add(cloud, alpha, "bob", roletype="Admin")
    assert counted("bob") == 1
    assert cloud.job("deleteAccountFromProject", user="ann", projectid=alpha, account="ann")["success"]
    assert members(cloud, alpha, user="bob") == {"bob": "Admin"} and counted("ann") == 0
    assert refused(cloud, "deleteAccountFromProject", user="dom", projectid=alpha, account="ann").status == 431


def test_who_is_no_member_cannot_be_removed(cloud, alpha):
    no = refused(cloud, "deleteAccountFromProject", user="ann", projectid=alpha, account="bob")
    assert "is no member" in no.text
    foreign, missing = user_id(cloud, "eve"), "5a8b13d1-64ef-4b0c-8b2b-3a6c5a6b9f11"
    told = {
        refused(cloud, "deleteUserFromProject", user="ann", projectid=alpha, userid=u).text.replace(u, "ID")
        for u in (foreign, missing)
    }
    assert len(told) == 1 and "Invalid parameter userid" in told.pop()


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        ("addAccountToProject", {"account": "cid"}),
        ("addUserToProject", {"username": "cid"}),
        ("deleteAccountFromProject", {"account": "ann"}),
        ("deleteUserFromProject", {"userid": "5a8b13d1-64ef-4b0c-8b2b-3a6c5a6b9f11"}),
    ],
)
def test_members_are_the_business_of_administrators(cloud, alpha, command, sent):
    add(cloud, alpha, "bob")
    assert refused(cloud, command, user="bob", projectid=alpha, **sent).status == 531
    for stranger in ("cid", "eve", "ed"):
        assert refused(cloud, command, user=stranger, projectid=alpha, **sent).status == 431
    assert members(cloud, alpha) == {"ann": "Admin", "bob": "Regular"}


def test_members_are_listed_by_what_they_are(cloud, alpha):
    second_user("bob2", "bob")
    add(cloud, alpha, "cid")
    add_user(cloud, alpha, "bob2")
    role = cloud.ask("createProjectRole", user="ann", projectid=alpha, name="reader")["projectrole"]["id"]
    cloud.job("deleteAccountFromProject", user="ann", projectid=alpha, account="cid")
    add(cloud, alpha, "cid", projectroleid=role)
    everybody = cloud.ask("listProjectAccounts", user="cid", projectid=alpha)
    assert everybody["count"] == 3
    by_account = {m["account"]: m for m in everybody["projectaccount"]}
    assert by_account["cid"]["projectroleid"] == role and "userid" not in by_account["cid"]
    assert [u["username"] for u in by_account["bob"]["user"]] == ["bob2"]
    assert [u["username"] for u in by_account["ann"]["user"]] == ["ann"]
    assert not [k for m in by_account.values() for u in m["user"] for k in u if "key" in k or k == "email"]
    assert by_account["ann"]["domainpath"] == "ROOT/a/b" and by_account["ann"]["project"] == "alpha"
    assert members(cloud, alpha, role="admin") == {"ann": "Admin"}
    assert members(cloud, alpha, account="cid") == {"cid": "Regular"}
    assert members(cloud, alpha, userid=user_id(cloud, "bob2")) == {"bob/bob2": "Regular"}
    assert members(cloud, alpha, projectroleid=role) == {"cid": "Regular"}
    assert members(cloud, alpha, keyword="bo") == {"bob/bob2": "Regular"}
    assert members(cloud, alpha, user="dom") == members(cloud, alpha)
    for stranger in ("bob", "eve", "ed"):
        assert refused(cloud, "listProjectAccounts", user=stranger, projectid=alpha, job=False).status == 431


def test_two_administrators_who_take_each_other_out_leave_one(cloud, alpha):
    add(cloud, alpha, "bob", roletype="Admin")
    both = Barrier(2)

    def remove(user, other):
        both.wait(10)
        return cloud.raw(user, "deleteAccountFromProject", projectid=alpha, account=other)[0]

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(remove, ("ann", "bob"), ("bob", "ann")))
    assert statuses[0] == 200 and statuses[1] >= 400, statuses
    assert list(members(cloud, alpha, user="dom").values()) == ["Admin"]
