"""Users, accounts, domains and keys over the wire."""

import pytest

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
    assert (ann["domainpath"], ann["vmtotal"], ann["vmlimit"], ann["rolename"]) == ("ROOT/a", 0, "20", "User")
    assert [u["username"] for u in ann["user"]] == ["ann"]
    with pytest.raises(Refused) as no:
        cloud.ask("listAccounts", user="bob", id=ann["id"])
    assert "Invalid parameter id" in no.value.text
