"""How many calls and log-ins, and what is told about it."""

import pytest

from mgmt_server.resources.apilimit import limits
from tests.cloud import Refused
from tests.web.conftest import URL


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(limits, "time", made)
    return made


def test_an_account_has_so_many_calls_in_an_interval(site, clock):
    with pytest.raises(Refused, match=r"432: .*only available when api.throttling.enabled"):
        site.cloud.ask("getApiLimit", user="ann")
    for name, value in {"enabled": "true", "max": "3", "interval": "10"}.items():
        site.set(f"api.throttling.{name}", value)
    limit = site.cloud.ask("getApiLimit", user="ann")["apilimit"]
    assert (limit["account"], limit["apiIssued"], limit["apiAllowed"]) == ("ann", 1, 2)
    assert limit["expireAfter"] == 10_000
    clock.now += 4
    assert [site.ask("ann").status_code for _ in range(3)] == [200, 200, 429]
    refused = site.ask("ann").json()["listzonesresponse"]
    assert refused["errorcode"] == 429 and refused["cserrorcode"] == 4545
    assert refused["errortext"].endswith("reached his/her account api limit, please retry after 6000 ms.")
    assert site.ask("bob").status_code == 200
    assert {site.ask().status_code for _ in range(9)} == {200}  # root's are not limited
    clock.now += 6.1
    assert site.ask("ann").status_code == 200


def test_a_limit_can_be_counted_anew(site, clock):
    for name, value in {"enabled": "true", "max": "1", "interval": "10"}.items():
        site.set(f"api.throttling.{name}", value)
    ids = {a["name"]: a["id"] for a in site.cloud.ask("listAccounts", listall=True)["account"]}

    def statuses():
        return [site.ask(name).status_code for name in ("ann", "bob")]

    assert statuses() == [200, 200] and statuses() == [429, 429]
    site.cloud.ask("resetApiLimit", account=ids["ann"])
    assert statuses() == [200, 429]
    site.cloud.ask("resetApiLimit")
    assert statuses() == [200, 200]
    with pytest.raises(Refused, match="432"):
        site.cloud.ask("resetApiLimit", user="dom" if "dom" in ids else site.cloud.account("dom", kind=2))


def test_quiet_accounts_make_room_for_others():
    counter = limits.Counter()
    for who in (1, 2, 1, 3):
        counter.count(who, 60, kept=2)
    assert counter.of(2) is None and counter.of(1).count == 2


def test_an_address_has_so_many_log_ins_in_a_minute(site, clock):
    site.set("login.attempts.per.address", "2")
    sent = {"command": "login", "username": "ann", "password": "wrong", "response": "json"}
    assert [site.client.post(URL, data=sent).status_code for _ in range(3)] == [531, 531, 429]
    assert site.person("ann").ask().status_code == 200  # another address
    assert site.client.post(URL, data=sent).json()["loginresponse"]["errorcode"] == 429
    clock.now += 61
    assert site.client.post(URL, data=sent).status_code == 531


def test_who_has_a_network_of_ipv6_is_one(monkeypatch):
    assert limits._network("2001:db8:1:2::1") == limits._network("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert limits._network("192.0.2.1") == "192.0.2.1"
