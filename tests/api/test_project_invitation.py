"""Invitations to projects: accepted, declined, timed out, mailed."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mgmt_server.db import now, reading, write
from mgmt_server.jobs.rows import JobRow, StepRow
from mgmt_server.model.account import ProjectInvitation
from mgmt_server.model.event import Event
from mgmt_server.resources.projectinvitation.timers import expire
from tests.api.test_project import refused, user_id
from tests.mail import mailbox
from tests.projects import add, add_user, members, project, second_user, world


@pytest.fixture
def alpha(cloud):
    world(cloud)
    cloud.ask("updateConfiguration", name="project.invite.required", value="true")
    return project(cloud, "alpha")


@pytest.fixture
def box(cloud):
    with mailbox() as made:
        for name, value in (
            ("project.smtp.host", "127.0.0.1"),
            ("project.smtp.port", made.port),
            ("project.email.sender", "cloud@example.org"),
        ):
            cloud.ask("updateConfiguration", name=name, value=value)
        yield made


def invitations(cloud, user, **sent):
    return cloud.ask("listProjectInvitations", user=user, **sent).get("projectinvitation", [])


def answer(cloud, user, where, **sent):
    return cloud.job("updateProjectInvitation", user=user, projectid=where, **sent)["success"]


def later(seconds):
    """As if the invitations had been made so long ago."""
    past = now() - timedelta(seconds=seconds)
    write(lambda tx: tx.execute(update(ProjectInvitation).values(created=past)) and None)


def test_an_invited_account_is_a_member_once_it_accepts(cloud, alpha):
    assert cloud.ask("listCapabilities", user="ann")["capability"]["projectinviterequired"] is True
    add(cloud, alpha, "bob", roletype="Admin")
    assert members(cloud, alpha) == {"ann": "Admin"}
    (mine,) = invitations(cloud, "bob")
    assert (mine["project"], mine["account"], mine["state"], mine["domainpath"]) == (
        "alpha", "bob", "Pending", "ROOT/a/b",
    )  # fmt: skip
    assert refused(cloud, "listSSHKeyPairs", user="bob", projectid=alpha, job=False).status == 431
    assert answer(cloud, "bob", alpha)
    assert members(cloud, alpha) == {"ann": "Admin", "bob": "Admin"}
    assert invitations(cloud, "bob")[0]["state"] == "Completed" and not invitations(cloud, "bob", activeonly=True)
    assert "no open invitation" in refused(cloud, "updateProjectInvitation", user="bob", projectid=alpha).text


def test_an_invitation_can_be_declined_and_sent_again(cloud, alpha):
    add(cloud, alpha, "bob")
    again = refused(cloud, "addAccountToProject", user="ann", projectid=alpha, account="bob")
    assert "has an open invitation to the project alpha already" in again.text
    assert answer(cloud, "bob", alpha, accept=False)
    assert [i["state"] for i in invitations(cloud, "bob")] == ["Declined"] and members(cloud, alpha) == {"ann": "Admin"}
    add(cloud, alpha, "bob")
    assert answer(cloud, "bob", alpha)
    assert members(cloud, alpha) == {"ann": "Admin", "bob": "Regular"}


def test_nobody_answers_for_others(cloud, alpha):
    second_user("bob2", "bob")
    add_user(cloud, alpha, "bob")
    bob = user_id(cloud, "bob")
    assert not invitations(cloud, "bob2", listall=True)
    missing = "5a8b13d1-64ef-4b0c-8b2b-3a6c5a6b9f11"
    for user in ("bob2", "cid", "eve", "ed"):
        told = {refused(cloud, "updateProjectInvitation", user=user, projectid=p).text for p in (alpha, missing)}
        assert len(told) == 1 and "no open invitation" in told.pop()
    assert refused(cloud, "updateProjectInvitation", user="bob2", projectid=alpha, userid=bob).status == 531
    assert refused(cloud, "updateProjectInvitation", user="cid", projectid=alpha, userid=bob).status == 431
    assert refused(cloud, "updateProjectInvitation", user="cid", projectid=alpha, account="bob").status == 431
    assert members(cloud, alpha) == {"ann": "Admin"}
    assert answer(cloud, "bob", alpha, userid=bob)
    assert members(cloud, alpha) == {"ann": "Admin", "bob/bob": "Regular"}


def test_an_administrator_of_the_domain_answers_for_an_account(cloud, alpha):
    add(cloud, alpha, "bob")
    assert answer(cloud, "dom", alpha, account="bob")
    assert members(cloud, alpha) == {"ann": "Admin", "bob": "Regular"}


def test_an_invitation_times_out(cloud, alpha):
    add(cloud, alpha, "bob")
    later(86_401)
    assert not invitations(cloud, "bob", activeonly=True)
    no = refused(cloud, "updateProjectInvitation", user="bob", projectid=alpha)
    assert "has expired" in no.text, "before the timer has seen it"
    expire()
    assert [i["state"] for i in invitations(cloud, "bob")] == ["Expired"]
    assert "has expired" in refused(cloud, "updateProjectInvitation", user="bob", projectid=alpha).text
    add(cloud, alpha, "bob")
    expire()
    assert sorted(i["state"] for i in invitations(cloud, "bob")) == ["Expired", "Pending"]
    cloud.ask("updateConfiguration", name="project.invite.timeout", value="60")
    later(61)
    expire()
    assert {i["state"] for i in invitations(cloud, "bob")} == {"Expired"}


def test_invitations_are_listed_to_both_sides(cloud, alpha):
    project(cloud, "gamma", user="eve")
    add(cloud, alpha, "bob")
    add_user(cloud, alpha, "cid")
    assert len(invitations(cloud, "ann", projectid=alpha)) == len(invitations(cloud, "ann", listall=True)) == 2
    assert not invitations(cloud, "ann") and not invitations(cloud, "eve", listall=True)
    assert len(invitations(cloud, "dom", listall=True)) == len(invitations(cloud, "admin", listall=True)) == 2
    assert [i["account"] for i in invitations(cloud, "ann", listall=True, userid=user_id(cloud, "cid"))] == ["cid"]
    domain = cloud.ask("listDomains", listall=True, name="b")["domain"][0]["id"]
    above = cloud.ask("listDomains", listall=True, name="a")["domain"][0]["id"]
    assert [i["account"] for i in invitations(cloud, "dom", account="bob", domainid=domain)] == ["bob"]
    assert not invitations(cloud, "pam", domainid=above)
    assert len(invitations(cloud, "pam", domainid=above, isrecursive=True)) == 2
    assert not invitations(cloud, "dom", listall=True, state="declined")
    (mine,) = invitations(cloud, "bob")
    answer(cloud, "bob", alpha)
    no = refused(cloud, "listProjectInvitations", user="bob", projectid=alpha, job=False)
    assert no.status == 531, "a regular member sees nobody else's"
    assert [i["id"] for i in invitations(cloud, "bob", listall=True)] == [mine["id"]]


def test_who_runs_the_project_takes_an_invitation_back(cloud, alpha):
    add(cloud, alpha, "bob")
    (mine,) = invitations(cloud, "bob")
    for user in ("bob", "cid", "eve", "ed"):
        assert refused(cloud, "deleteProjectInvitation", user=user, id=mine["id"]).status == 431
    assert cloud.job("deleteProjectInvitation", user="ann", id=mine["id"])["success"]
    assert not invitations(cloud, "bob")
    assert refused(cloud, "updateProjectInvitation", user="bob", projectid=alpha).status == 431


def test_a_suspended_project_is_not_joined(cloud, alpha):
    add(cloud, alpha, "bob")
    cloud.job("suspendProject", user="ann", id=alpha)
    assert refused(cloud, "updateProjectInvitation", user="bob", projectid=alpha).status == 531
    cloud.job("activateProject", user="ann", id=alpha)
    assert answer(cloud, "bob", alpha)


def mail_token(message):
    return re.search(r"Token:\s+(\S+)", message.get_content())[1]


def test_a_mailed_token_lets_one_account_in_once(cloud, alpha, box):
    sent = {"projectid": alpha, "email": "someone@example.org", "roletype": "Admin"}
    assert cloud.job("addAccountToProject", user="ann", **sent)["success"]
    (message,) = box.messages
    assert message["To"] == "someone@example.org" and message["From"] == "cloud@example.org"
    assert "alpha" in message["Subject"] and alpha in message.get_content()
    token = mail_token(message)
    assert len(token) >= 32
    for user, offered in (("bob", "x" + token[1:]), ("bob", ""), ("eve", token), ("ed", token)):
        assert refused(cloud, "updateProjectInvitation", user=user, projectid=alpha, token=offered).status == 431
    (open_,) = invitations(cloud, "ann", projectid=alpha)
    assert open_["email"] == "someone@example.org" and "account" not in open_
    assert token not in str(open_)
    assert answer(cloud, "bob", alpha, token=token)
    assert members(cloud, alpha) == {"ann": "Admin", "bob": "Admin"}
    assert refused(cloud, "updateProjectInvitation", user="cid", projectid=alpha, token=token).status == 431


def test_a_token_is_kept_nowhere_but_in_the_mail(cloud, alpha, box):
    add(cloud, alpha, "bob", email="bob@example.org")
    token = mail_token(box.messages[0])
    with reading() as session:
        for table in (ProjectInvitation, JobRow, StepRow, Event):
            for row in session.scalars(select(table)):
                assert token not in repr(vars(row)), table
    assert refused(cloud, "updateProjectInvitation", user="cid", projectid=alpha, token=token).status == 431
    assert answer(cloud, "bob", alpha, token=token)


def test_a_single_user_is_invited_by_mail(cloud, alpha, box):
    second_user("bob2", "bob")
    add_user(cloud, alpha, "bob2", email="bob2@example.org")
    token = mail_token(box.messages[0])
    assert refused(cloud, "updateProjectInvitation", user="bob", projectid=alpha, token=token).status == 431
    assert answer(cloud, "bob2", alpha, token=token)
    assert members(cloud, alpha) == {"ann": "Admin", "bob/bob2": "Regular"}


def test_an_invitation_that_could_not_be_mailed_is_none(cloud, alpha, box):
    no = refused(cloud, "addAccountToProject", user="ann", projectid=alpha, email="a@example.org\r\nBcc: b@example.org")
    assert no.status == 431
    assert "is no mail address" in refused(cloud, "addAccountToProject", user="ann", projectid=alpha, email="x").text
    cloud.ask("updateConfiguration", name="project.smtp.port", value="9")
    no = refused(cloud, "addAccountToProject", user="ann", projectid=alpha, email="a@example.org")
    assert "mail server 127.0.0.1:9" in no.text and not invitations(cloud, "ann", projectid=alpha)
    cloud.ask("resetConfiguration", name="project.smtp.host")
    no = refused(cloud, "addAccountToProject", user="ann", projectid=alpha, email="a@example.org")
    assert "project.smtp.host" in no.text and not box.messages
