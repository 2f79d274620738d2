"""Users, accounts, domains and keys over the wire."""

import pytest
from sqlalchemy import select

from mgmt_server.api.passwords import matches
from mgmt_server.db import reading
from mgmt_server.model.account import User
from tests.cloud import Refused


def ids(cloud):
    return {u["username"]: u["id"] for u in cloud.ask("listUsers", listall=True)["user"]}


def test_who_is_listed_to_whom(cloud):
    cloud.account("ann", domain="/a/")
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("deep", domain="/a/b/")
    cloud.account("bob", domain="/c/")
    seen = {
        user: sorted(u["username"] for u in cloud.ask("listUsers", user=user, listall=True)["user"])
        for user in ("admin", "boss", "ann")
    }
    assert seen == {
        "admin": ["admin", "ann", "bob", "boss", "deep"],
        "boss": ["ann", "boss", "deep"],
        "ann": ["ann"],
    }
    assert [u["username"] for u in cloud.ask("listUsers")["user"]] == ["admin"]
    accounts = cloud.ask("listAccounts", user="boss", listall=True)["account"]
    assert sorted(a["name"] for a in accounts) == ["ann", "boss", "deep"]
    (ann,) = cloud.ask("listAccounts", listall=True, name="ann")["account"]
    assert (ann["domainpath"], ann["vmtotal"], ann["vmlimit"], ann["rolename"]) == ("ROOT/a", 0, "Unlimited", "User")
    assert [u["username"] for u in ann["user"]] == ["ann"]
    with pytest.raises(Refused) as no:
        cloud.ask("listAccounts", user="bob", id=ann["id"])
    assert "Invalid parameter id" in no.value.text


def test_domains_and_their_children(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("deep", domain="/a/b/c/")
    domains = {d["path"]: d for d in cloud.ask("listDomains")["domain"]}
    assert set(domains) == {"ROOT", "ROOT/a", "ROOT/a/b", "ROOT/a/b/c"}
    assert (domains["ROOT/a"]["haschild"], domains["ROOT/a/b/c"]["haschild"]) == (True, False)
    assert domains["ROOT/a/b"]["parentdomainname"] == "a" and domains["ROOT/a/b"]["level"] == 2
    assert [d["name"] for d in cloud.ask("listDomains", user="boss")["domain"]] == ["a"]
    assert [d["name"] for d in cloud.ask("listDomains", user="boss", listall=True)["domain"]] == ["a", "b", "c"]
    a = domains["ROOT/a"]["id"]
    assert [d["name"] for d in cloud.ask("listDomainChildren", id=a)["domain"]] == ["b"]
    assert [d["name"] for d in cloud.ask("listDomainChildren", id=a, isrecursive=True)["domain"]] == ["b", "c"]
    with pytest.raises(Refused):
        cloud.ask("listDomainChildren", user="boss", id=domains["ROOT"]["id"])


def test_new_keys_take_the_place_of_the_old_ones(cloud):
    cloud.account("ann")
    user = ids(cloud)["ann"]
    made = cloud.ask("registerUserKeys", id=user)["userkeys"]
    assert len(made["apikey"]) == 86 and len(made["secretkey"]) == 86
    assert cloud.ask("getUserKeys", user="ann", id=user)["userkeys"] == made | {"apikeyaccess": True}
    assert cloud.ask("getUser", userapikey=made["apikey"])["user"]["username"] == "ann"
    told = cloud.ask("listEvents", type="REGISTER.USER.KEY")["event"][0]["description"]
    assert made["secretkey"] not in told and "ann" in told


def test_keys_of_those_who_may_do_more_are_out_of_reach(cloud):
    cloud.account("boss", kind=2)  # a domain administrator of ROOT, where the root administrator is too
    cloud.account("ann")
    users = ids(cloud)
    for command in ("registerUserKeys", "getUserKeys", "updateUser"):
        with pytest.raises(Refused) as no:
            cloud.ask(command, user="boss", id=users["admin"])
        assert no.value.status == 432
        with pytest.raises(Refused):
            cloud.ask(command, user="ann", id=users["boss"])
    assert cloud.ask("registerUserKeys", user="boss", id=users["ann"])["userkeys"]["apikey"]


def test_a_password_is_changed_with_the_one_before(cloud):
    cloud.account("ann")
    user = ids(cloud)["ann"]
    cloud.ask("updateUser", id=user, password="first-one")
    for wrong in ({}, {"currentpassword": "guess"}):
        with pytest.raises(Refused) as no:
            cloud.ask("updateUser", user="ann", id=user, password="second-one", **wrong)
        assert "currentpassword" in no.value.text
    cloud.ask("updateUser", user="ann", id=user, password="second-one", currentpassword="first-one")
    with reading() as session:
        kept = session.scalar(select(User.password).where(User.username == "ann"))
    assert matches("second-one", kept) and not matches("first-one", kept)
    cloud.ask("updateConfiguration", name="password.policy.minimum.length", value="30")
    with pytest.raises(Refused) as no:
        cloud.ask("updateUser", id=user, password="too-short")
    assert "30 at least" in no.value.text


def test_a_user_is_changed(cloud):
    cloud.account("ann")
    cloud.account("bob")
    users = ids(cloud)
    changed = cloud.ask("updateUser", id=users["ann"], firstname="Ann", timezone="Europe/Zurich")["user"]
    assert (changed["firstname"], changed["timezone"]) == ("Ann", "Europe/Zurich")
    for wrong, told in (({"username": "bob"}, "already"), ({"timezone": "Mars/Base"}, "Mars/Base is unknown")):
        with pytest.raises(Refused) as no:
            cloud.ask("updateUser", id=users["ann"], **wrong)
        assert told in no.value.text
