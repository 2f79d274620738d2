"""What a password has to be, when it has to be replaced, and how people who forgot theirs get a new one."""

import json
import re
import threading
from datetime import timedelta

import pytest

from mgmt_server import install
from mgmt_server.api.passwords import check_new, matches
from mgmt_server.db import now, reading, write
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs.rows import JobRow
from mgmt_server.model.account import Login, User
from tests.browser import PASSWORD, Browser, domain_number, give_password
from tests.cloud import Refused
from tests.mail import mailbox

NEW = "Another-horse-4"


@pytest.fixture
def ann(cloud):
    cloud.account("ann", domain="/a/")
    give_password("ann")
    change("ann", email="ann@example.org", firstname="Ann")
    return Browser(cloud)


def row(name="ann"):
    with reading() as session:
        return session.query(User).filter_by(username=name).one()


def change(name, **values):
    def work(tx):
        user = tx.query(User).filter_by(username=name).one()
        for column, value in values.items():
            setattr(user, column, value)

    write(work)


def settle(cloud, **more):
    for name, value in more.items():
        cloud.ask("updateConfiguration", name=name.replace("__", "."), value=value)


# --- rules ---


@pytest.mark.parametrize(
    ("name", "value", "bad", "good"),
    [
        ("length", "9", "short-8x", "long-enough"),
        ("digits", "2", "one-1", "two-12"),
        ("lowercase.letters", "2", "UPPER-a", "UPPER-ab"),
        ("uppercase.letters", "2", "lower-A", "lower-AB"),
        ("special.characters", "2", "abc-def", "abc-d ef"),
    ],
)
def test_a_rule_counts_characters(cloud, ann, name, value, bad, good):
    setting = f"password.policy.minimum.{name}"
    cloud.ask("updateConfiguration", name=setting, value=value)
    with pytest.raises(Refused) as no:
        cloud.ask("updateUser", id=row().uuid, password=bad)
    assert f"{value} at least (setting {setting})" in no.value.text and bad not in no.value.text
    cloud.ask("updateUser", id=row().uuid, password=good)


def test_a_rule_is_an_expression_for_the_whole_password(cloud, ann):
    cloud.ask("updateConfiguration", name="password.policy.regex", value="[a-z]+[0-9]")
    for bad in ("abc", "abc12", "Xabc1"):
        with pytest.raises(Refused, match=r"password\.policy\.regex"):
            cloud.ask("updateUser", id=row().uuid, password=bad)
    cloud.ask("updateUser", id=row().uuid, password="abc1")
    with pytest.raises(Refused, match=r"Value \[\(\[\] is not valid"):
        cloud.ask("updateConfiguration", name="password.policy.regex", value="([")
    cloud.ask("updateUser", id=row().uuid, password="abc1")


def test_the_password_may_be_kept_from_holding_the_users_name(cloud, ann):
    cloud.ask("updateUser", id=row().uuid, password="xxANNxx")
    cloud.ask("updateConfiguration", name="password.policy.allowPasswordToContainUsername", value="false")
    with pytest.raises(Refused, match="contains the user's name"):
        cloud.ask("updateUser", id=row().uuid, password="xxANNxx")


def test_every_rule_that_is_broken_is_told(cloud, ann):
    settle(cloud, password__policy__minimum__length="20", password__policy__minimum__digits="3")
    with pytest.raises(Refused) as no:
        cloud.ask("updateUser", id=row().uuid, password="short")
    assert "20 at least" in no.value.text and "3 at least" in no.value.text


def test_a_domain_has_rules_of_its_own_and_may_pass_them_down(cloud, ann):
    cloud.account("deep", domain="/a/b/")
    (a,) = cloud.ask("listDomains", name="a")["domain"]
    cloud.ask("updateConfiguration", name="password.policy.minimum.length", value="12", domainid=a["id"])
    with reading() as session:
        with pytest.raises(InvalidValue):
            check_new(session, domain_number("/a/"), "ann", "short")
        check_new(session, domain_number("/a/b/"), "deep", "short")
        check_new(session, 1, "admin", "short")
    cloud.ask("updateConfiguration", name="enable.domain.settings.for.child.domain", value="true")
    with reading() as session:
        with pytest.raises(InvalidValue):
            check_new(session, domain_number("/a/b/"), "deep", "short")
        check_new(session, 1, "admin", "short")


@pytest.mark.parametrize("password", ["", "\0", "a\0b", "x" * 2000])
def test_what_is_never_a_password(database, password):
    with reading() as session, pytest.raises(InvalidValue):
        check_new(session, 1, "ann", password)


def test_setup_takes_no_password_that_the_rules_refuse(cloud):
    cloud.ask("updateConfiguration", name="password.policy.minimum.length", value="12")
    with pytest.raises(InvalidValue, match="12 at least"):
        install.give_password("short")
    install.give_password("long enough for anybody")
    Browser(cloud).log_in("admin", "long enough for anybody")


def test_a_new_password_ends_the_sessions_that_the_old_one_opened(cloud, ann):
    ann.log_in("ann", domain="/a")
    other = Browser(cloud)
    other.log_in("ann", domain="/a")
    other.ask("updateUser", id=row().uuid, password=NEW, currentpassword=PASSWORD)
    assert not ann.may_call() and not other.may_call()
    ann.log_in("ann", NEW, domain="/a")


# --- replacing it in time ---


def test_a_password_that_is_too_old_is_good_for_its_replacement_alone(cloud, ann):
    cloud.ask("updateConfiguration", name="password.policy.maximum.age.days", value="30")
    change("ann", password_set=now() - timedelta(days=29))
    assert "passwordchangerequired" not in ann.log_in("ann", domain="/a") and ann.may_call()
    change("ann", password_set=now() - timedelta(days=31))
    assert ann.log_in("ann", domain="/a")["passwordchangerequired"] == "true"
    status, body = ann.send("listZones", method="GET")
    assert status == 531 and "updateUser" in body["listzonesresponse"]["errortext"]
    for sent in ({"id": row().uuid, "email": "x@example.org"}, {"id": row("admin").uuid, "password": NEW}):
        assert ann.send("updateUser", **sent)[0] == 531
    with pytest.raises(Refused, match="choose another"):
        ann.ask("updateUser", id=row().uuid, password=PASSWORD, currentpassword=PASSWORD)
    ann.ask("updateUser", id=row().uuid, password=NEW, currentpassword=PASSWORD)
    assert "passwordchangerequired" not in ann.log_in("ann", NEW, domain="/a") and ann.may_call()


def test_a_password_that_an_administrator_chose_is_replaced_at_the_first_log_in_if_so_set(cloud, ann):
    cloud.ask("updateUser", id=row().uuid, password="first-one")
    assert "passwordchangerequired" not in ann.log_in("ann", "first-one", domain="/a")
    cloud.ask("updateConfiguration", name="password.policy.change.first", value="true")
    cloud.ask("updateUser", id=row().uuid, password="second-one")
    assert ann.log_in("ann", "second-one", domain="/a")["passwordchangerequired"] == "true"
    assert not ann.may_call()
    ann.ask("updateUser", id=row().uuid, password=NEW, currentpassword="second-one")
    ann.log_in("ann", NEW, domain="/a")
    assert ann.may_call()


def test_the_administrators_generated_password_is_replaced_too(cloud):
    cloud.ask("updateConfiguration", name="password.policy.change.first", value="true")
    made = install.give_password(None)
    admin = Browser(cloud)
    assert admin.log_in("admin", made)["passwordchangerequired"] == "true"
    admin.ask("updateUser", id=row("admin").uuid, password=NEW)
    assert "passwordchangerequired" not in admin.log_in("admin", NEW)


# --- forgotten ones ---


@pytest.fixture
def box(cloud):
    with mailbox() as found:
        settle(
            cloud,
            user__password__reset__enabled="true",
            user__password__reset__smtp__host="127.0.0.1",
            user__password__reset__smtp__port=str(found.port),
            user__password__reset__email__sender="cloud@example.org",
            user__password__reset__mail__domain__url="https://cloud.example.org/",
        )
        yield found


def forgot(browser, username="ann", domain="/a"):
    told = browser.send("forgotPassword", username=username, domain=domain)
    browser.cloud.work()
    return told


def token_of(box):
    return re.search(r"token=([\w-]+)", box.messages[-1].get_content())[1]


def reset(browser, token, password=NEW, **more):
    sent = {"username": "ann", "domain": "/a", "token": token, "password": password} | more
    return browser.send("resetPassword", **sent)[0]


def test_a_forgotten_password_is_replaced_by_a_mailed_link(cloud, ann, box):
    ann.log_in("ann", domain="/a")
    nobody = Browser(cloud)
    assert forgot(nobody) == (200, {"forgotpasswordresponse": {"success": True}})
    (message,) = box.messages
    assert message["To"] == "ann@example.org"
    link = "https://cloud.example.org/client/#/user/resetPassword?username=ann&token="
    assert link in message.get_content() and "{{" not in message.get_content()
    token = token_of(box)
    assert len(token) >= 43 and row().reset_hash != token
    assert reset(nobody, token) == 200
    assert not ann.may_call()
    ann.log_in("ann", NEW, domain="/a")
    assert matches(NEW, row().password)


def test_a_token_is_good_once(cloud, ann, box):
    forgot(ann)
    token = token_of(box)
    assert reset(ann, token) == 200
    assert reset(ann, token, "something-else-1") == 431
    assert matches(NEW, row().password)


def test_a_token_that_is_sent_many_times_at_once_is_good_once(cloud, ann, box):
    forgot(ann)
    token = token_of(box)
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(reset(Browser(cloud), token, f"{NEW}{n}"))) for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] + [431] * 5


def test_a_token_expires_and_the_one_before_is_void(cloud, ann, box):
    forgot(ann)
    first = token_of(box)
    change("ann", reset_until=now() + timedelta(minutes=5))
    forgot(ann)
    second = token_of(box)
    assert first != second and reset(ann, first) == 431
    change("ann", reset_until=now() - timedelta(seconds=1))
    assert reset(ann, second) == 431
    assert matches(PASSWORD, row().password)


@pytest.mark.parametrize("token", ["", "x", "null", "0" * 64, "' OR 1=1 --", "\0"])
def test_a_token_that_was_not_mailed_is_refused(cloud, ann, box, token):
    assert reset(ann, token) == 431  # nothing was asked for: an empty hash in the table fits no token
    forgot(ann)
    assert reset(ann, token) == 431
    assert reset(ann, row().reset_hash) == 431


def test_a_token_of_one_user_is_not_another_s(cloud, ann, box):
    cloud.account("bob", domain="/a/")
    give_password("bob")
    forgot(ann)
    assert reset(ann, token_of(box), username="bob") == 431
    assert reset(ann, token_of(box), domain="/") == 431


def test_the_answer_does_not_tell_whether_a_user_exists(cloud, ann, box):
    known = forgot(ann)
    for name, place in (("nobody", "/a"), ("ann", "/nosuch"), ("ann", "/"), ("ANN", "/a"), ("system", "/")):
        assert forgot(ann, name, place) == known
    assert len(box.messages) == 1
    texts = [
        ann.send("resetPassword", username=name, token="x", password=NEW, domain="/a")[1] for name in ("ann", "nobody")
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("shut", [{"state": "disabled"}, {"source": "ldap"}, {"email": None}])
def test_who_may_not_log_in_with_a_password_is_mailed_none(cloud, ann, box, shut):
    forgot(ann)
    token = token_of(box)
    change("ann", **shut)
    assert reset(ann, token) == 431
    change("ann", reset_until=None)
    forgot(ann)
    assert len(box.messages) == 1


def test_nobody_is_flooded_with_mail(cloud, ann, box):
    for _ in range(5):
        forgot(ann)
    assert len(box.messages) == 1


def test_the_rules_for_passwords_hold_for_reset_ones_and_the_token_stays_good(cloud, ann, box):
    cloud.ask("updateConfiguration", name="password.policy.minimum.length", value="12")
    forgot(ann)
    assert reset(ann, token_of(box), "short") == 431
    assert reset(ann, token_of(box), "long enough for ann") == 200


def test_it_is_off_unless_it_is_set(cloud, ann):
    for command, more in (("forgotPassword", {}), ("resetPassword", {"token": "x", "password": NEW})):
        with pytest.raises(Refused, match=r"user\.password\.reset\.enabled"):
            ann.ask(command, username="ann", domain="/a", **more)


def test_what_is_not_set_up_is_told(cloud, ann):
    cloud.ask("updateConfiguration", name="user.password.reset.enabled", value="true")
    with pytest.raises(Refused, match=r"user\.password\.reset\.smtp\.host"):
        ann.ask("forgotPassword", username="ann")


def test_neither_is_answered_by_get(cloud, ann, box):
    assert ann.send("forgotPassword", method="GET", username="ann", domain="/a")[0] == 400


def test_z3_no_password_or_token_is_heard_of_again(cloud, ann, box, caplog):
    """Neither in answers, jobs, events or logs, nor plain in the tables."""
    ann.log_in("ann", domain="/a")
    forgot(ann)
    token = token_of(box)
    assert reset(ann, token, "planted-Secret-1") == 200
    with pytest.raises(Refused):
        ann.log_in("ann", "planted-Guess-2", domain="/a")
    cloud.ask("updateUser", id=row().uuid, password="planted-Third-3")
    with pytest.raises(Refused) as no:
        cloud.ask("updateUser", user="ann", id=row().uuid, password="planted-4", currentpassword="planted-5")
    with reading() as session:
        kept = json.dumps([[str(v) for v in vars(r).values()] for t in (JobRow, User, Login) for r in session.query(t)])
    heard = "\n".join(
        (
            caplog.text,
            kept,
            no.value.text,
            json.dumps(cloud.ask("listEvents", listall=True)),
            json.dumps(cloud.ask("listUsers", listall=True)),
            json.dumps(cloud.ask("listAsyncJobs", listall=True)),
        )
    )
    for secret in (token, "planted-", PASSWORD):
        assert secret not in heard
    assert "scrypt:" in kept
