"""Users, their passwords and keys over the wire."""

import pytest
from sqlalchemy import select

from mgmt_server.api.passwords import matches
from mgmt_server.db import reading
from mgmt_server.model.account import User
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
