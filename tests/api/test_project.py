"""Projects over the wire: made, changed, suspended, deleted, listed."""

import pytest
from sqlalchemy import func, select

from mgmt_server.db import reading
from mgmt_server.model.account import Account, Project, ProjectMember, ProjectRole
from mgmt_server.model.vm import SshKeyPair, Vm
from tests.cloud import Refused
from tests.counts import used
from tests.projects import add, add_user, members, project, second_user, world
from tests.simulated import build


@pytest.fixture
def people(cloud):
    return world(cloud)


@pytest.fixture
def zone(people):
    found = build()
    found["offering"] = people.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def deploy(cloud, zone, user="ann", **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    return cloud.job("deployVirtualMachine", user=user, **sent)["virtualmachine"]


def refused(cloud, command, **sent):
    with pytest.raises(Refused) as no:
        (cloud.job if sent.pop("job", True) else cloud.ask)(command, **sent)
    return no.value


def counted(account):
    """How many projects count for an account."""
    with reading() as session:
        number = session.scalar(select(Account.id).where(Account.name == account))
    return used(number).get("project", 0)


def user_id(cloud, name):
    return next(u["id"] for u in cloud.ask("listUsers", listall=True)["user"] if u["username"] == name)


def test_a_project_has_an_account_an_owner_and_totals(cloud, people):
    made = cloud.job("createProject", user="ann", name="alpha", displaytext="first")["project"]
    assert (made["name"], made["displaytext"], made["state"]) == ("alpha", "first", "Active")
    assert made["owner"] == [{"account": "ann"}]
    assert (made["vmtotal"], made["vmlimit"], made["vmrunning"], made["domain"]) == (0, "20", 0, "b")
    assert made["projectaccountname"].startswith("PrjAcct-alpha-")
    (listed,) = cloud.ask("listProjects", user="ann")["project"]
    assert listed == made
    assert members(cloud, made["id"]) == {"ann": "Admin"}
    accounts = cloud.ask("listAccounts", listall=True)["account"]
    assert not [a for a in accounts if a["name"].startswith("PrjAcct")]
    told = cloud.ask("listEvents", user="dom", listall=True, type="PROJECT.CREATE")["event"]
    assert {e["state"] for e in told} >= {"Completed"}


def test_who_may_own_a_project(cloud, people):
    domain = cloud.ask("listDomains", listall=True, name="b")["domain"][0]["id"]
    made = cloud.job("createProject", user="pam", name="p", account="ann", domainid=domain)["project"]
    assert made["owner"] == [{"account": "ann"}] and made["domain"] == "b"
    second_user("ann2", "ann")
    single = cloud.job("createProject", user="dom", name="q", userid=user_id(cloud, "ann2"))["project"]
    assert [(o["account"], o["user"]) for o in single["owner"]] == [("ann", "ann2")]
    assert [p["name"] for p in cloud.ask("listProjects", user="ann2")["project"]] == ["p", "q"]
    assert [p["name"] for p in cloud.ask("listProjects", user="ann")["project"]] == ["p"]
    for user, sent in (
        ("ann", {"account": "bob", "domainid": None}),
        ("ed", {"account": "ann", "domainid": domain}),
        ("ann", {"userid": user_id(cloud, "bob")}),
        ("dom", {"userid": user_id(cloud, "eve")}),
    ):
        no = refused(cloud, "createProject", user=user, name="r", **{k: v for k, v in sent.items() if v})
        assert no.status == 431, (user, sent)
    with reading() as session:
        kept = session.scalar(select(Account.uuid).where(Account.type == 5).limit(1))
    assert "cannot own a project" in refused(cloud, "createProject", name="r", accountid=kept).text


def test_a_name_is_unique_in_its_domain(cloud, people):
    project(cloud, "alpha")
    assert "already: choose another name" in refused(cloud, "createProject", user="bob", name="alpha").text
    assert cloud.job("createProject", user="eve", name="alpha")["project"]["domain"] == "c"
    assert refused(cloud, "createProject", user="ann", name="x" * 201).status == 431


def test_users_create_projects_where_they_may(cloud, people):
    assert cloud.ask("listCapabilities", user="ann")["capability"]["allowusercreateprojects"] is True
    cloud.ask("updateConfiguration", name="allow.user.create.projects", value="false")
    assert cloud.ask("listCapabilities", user="ann")["capability"]["allowusercreateprojects"] is False
    no = refused(cloud, "createProject", user="ann", name="alpha")
    assert no.status == 531 and "allow.user.create.projects" in no.text
    assert cloud.job("createProject", user="dom", name="alpha")["project"]["state"] == "Active"


def test_projects_count_for_their_owners(cloud, people):
    cloud.ask("updateConfiguration", name="max.account.projects", value="1")
    where = project(cloud, "alpha")
    no = refused(cloud, "createProject", user="ann", name="beta")
    assert no.status == 535 and counted("ann") == 1
    add(cloud, where, "bob")
    assert counted("bob") == 0
    cloud.job("updateProject", user="ann", id=where, account="bob")
    assert (counted("ann"), counted("bob")) == (0, 1)
    beta = project(cloud, "beta")
    no = refused(cloud, "updateProject", user="bob", id=where, account="ann")
    assert no.status == 535 and members(cloud, where)["bob"] == "Admin", "the whole change is taken back"
    cloud.job("deleteProject", user="ann", id=beta)
    assert counted("ann") == 0


def test_a_project_is_renamed_and_described(cloud, people):
    where = project(cloud, "alpha")
    project(cloud, "beta")
    made = cloud.job("updateProject", user="ann", id=where, name="gamma", displaytext="new")["project"]
    assert (made["name"], made["displaytext"]) == ("gamma", "new")
    assert "already: choose" in refused(cloud, "updateProject", user="ann", id=where, name="beta").text


def test_an_owner_is_swapped_or_joined_by_another(cloud, people):
    where = project(cloud, "alpha")
    add(cloud, where, "bob")
    cloud.job("updateProject", user="ann", id=where, account="bob")
    assert members(cloud, where) == {"ann": "Regular", "bob": "Admin"}
    assert refused(cloud, "updateProject", user="ann", id=where, account="ann").status == 531
    cloud.job("updateProject", user="bob", id=where, account="ann", roletype="admin")
    assert members(cloud, where) == {"ann": "Admin", "bob": "Admin"}
    listed = cloud.ask("listProjects", user="ann")["project"][0]["owner"]
    assert {o["account"] for o in listed} == {"ann", "bob"}
    add(cloud, where, "cid")
    assert "not clear whose place" in refused(cloud, "updateProject", user="ann", id=where, account="cid").text
    cloud.job("updateProject", user="ann", id=where, account="ann", roletype="Regular")
    assert members(cloud, where) == {"ann": "Regular", "bob": "Admin", "cid": "Regular"}
    no = refused(cloud, "updateProject", user="bob", id=where, account="bob", roletype="Regular")
    assert "would have no administrator" in no.text and members(cloud, where)["bob"] == "Admin"
    for sent, text in (
        ({"account": "eve"}, "is no member"),
        ({"account": "cid", "roletype": "Boss"}, "is none of Admin, Regular"),
        ({"account": "cid", "roletype": "Admin", "swapowner": True}, "exclude each other"),
        ({"account": "cid", "swapowner": False}, "needs roletype"),
        ({"roletype": "Admin"}, "name one with account or userid"),
        ({"userid": user_id(cloud, "cid")}, "Invalid parameter userid"),
    ):
        assert text in refused(cloud, "updateProject", user="bob", id=where, **sent).text, sent


def test_a_single_user_can_be_made_administrator(cloud, people):
    where = project(cloud, "alpha")
    second_user("bob2", "bob")
    add_user(cloud, where, "bob2")
    cloud.job("updateProject", user="ann", id=where, userid=user_id(cloud, "bob2"), roletype="Admin")
    assert cloud.job("updateProject", user="bob2", id=where, displaytext="mine")["project"]["displaytext"] == "mine"
    assert refused(cloud, "updateProject", user="bob", id=where, displaytext="x").status == 431
    assert counted("bob") == 1


@pytest.mark.parametrize("command", ["updateProject", "suspendProject", "activateProject", "deleteProject"])
def test_only_those_who_run_a_project_change_it(cloud, people, command):
    where = project(cloud, "alpha")
    add(cloud, where, "bob")
    member = refused(cloud, command, user="bob", id=where)
    assert member.status == 531 and "administrators of the project alpha" in member.text
    for stranger in ("cid", "eve", "ed"):
        no = refused(cloud, command, user=stranger, id=where)
        assert no.status == 431 and "Invalid parameter id" in no.text
    cloud.job(command, user="pam", id=where)


def test_a_suspended_project_stands_still(cloud, people, zone):
    where = project(cloud, "alpha")
    add(cloud, where, "bob")
    vm = deploy(cloud, zone, user="bob", projectid=where)
    assert vm["state"] == "Running" and vm["project"] == "alpha" and "account" not in vm
    assert cloud.ask("listProjects", user="ann")["project"][0]["vmrunning"] == 1
    made = cloud.job("suspendProject", user="ann", id=where)["project"]
    assert (made["state"], made["vmrunning"], made["vmstopped"]) == ("Suspended", 0, 1)
    for command, sent in (
        ("startVirtualMachine", {"id": vm["id"]}),
        ("createSSHKeyPair", {"name": "k", "projectid": where, "job": False}),
        ("addAccountToProject", {"account": "cid", "projectid": where}),
    ):
        no = refused(cloud, command, user="ann", **sent)
        assert no.status == 531 and "is suspended" in no.text, command
    assert refused_deploy(cloud, zone, where).status == 531
    cloud.job("destroyVirtualMachine", user="ann", id=vm["id"])
    with pytest.raises(Refused, match="is suspended"):
        cloud.ask("recoverVirtualMachine", id=vm["id"])
    assert cloud.job("suspendProject", user="ann", id=where)["project"]["state"] == "Suspended"
    assert cloud.job("activateProject", user="ann", id=where)["project"]["state"] == "Active"
    cloud.ask("recoverVirtualMachine", id=vm["id"])
    assert cloud.job("startVirtualMachine", user="bob", id=vm["id"])["virtualmachine"]["state"] == "Running"


def refused_deploy(cloud, zone, where):
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, projectid=where)
    return no.value


def test_a_machine_that_was_about_to_start_is_stopped_too(cloud, people, zone):
    where = project(cloud, "alpha")
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"]}
    cloud.ask("deployVirtualMachine", user="ann", projectid=where, **sent)
    cloud.ask("suspendProject", user="ann", id=where)
    cloud.work()
    with reading() as session:
        assert session.scalar(select(Vm.state).where(Vm.kind == "User")) == "Stopped"


def test_a_project_that_owns_something_goes_only_with_all_of_it(cloud, people, zone):
    where = project(cloud, "alpha")
    add(cloud, where, "bob")
    cloud.ask("createProjectRole", user="ann", projectid=where, name="reader")
    deploy(cloud, zone, user="bob", projectid=where)
    cloud.ask("createSSHKeyPair", user="bob", name="k", projectid=where)
    no = refused(cloud, "deleteProject", user="ann", id=where)
    assert no.status == 536 and "vm" in no.text and "delete them first" in no.text
    assert cloud.job("deleteProject", user="ann", id=where, cleanup=True)["success"] is True
    assert cloud.ask("listProjects", user="ann") == {}
    with reading() as session:
        gone = session.scalar(select(Project))
        assert gone.removed is not None
        account = session.get_one(Account, gone.account_id)
        assert account.removed is not None
        mine = Vm.account_id == account.id
        assert session.scalar(select(func.count()).select_from(Vm).where(mine, Vm.removed.is_(None))) == 0
        for table in (ProjectMember, SshKeyPair):
            assert session.scalar(select(func.count()).select_from(table)) == 0
        assert session.scalar(select(ProjectRole.removed)) is not None
    assert counted("ann") == 0
    assert project(cloud, "alpha") != where, "its name is free again"


def test_a_project_whose_deletion_failed_is_deleted_again(cloud, people, zone, monkeypatch):
    from mgmt_server.errors import Failed
    from mgmt_server.resources.account import flows

    def fails(job, account_id):
        raise Failed("storage is away")

    where = project(cloud, "alpha")
    with monkeypatch.context() as patch:
        patch.setattr(flows, "clean_up", fails)
        assert "storage is away" in refused(cloud, "deleteProject", user="ann", id=where, cleanup=True).text
    assert cloud.ask("listProjects", user="ann")["project"][0]["state"] == "Disabled"
    assert refused(cloud, "activateProject", user="ann", id=where).status == 431
    assert cloud.job("deleteProject", user="ann", id=where, cleanup=True)["success"] is True


def names(cloud, user, **sent):
    return sorted(p["name"] for p in cloud.ask("listProjects", user=user, **sent).get("project", []))


def test_who_sees_which_projects(cloud, people):
    alpha, beta = project(cloud, "alpha"), project(cloud, "beta", user="bob")
    project(cloud, "gamma", user="eve")
    add(cloud, alpha, "bob")
    assert names(cloud, "ann") == names(cloud, "ann", listall=True) == ["alpha"]
    assert names(cloud, "bob") == ["alpha", "beta"]
    assert names(cloud, "cid", listall=True) == [] and names(cloud, "dom") == []
    assert names(cloud, "dom", listall=True) == names(cloud, "pam", listall=True) == ["alpha", "beta"]
    assert names(cloud, "admin", listall=True) == ["alpha", "beta", "gamma"] and names(cloud, "admin") == []
    assert names(cloud, "dom", id=alpha) == ["alpha"]
    assert refused(cloud, "listProjects", user="cid", id=alpha, job=False).status == 431
    second_user("bob2", "bob")
    domain = cloud.ask("listDomains", listall=True, name="b")["domain"][0]["id"]
    above = cloud.ask("listDomains", listall=True, name="a")["domain"][0]["id"]
    for sent, found in (
        ({"domainid": domain}, ["alpha", "beta"]),
        ({"domainid": above}, []),
        ({"domainid": above, "isrecursive": True}, ["alpha", "beta"]),
        ({"account": "ann", "domainid": domain}, ["alpha"]),
        ({"username": "bob2"}, ["alpha", "beta"]),
        ({"username": "nobody"}, []),
        ({"listall": True, "keyword": "ALP"}, ["alpha"]),
        ({"listall": True, "name": "beta"}, ["beta"]),
        ({"listall": True, "displaytext": "beta"}, ["beta"]),
        ({"listall": True, "state": "suspended"}, []),
        ({"listall": True, "page": 2, "pagesize": 1}, ["beta"]),
    ):
        assert names(cloud, "pam", **sent) == found, sent
    assert refused(cloud, "listProjects", account="PrjAcct-alpha-1", job=False).status == 431
    assert beta


def test_projects_are_listed_by_tag_and_in_short(cloud, people):
    alpha = project(cloud, "alpha")
    project(cloud, "beta")
    tag = {"tags[0].key": "team", "tags[0].value": "blue"}
    cloud.job("createTags", user="ann", resourceids=alpha, resourcetype="Project", **tag)
    assert names(cloud, "ann", **tag) == ["alpha"]
    (listed,) = cloud.ask("listProjects", user="ann", details="min", **tag)["project"]
    assert listed["tags"][0]["value"] == "blue" and listed["owner"] and "vmtotal" not in listed
    assert "vmtotal" in cloud.ask("listProjects", user="ann", details="all", **tag)["project"][0]
    assert "is none of all" in refused(cloud, "listProjects", user="ann", details="some", job=False).text
