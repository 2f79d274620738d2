"""The second factor at a log-in: codes by time, a fixed code, and who has to have one."""

import threading
import time

import pyotp
import pytest

from mgmt_server.db import reading
from mgmt_server.model.account import User
from mgmt_server.resources.twofactor import rules
from tests.browser import Browser, give_password
from tests.cloud import Refused


@pytest.fixture
def ann(cloud):
    cloud.account("ann", domain="/a/")
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("bob", domain="/b/")
    give_password("ann")
    cloud.ask("updateConfiguration", name="enable.user.2fa", value="true")
    return Browser(cloud)


@pytest.fixture
def clock(monkeypatch):
    """A time that the test moves: codes change with it."""

    class Clock:
        now = time.time()

        def time(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(rules, "time", found)
    return found


def enter(browser):
    return browser.log_in("ann", domain="/a")


def prove(browser, code):
    return browser.send("validateUserTwoFactorAuthenticationCode", codefor2fa=code)[0]


def row(name="ann"):
    with reading() as session:
        return session.query(User).filter_by(username=name).one()


def set_up(browser, clock):
    enter(browser)
    secret = browser.ask("setupUserTwoFactorAuthentication", provider="totp")["setup2fa"]["secretcode"]
    assert prove(browser, pyotp.TOTP(secret).at(clock.now)) == 200
    clock.now += 60
    return secret


def test_the_providers_are_listed(cloud):
    told = cloud.ask("listUserTwoFactorAuthenticatorProviders")
    assert [p["name"] for p in told["providers"]] == ["totp", "staticpin"]
    assert cloud.ask("listUserTwoFactorAuthenticatorProviders", name="totp")["count"] == 1
    with pytest.raises(Refused):
        cloud.ask("listUserTwoFactorAuthenticatorProviders", name="sms")


def test_a_log_in_waits_for_the_code(cloud, ann, clock):
    secret = set_up(ann, clock)
    assert ann.may_call()  # who proved it goes on
    told = enter(ann)
    assert (told["is2faenabled"], told["is2faverified"], told["providerfor2fa"]) == ("true", "false", "totp")
    assert told["issuerfor2fa"] == "CloudStack"
    assert prove(ann, pyotp.TOTP(secret).at(clock.now)) == 200
    assert ann.may_call()
    (listed,) = cloud.ask("listUsers", username="ann", listall=True)["user"]
    assert (listed["is2faenabled"], listed["is2famandated"]) == (True, False)


def test_without_the_code_nothing_else_is_answered_and_the_session_ends(ann, clock):
    secret = set_up(ann, clock)
    enter(ann)
    assert ann.send("listApis", method="GET")[0] == 200
    status, body = ann.send("listZones", method="GET")
    assert status == 511 and "second factor" in body["listzonesresponse"]["errortext"]
    assert prove(ann, pyotp.TOTP(secret).at(clock.now)) == 401


@pytest.mark.parametrize("code", ["000000", "", "12345", "1234567", "abcdef", "１２３４５６", "' OR 1=1"])
def test_a_wrong_code_ends_the_session(ann, clock, code):
    set_up(ann, clock)
    enter(ann)
    assert prove(ann, code or " ") in (511, 431)
    if code:
        assert not ann.may_call()


def test_a_code_is_taken_once(cloud, ann, clock):
    secret = set_up(ann, clock)
    code = pyotp.TOTP(secret).at(clock.now)
    enter(ann)
    assert prove(ann, code) == 200
    other = Browser(cloud)
    enter(other)
    assert prove(other, code) == 511
    clock.now += 30
    enter(other)
    assert prove(other, pyotp.TOTP(secret).at(clock.now)) == 200
    enter(other)
    assert prove(other, code) == 511  # an older one that is still shown somewhere


def test_a_code_that_is_sent_twice_at_once_is_taken_once(cloud, ann, clock):
    secret = set_up(ann, clock)
    code = pyotp.TOTP(secret).at(clock.now)
    browsers = [Browser(cloud) for _ in range(6)]
    for browser in browsers:
        enter(browser)
    found = []
    threads = [threading.Thread(target=lambda b=b: found.append(prove(b, code))) for b in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(200) == 1


def test_codes_of_the_wrong_time_are_wrong(ann, clock):
    secret = set_up(ann, clock)
    for seconds in (-3600, -90, 90, 3600):
        enter(ann)
        assert prove(ann, pyotp.TOTP(secret).at(clock.now + seconds)) == 511
        ann.cloud.ask("enableUser", id=row().uuid)


def test_wrong_codes_disable_the_user_although_the_password_is_right(ann, clock):
    secret = set_up(ann, clock)
    for _ in range(5):
        enter(ann)
        assert prove(ann, "000000") == 511
    assert row().state == "disabled"
    with pytest.raises(Refused):
        enter(ann)
    ann.cloud.ask("enableUser", id=row().uuid)
    enter(ann)
    assert prove(ann, pyotp.TOTP(secret).at(clock.now)) == 200
    assert row().failures == 0


def test_wrong_codes_of_a_root_administrator_are_limited_by_time(cloud, ann, clock):
    give_password("admin")
    browser = Browser(cloud)
    browser.log_in("admin")
    secret = browser.ask("setupUserTwoFactorAuthentication", provider="totp")["setup2fa"]["secretcode"]
    assert prove(browser, pyotp.TOTP(secret).at(clock.now)) == 200
    clock.now += 60
    codes = []
    for _ in range(11):
        browser.log_in("admin")
        codes.append(prove(browser, "000000"))
    assert codes == [511] * 10 + [429]
    assert row("admin").state == "enabled"


def test_who_has_the_password_alone_cannot_take_the_second_factor_away_or_replace_it(ann, clock):
    set_up(ann, clock)
    before = row().two_factor_secret
    for sent in ({"enable": "false"}, {"enable": "true"}, {"enable": "false", "userid": row().uuid}):
        enter(ann)
        assert ann.send("setupUserTwoFactorAuthentication", **sent)[0] in (431, 511)
    assert row().two_factor and row().two_factor_secret == before


def test_a_set_up_that_no_code_has_proven_does_not_count(ann, clock):
    enter(ann)
    ann.ask("setupUserTwoFactorAuthentication")
    assert enter(ann)["is2faenabled"] == "false"
    assert row().two_factor_secret is None
    assert prove(ann, "000000") == 431


def test_a_fixed_code(ann):
    enter(ann)
    pin = ann.ask("setupUserTwoFactorAuthentication", provider="staticpin")["setup2fa"]["secretcode"]
    assert len(pin) == 6 and pin.isdecimal() and prove(ann, pin) == 200
    for _ in range(2):
        assert enter(ann)["providerfor2fa"] == "staticpin"
        assert prove(ann, pin) == 200
    enter(ann)
    assert prove(ann, f"{(int(pin) + 1) % 10**6:06d}") == 511


def test_the_provider_by_default_is_a_setting_and_so_is_the_issuer(cloud, ann):
    cloud.ask("updateConfiguration", name="user.2fa.default.provider", value="staticpin")
    cloud.ask("updateConfiguration", name="user.2fa.issuer", value="Example")
    assert enter(ann)["issuerfor2fa"] == "Example"
    ann.ask("setupUserTwoFactorAuthentication")
    assert row().two_factor_provider == "staticpin"
    with pytest.raises(Refused) as no:
        ann.ask("setupUserTwoFactorAuthentication", provider="sms")
    assert "totp, staticpin" in no.value.text


def test_where_it_is_off_nobody_sets_one_up(cloud, ann):
    cloud.ask("updateConfiguration", name="enable.user.2fa", value="false")
    enter(ann)
    with pytest.raises(Refused) as no:
        ann.ask("setupUserTwoFactorAuthentication")
    assert "enable.user.2fa" in no.value.text


def test_where_it_is_mandated_the_first_log_in_sets_it_up(cloud, ann, clock):
    (a,) = cloud.ask("listDomains", name="a")["domain"]
    for name in ("enable.user.2fa", "mandate.user.2fa"):
        cloud.ask("updateConfiguration", name=name, value="true", domainid=a["id"])
    users = {u["username"]: u["is2famandated"] for u in cloud.ask("listUsers", listall=True)["user"]}
    assert users == {"admin": False, "ann": True, "boss": True, "bob": False}
    told = enter(ann)
    assert (told["is2faenabled"], told["is2faverified"]) == ("true", "false") and "providerfor2fa" not in told
    assert ann.send("listZones", method="GET")[0] == 511
    enter(ann)
    secret = ann.ask("setupUserTwoFactorAuthentication")["setup2fa"]["secretcode"]
    assert prove(ann, pyotp.TOTP(secret).at(clock.now)) == 200 and ann.may_call()


def test_a_single_user_is_mandated_by_an_administrator(cloud, ann):
    changed = cloud.ask("updateUser", user="boss", id=row().uuid, mandate2fa=True)["user"]
    assert changed["is2famandated"] is True
    assert enter(ann)["is2faverified"] == "false"
    ann.ask("setupUserTwoFactorAuthentication")


def test_an_administrator_takes_it_away_from_whom_he_may_act_on(cloud, ann, clock):
    set_up(ann, clock)
    give_password("admin")
    for user in ("bob", "boss"):
        with pytest.raises(Refused):
            cloud.ask("setupUserTwoFactorAuthentication", user=user, enable=False, userid=row("admin").uuid)
    with pytest.raises(Refused):
        cloud.ask("setupUserTwoFactorAuthentication", user="bob", enable=False, userid=row().uuid)
    with pytest.raises(Refused):
        cloud.ask("setupUserTwoFactorAuthentication", user="boss", enable=True, userid=row().uuid)
    told = cloud.ask("setupUserTwoFactorAuthentication", user="boss", enable=False, userid=row().uuid)["setup2fa"]
    assert told == {"id": row().uuid, "username": "ann"}
    assert not ann.may_call()  # its sessions ended
    assert enter(ann)["is2faverified"] == "true" and not row().two_factor


def test_signed_calls_need_no_code(cloud, ann, clock):
    set_up(ann, clock)
    assert "count" in cloud.ask("listUsers", user="ann")


def test_z3_secrets_of_the_second_factor_are_told_once(cloud, ann, clock, caplog):
    secret = set_up(ann, clock)
    enter(ann)
    prove(ann, "918273")
    heard = caplog.text + str(cloud.ask("listEvents", listall=True)) + str(cloud.ask("listUsers", listall=True))
    assert secret not in heard and "918273" not in heard
