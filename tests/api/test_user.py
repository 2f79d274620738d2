"""Users, their passwords and keys over the wire."""

import orjson
import pytest
from sqlalchemy import select

from mgmt_server.api import callers
from mgmt_server.api.passwords import matches
from mgmt_server.db import reading, write
from mgmt_server.model import settings
from mgmt_server.model.account import User
from mgmt_server.model.event import SettingValue
from mgmt_server.web.app import Asked
from tests.cloud import Refused


def ids(cloud):
    return {u["username"]: u["id"] for u in cloud.ask("listUsers", listall=True)["user"]}


def test_new_keys_take_the_place_of_the_old_ones(cloud):
    cloud.account("ann")
    user = ids(cloud)["ann"]
    made = cloud.ask("registerUserKeys", id=user)["userkeys"]
    assert len(made["apikey"]) == 86 and len(made["secretkey"]) == 86
    told = cloud.ask("getUserKeys", user="ann", id=user)["userkeys"]
    assert told == {"apikey": made["apikey"], "apikeyaccess": True}
    cloud.ask("updateConfiguration", name="api.secret.key.readable", value="true")
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


def person(name, **more):
    return {
        "username": name,
        "password": "a-Pass-word-1",
        "firstname": "F",
        "lastname": "L",
        "email": "f@example.org",
    } | more


def keys_of(cloud, name):
    return cloud.ask("registerUserKeys", id=ids(cloud)[name])["userkeys"]


def refused(cloud, command, **sent):
    with pytest.raises(Refused) as no:
        cloud.ask(command, **sent)
    return no.value


def answers(cloud, name):
    return cloud.raw(name, "listZones")[0]


def test_a_user_joins_an_account(cloud):
    cloud.account("ann", domain="/a/")
    cloud.account("bob", domain="/a/")
    domain = cloud.ask("listDomains", name="a")["domain"][0]["id"]
    uuid = "6f1d1f5e-6f56-4a2e-9a0d-222222222222"
    sent = person("carol", account="ann", domainid=domain, timezone="Europe/Zurich")
    made = cloud.ask("createUser", userid=uuid, **sent)["user"]
    assert (made["id"], made["account"], made["domain"], made["state"]) == (uuid, "ann", "a", "enabled")
    assert (made["rolename"], made["timezone"], made["apikeyaccess"]) == ("User", "Europe/Zurich", "INHERIT")
    assert "password" not in made and "secretkey" not in made
    with reading() as session:
        assert matches("a-Pass-word-1", session.scalar(select(User.password).where(User.username == "carol")))
    keys_of(cloud, "carol")
    assert answers(cloud, "carol") == 200
    for more, told in (
        ({"username": "bob"}, "already exists in domain a"), ({"username": "x", "userid": uuid}, "is taken"),
        ({"username": "x", "timezone": "Mars/Base"}, "is unknown"), ({"username": "x", "account": "eve"}, "account"),
        ({"username": "x", "firstname": ""}, "firstname"), ({"username": "x", "password": "\x00"}, "password"),
    ):  # fmt: skip
        assert told in refused(cloud, "createUser", **sent | more).text
    assert (
        cloud.ask("listEvents", type="USER.CREATE")["event"][0]["description"] == "creating user carol of account ann"
    )


def test_who_is_shut_out_is_out_at_once(cloud):
    cloud.account("ann")
    user = ids(cloud)["ann"]
    assert answers(cloud, "ann") == 200
    assert cloud.job("disableUser", id=user)["user"]["state"] == "disabled"
    assert answers(cloud, "ann") == 401
    assert cloud.ask("enableUser", id=user)["user"]["state"] == "enabled"
    assert answers(cloud, "ann") == 200
    assert cloud.ask("lockUser", id=user)["user"]["state"] == "locked"
    assert answers(cloud, "ann") == 401
    cloud.ask("enableUser", id=user)
    told = {e["type"] for e in cloud.ask("listEvents", listall=True)["event"]}
    assert {"USER.DISABLE", "USER.ENABLE", "USER.LOCK"} <= told


def test_a_deleted_user_leaves_no_way_in_and_its_name_free(cloud):
    cloud.account("ann")
    cloud.ask("createUser", account="ann", **person("carol"))
    keys = keys_of(cloud, "carol")
    with reading() as session:
        secret = session.scalar(select(User.secret_key).where(User.username == "carol"))
    user = ids(cloud)["carol"]
    assert secret == keys["secretkey"] and cloud.ask("deleteUser", id=user) == {"success": True}
    with reading() as session:
        gone = session.scalar(select(User).where(User.username == "carol"))
    assert gone.removed and (gone.api_key, gone.secret_key, gone.password) == (None, None, None)
    assert "carol" not in ids(cloud) and refused(cloud, "deleteUser", id=user).status == 431
    assert "does not exist" in refused(cloud, "getUser", userapikey=keys["apikey"]).text
    assert cloud.ask("createUser", account="ann", **person("carol"))["user"]["id"] != user


def test_a_user_moves_within_its_domain(cloud):
    cloud.account("ann", domain="/a/")
    cloud.account("bob", kind=2, domain="/a/")
    cloud.account("eve", domain="/c/")
    domain = cloud.ask("listDomains", name="a")["domain"][0]["id"]
    cloud.ask("createUser", account="ann", domainid=domain, **person("carol"))
    keys_of(cloud, "carol")
    user = ids(cloud)["carol"]
    assert cloud.ask("moveUser", id=user, account="bob") == {"success": True}
    (moved,) = cloud.ask("listUsers", id=user)["user"]
    assert (moved["account"], moved["rolename"]) == ("bob", "Domain Admin")
    assert cloud.raw("carol", "listDomains")[0] == 200, "the keys are the same, and the rights the new account's"
    account = cloud.ask("listAccounts", listall=True, name="eve")["account"][0]["id"]
    assert "another domain" in refused(cloud, "moveUser", id=user, accountid=account).text
    assert "already" in refused(cloud, "moveUser", id=user, account="bob").text
    assert "which account" in refused(cloud, "moveUser", id=user).text


def test_nobody_shuts_themselves_out_nor_the_first_administrator(cloud):
    cloud.account("root", kind=1)
    users = ids(cloud)
    for command in ("disableUser", "lockUser", "deleteUser"):
        assert "nobody can" in refused(cloud, command, user="root", id=users["root"]).text
        assert "came with the installation" in refused(cloud, command, user="root", id=users["admin"]).text


def test_keys_are_switched_off_for_a_user_an_account_or_a_domain(cloud):
    cloud.account("ann", domain="/a/")
    user = ids(cloud)["ann"]
    account = cloud.ask("listAccounts", listall=True, name="ann")["account"][0]["id"]
    domain = cloud.ask("listDomains", name="a")["domain"][0]["id"]

    def told():
        callers.forget()
        assert cloud.ask("getUserKeys", id=user)["userkeys"]["apikeyaccess"] == (answers(cloud, "ann") == 200)
        return answers(cloud, "ann")

    assert told() == 200
    cloud.ask("updateConfiguration", name="api.key.access", domainid=domain, value="false")
    assert told() == 401, "the domain says no"
    assert cloud.ask("updateAccount", id=account, apikeyaccess="Enabled")["account"]["apikeyaccess"] == "ENABLED"
    assert told() == 200, "the account's word goes before the domain's"
    assert cloud.ask("updateUser", id=user, apikeyaccess="disabled")["user"]["apikeyaccess"] == "DISABLED"
    assert told() == 401, "the user's word goes before the account's"
    assert [u["username"] for u in cloud.ask("listUsers", listall=True, apikeyaccess="Disabled")["user"]] == ["ann"]
    assert [a["name"] for a in cloud.ask("listAccounts", listall=True, apikeyaccess="Enabled")["account"]] == ["ann"]
    cloud.ask("updateUser", id=user, apikeyaccess="Inherit")
    assert told() == 200
    assert "none of Enabled" in refused(cloud, "updateUser", id=user, apikeyaccess="maybe").text
    cloud.ask("updateUser", user="ann", id=user, apikeyaccess="Disabled")  # for root alone: as if it had not been sent
    assert told() == 200


def test_a_change_of_key_access_is_told(cloud):
    cloud.account("ann", domain="/a/")
    user = ids(cloud)["ann"]
    account = cloud.ask("listAccounts", listall=True, name="ann")["account"][0]["id"]
    cloud.ask("updateUser", id=user, apikeyaccess="Inherit")
    cloud.ask("updateUser", id=user, firstname="Ann")
    cloud.ask("updateUser", user="ann", id=user, apikeyaccess="Disabled")
    assert cloud.ask("listEvents", type="API.KEY.ACCESS.UPDATE", listall=True) == {}, "nothing has changed"
    for word in ("disabled", "Disabled", "Inherit"):
        cloud.ask("updateUser", id=user, apikeyaccess=word)
        cloud.ask("updateAccount", id=account, apikeyaccess=word)
    told = cloud.ask("listEvents", type="API.KEY.ACCESS.UPDATE", listall=True)["event"]
    assert [(e["resourcetype"], e["resourceid"], e["description"], e["username"]) for e in reversed(told)] == [
        ("User", user, "API key access of user ann is DISABLED", "admin"),
        ("Account", account, "API key access of account ann is DISABLED", "admin"),
        ("User", user, "API key access of user ann is INHERIT", "admin"),
        ("Account", account, "API key access of account ann is INHERIT", "admin"),
    ]


def test_the_integration_port_tells_the_secret_to_who_has_all_rights(cloud):
    user = ids(cloud)["admin"]
    with reading() as session:
        secret = session.scalar(select(User.secret_key).where(User.username == "admin"))
    sent = {"command": "getUserKeys", "id": user, "response": "json"}
    body = cloud.front.serve(Asked("GET", sent, open=True)).body
    assert orjson.loads(body)["getuserkeysresponse"]["userkeys"]["secretkey"] == secret
    assert "secretkey" not in cloud.ask("getUserKeys", id=user)["userkeys"]


def test_neighbours_and_equals_as_settings_say(cloud):
    cloud.account("ann")
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("peer", kind=2, domain="/a/")
    cloud.ask("createUser", account="ann", **person("carol"))
    users = ids(cloud)
    assert cloud.ask("updateUser", user="ann", id=users["carol"], lastname="X")["user"]["lastname"] == "X"
    assert cloud.ask("updateUser", user="boss", id=users["peer"], lastname="X")["user"]["lastname"] == "X"

    def say(name, value):  # settings that no command shows nor changes
        write(lambda tx: tx.add(SettingValue(name=name, value=value)))
        settings.forget()

    say("allow.operations.on.users.in.same.account", "false")
    assert "others of their account" in refused(cloud, "updateUser", user="ann", id=users["carol"], lastname="Y").text
    say("role.types.allowed.for.operations.on.accounts.of.same.role.type", "Admin")
    no = refused(cloud, "updateUser", user="boss", id=users["peer"], lastname="Y")
    assert no.status == 432 and "does not name it" in no.text
    cloud.ask("updateUser", user="ann", id=users["ann"], lastname="Y")


def test_a_role_with_fewer_commands_is_no_way_to_those_with_more(cloud):
    """An administrator of a domain whose role was narrowed resets nobody's password whose role was not."""
    cloud.account("full", kind=2, domain="/a/")
    cloud.account("thin", kind=2, domain="/a/")
    role = cloud.ask("createRole", name="thin", type="DomainAdmin")["role"]["id"]
    for rule in ("list*", "updateUser"):
        cloud.ask("createRolePermission", roleid=role, rule=rule, permission="allow")
    account = cloud.ask("listAccounts", listall=True, name="thin")["account"][0]["id"]
    cloud.ask("updateAccount", id=account, roleid=role)
    users = ids(cloud)
    no = refused(cloud, "updateUser", user="thin", id=users["full"], password="Another-pass-1")
    assert no.status == 432 and "commands that yours does not" in no.text
    assert cloud.ask("updateUser", user="full", id=users["thin"], lastname="X")


def test_a_list_tells_whose_domain_is_below_the_callers(cloud):
    cloud.account("chief", kind=2, domain="/a/")
    cloud.account("below", domain="/a/b/")

    def told(user):
        return {
            u["username"]: u["iscallerchilddomain"] for u in cloud.ask("listUsers", user=user, listall=True)["user"]
        }

    assert told("chief") == {"chief": False, "below": True}
    assert told("admin") == {"admin": False, "chief": True, "below": True}
    assert told("below") == {"below": False}
