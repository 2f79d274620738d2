"""What lists tell with and without projectid: one project, all of the caller's (-1), one that is not the caller's."""

import pytest

from mgmt_server.api.command import registry
from mgmt_server.model.tenancy import Offered
from tests.api.test_project import refused
from tests.projects import add, project, world

ALPHA, BETA, GAMMA, OWN = "k-alpha", "k-beta", "k-gamma", "k-ann"


@pytest.fixture
def projects(cloud):
    """alpha of ann and bob, beta of bob, gamma of eve; a key pair in each, and one of ann's and of bob's own."""
    world(cloud)
    made = {
        name: project(cloud, name, user=user) for name, user in (("alpha", "ann"), ("beta", "bob"), ("gamma", "eve"))
    }
    add(cloud, made["alpha"], "bob")
    for user, name in (("ann", "alpha"), ("bob", "beta"), ("eve", "gamma")):
        cloud.ask("createSSHKeyPair", user=user, name=f"k-{name}", projectid=made[name])
    for user in ("ann", "bob"):
        cloud.ask("createSSHKeyPair", user=user, name=f"k-{user}")
    return made


def keys(cloud, user, **sent):
    return sorted(k["name"] for k in cloud.ask("listSSHKeyPairs", user=user, **sent).get("sshkeypair", []))


def test_without_projectid_what_is_in_projects_is_left_out(cloud, projects):
    assert keys(cloud, "ann") == keys(cloud, "ann", listall=True) == [OWN]
    assert keys(cloud, "dom", listall=True) == ["k-ann", "k-bob"]
    assert keys(cloud, "admin", listall=True) == ["k-ann", "k-bob"]
    domain = cloud.ask("listDomains", listall=True, name="b")["domain"][0]["id"]
    assert keys(cloud, "dom", domainid=domain) == keys(cloud, "pam", domainid=domain, isrecursive=True)
    assert keys(cloud, "dom", domainid=domain) == ["k-ann", "k-bob"]


def test_by_its_id_a_thing_is_found_wherever_it_is(cloud, projects):
    (made,) = cloud.ask("listSSHKeyPairs", user="ann", projectid=projects["alpha"])["sshkeypair"]
    assert keys(cloud, "bob", id=made["id"]) == keys(cloud, "dom", id=made["id"]) == [ALPHA]
    assert refused(cloud, "listSSHKeyPairs", user="cid", id=made["id"], job=False).status == 431


def test_one_project(cloud, projects):
    assert keys(cloud, "ann", projectid=projects["alpha"]) == keys(cloud, "bob", projectid=projects["alpha"]) == [ALPHA]
    assert keys(cloud, "dom", projectid=projects["beta"]) == keys(cloud, "admin", projectid=projects["beta"]) == [BETA]
    assert keys(cloud, "ann", projectid=projects["alpha"], listall=True) == [ALPHA]


def test_minus_one_means_all_projects_of_the_caller(cloud, projects):
    assert keys(cloud, "ann", projectid=-1) == [ALPHA]
    assert keys(cloud, "bob", projectid=-1) == [ALPHA, BETA]
    assert keys(cloud, "cid", projectid=-1) == []
    assert keys(cloud, "dom", projectid=-1) == [ALPHA, BETA]
    assert keys(cloud, "admin", projectid=-1) == [ALPHA, BETA, GAMMA]
    assert keys(cloud, "ann", projectid=-1, listall=True) == [ALPHA, OWN], "with listall what is in none too"
    assert keys(cloud, "dom", projectid=-1, listall=True) == [ALPHA, "k-ann", BETA, "k-bob"]


def test_domainid_narrows_what_is_in_projects_too(cloud, projects):
    b, a = (cloud.ask("listDomains", listall=True, name=name)["domain"][0]["id"] for name in "ba")
    assert keys(cloud, "admin", projectid=-1, domainid=b) == [ALPHA, BETA]
    assert keys(cloud, "admin", projectid=-1, domainid=a) == []
    assert keys(cloud, "admin", projectid=-1, domainid=a, isrecursive=True) == [ALPHA, BETA]
    assert keys(cloud, "admin", projectid=projects["gamma"], domainid=b) == []
    assert refused(cloud, "listSSHKeyPairs", user="eve", projectid=-1, domainid=b, job=False).status == 431


def test_a_project_of_others_is_like_one_that_does_not_exist(cloud, projects):
    missing = "5a8b13d1-64ef-4b0c-8b2b-3a6c5a6b9f11"
    for user, where in (
        ("ann", "beta"),
        ("ann", "gamma"),
        ("cid", "alpha"),
        ("eve", "alpha"),
        ("ed", "alpha"),
        ("dom", "gamma"),
    ):
        told = set()
        for one in (projects[where], missing):
            no = refused(cloud, "listSSHKeyPairs", user=user, projectid=one, job=False)
            told.add((no.status, no.text.replace(one, "ID")))
        assert len(told) == 1 and told.pop()[0] == 431, (user, where)


@pytest.mark.parametrize("odd", ["0", "-2", "1", "all", "%", "' OR 1=1", "-1 "])
def test_what_is_no_project_is_refused(cloud, projects, odd):
    assert refused(cloud, "listSSHKeyPairs", user="ann", projectid=odd, job=False).status == 431


def test_account_and_projectid_exclude_each_other(cloud, projects):
    no = refused(cloud, "listSSHKeyPairs", user="ann", projectid=projects["alpha"], account="ann", job=False)
    assert no.status == 431 and "exclude each other" in no.text


def test_who_is_out_of_the_project_sees_nothing_of_it_any_more(cloud, projects):
    cloud.job("deleteAccountFromProject", user="ann", projectid=projects["alpha"], account="bob")
    assert keys(cloud, "bob", projectid=-1) == [BETA]
    assert refused(cloud, "listSSHKeyPairs", user="bob", projectid=projects["alpha"], job=False).status == 431


def test_a_suspended_project_is_still_seen(cloud, projects):
    cloud.job("suspendProject", user="ann", id=projects["alpha"])
    assert keys(cloud, "bob", projectid=projects["alpha"]) == [ALPHA]


def test_every_list_with_projectid_refuses_strangers(cloud, projects):
    """Whatever command it is: no list may answer about a project that is not the caller's."""
    answered, asked = [], 0
    for name, command in registry.items():
        if not name.startswith("list") or "projectid" not in {p.name for p in command.parameters}:
            continue
        # without a view there is nothing to list yet; offerings belong to nobody
        if "User" not in command.roles or command.answers is None or issubclass(command.answers.table, Offered):
            continue
        needed = {p.name: "x" for p in command.parameters if p.required and p.name != "projectid"}
        needed |= {"templatefilter": "self", "isofilter": "self"}
        asked += 1
        status, _ = cloud.raw("cid", name, projectid=projects["alpha"], **needed)
        if status < 400:
            answered.append(name)
    assert not answered and asked > 10
