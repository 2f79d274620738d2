"""How long a session lasts, and what ends it."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from mgmt_server.api import callers, sessions
from mgmt_server.db import now, reading, write
from mgmt_server.model.account import Account, Login, User
from tests.web.conftest import PASSWORD, URL


def count():
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Login))


def aged(**values):
    write(lambda tx: tx.execute(update(Login).values(**values)))
    sessions.forget()


def test_a_session_that_is_idle_or_old_has_ended(site):
    person = site.person()
    aged(last_used=now() - timedelta(minutes=29))
    assert person.ask().status_code == 200  # which is a use, and was written down
    with reading() as session:
        assert session.scalar(select(Login.last_used)) > now() - timedelta(minutes=1)
    aged(last_used=now() - timedelta(minutes=31))
    assert person.ask().status_code == 401
    person = site.person()
    aged(created=now() - timedelta(hours=25), last_used=now())
    assert person.ask().status_code == 401


def test_too_many_sessions_of_a_user_end_the_one_that_was_not_used_for_longest(site):
    site.set("session.max.per.user", "2")
    first, other = site.person(), site.person("ann")
    aged(last_used=now() - timedelta(minutes=5))
    second, third = site.person(), site.person()
    assert [p.ask().status_code for p in (first, second, third, other)] == [401, 200, 200, 200]
    site.set("session.max", "1")
    assert site.person("ann").ask().status_code == 200
    assert count() == 1 and third.ask().status_code == 401


CHANGES = {
    "password": lambda tx, user, account: setattr(user, "password", "x"),
    "user disabled": lambda tx, user, account: setattr(user, "state", "disabled"),
    "user removed": lambda tx, user, account: setattr(user, "removed", now()),
    "user moved": lambda tx, user, account: setattr(user, "account_id", 2),
    "account disabled": lambda tx, user, account: setattr(account, "state", "disabled"),
    "role": lambda tx, user, account: setattr(account, "role_id", 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_sessions_end_when_what_they_stood_on_changes(site, change):
    person, other, admin = site.person("ann"), site.person("ann"), site.person()
    assert {p.ask().status_code for p in (person, other, admin)} == {200}

    def work(tx):
        user = tx.scalar(select(User).where(User.username == "ann"))
        CHANGES[change](tx, user, tx.get_one(Account, user.account_id))

    write(work)
    callers.forget()
    assert [p.ask().status_code for p in (person, other, admin)] == [401, 401, 200]
    assert count() == 1


def test_a_logout_is_told_once_and_no_other_end_is(site):
    person, again = site.person("ann"), site.person("ann")
    person.client.post(URL, data={"command": "login", "username": "ann", "password": PASSWORD, "response": "json"})
    assert again.ask(sessionkey="wrong").status_code == 401
    assert site.cloud.ask("listEvents", type="USER.LOGOUT", listall=True) == {}
    cookie = person.client.cookies["JSESSIONID"]
    assert person.ask("logout", "POST").status_code == 200
    person.client.cookies.set("JSESSIONID", cookie)
    assert person.ask("logout", "POST").status_code == 431
    (told,) = site.cloud.ask("listEvents", type="USER.LOGOUT", listall=True)["event"]
    assert (told["username"], told["account"], told["state"], told["level"]) == ("ann", "ann", "Completed", "INFO")
    assert told["description"] == "user ann has logged out from IP address 192.0.2.10"
    assert [e["id"] for e in site.cloud.ask("listEvents", user="ann", type="USER.LOGOUT")["event"]] == [told["id"]]


def test_what_is_no_reason_ends_no_session(site):
    person = site.person("ann")
    write(lambda tx: setattr(tx.scalar(select(User).where(User.username == "ann")), "firstname", "Ann"))
    assert person.ask().status_code == 200


def test_a_change_that_is_rolled_back_ends_nothing(site):
    person = site.person("ann")

    def work(tx):
        tx.scalar(select(User).where(User.username == "ann")).password = "x"
        tx.flush()
        raise KeyError

    with pytest.raises(KeyError):
        write(work)
    assert person.ask().status_code == 200


def test_where_the_session_key_may_be(site):
    def statuses():
        found = []
        for parameter, cookie in ((True, True), (True, False), (False, True), (False, False)):
            person = site.person()
            if not cookie:
                person.client.cookies.delete("sessionkey")
            found.append(person.ask(**({} if parameter else {"sessionkey": None})).status_code)
        return found

    assert statuses() == [200, 401, 401, 401]
    site.set("api.sessionkey.check.locations", "CookieOrParameter")
    assert statuses() == [200, 200, 200, 401]
    site.set("api.sessionkey.check.locations", "ParameterOnly")
    assert statuses() == [200, 200, 401, 401]
    person = site.person()
    assert person.ask(sessionkey=None, headers={"sessionkey": person.key}).status_code == 200


@pytest.mark.parametrize(("setting", "base", "there", "absent"), [
    (None, "http://cloud", "SameSite=Lax", "Secure"), (None, "https://cloud", "Secure", "SameSite=None"),
    (("api.sessionkey.cookie.samesite", "Strict"), "http://cloud", "SameSite=Strict", "Secure"),
    (("api.sessionkey.cookie.samesite", "NoneAndSecure"), "http://cloud", "SameSite=None; Secure", "Lax"),
    (("api.sessionkey.cookie.samesite", "null"), "http://cloud", "HttpOnly", "SameSite"),
    (("enable.secure.session.cookie", "true"), "http://cloud", "; Secure", "SameSite=None"),
])  # fmt: skip
def test_the_cookies_are_as_the_settings_say(site, setting, base, there, absent):
    if setting:
        site.set(*setting)
    for cookie in site.person(base=base).logged_in.headers.get_list("set-cookie"):
        assert "HttpOnly" in cookie and "Path=/client" in cookie
        assert there in cookie and absent not in cookie
