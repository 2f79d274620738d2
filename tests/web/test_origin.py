"""Where a call comes from, and what is believed of it."""

import pytest
from starlette.testclient import TestClient

from mgmt_server.web import origin
from tests.web.conftest import PASSWORD, URL

PROXY, CLIENT = "10.0.0.5", "203.0.113.7"
FORWARDED = "x-forwarded-for"


@pytest.mark.parametrize(("peer", "headers", "found"), [
    (PROXY, {FORWARDED: CLIENT}, CLIENT),
    (PROXY, {FORWARDED: f"1.1.1.1, {CLIENT}, 10.0.0.9"}, CLIENT),  # the right-most that is no proxy of ours
    (PROXY, {FORWARDED: "10.0.0.9"}, "10.0.0.9"),
    (PROXY, {FORWARDED: f"{CLIENT}, junk"}, PROXY),
    (PROXY, {FORWARDED: f"junk, {CLIENT}"}, CLIENT),
    (PROXY, {FORWARDED: ""}, PROXY),
    (PROXY, {}, PROXY),
    (PROXY, {FORWARDED: "9" * 10_000}, PROXY),
    (PROXY, {FORWARDED: ",,,"}, PROXY),
    (PROXY, {FORWARDED: "[2001:db8::1]:443"}, "2001:db8::1"),
    (PROXY, {FORWARDED: "2001:db8::1"}, "2001:db8::1"),
    (PROXY, {FORWARDED: f"{CLIENT}:4711"}, CLIENT),
    (PROXY, {FORWARDED: f"::ffff:{CLIENT}"}, CLIENT),
    (f"::ffff:{PROXY}", {FORWARDED: CLIENT}, CLIENT),
    (PROXY, {"http_client_ip": CLIENT}, CLIENT),
    (PROXY, {"x-real-ip": CLIENT}, PROXY),  # not among the names
    ("192.0.2.1", {FORWARDED: CLIENT}, "192.0.2.1"),  # no proxy of ours
    ("", {FORWARDED: CLIENT}, ""),
])  # fmt: skip
def test_the_address_behind_proxies(site, peer, headers, found):
    assert origin.caller(peer, headers) == peer  # by default nothing is believed
    site.set("proxy.header.verify", "true")
    assert origin.caller(peer, headers) == peer  # nor without proxies
    site.set("proxy.cidr", "10.0.0.0/24, 2001:db8:1::/48")
    assert origin.caller(peer, headers) == found


def statuses(site, address, headers=None):
    client = TestClient(site.client.app, base_url="http://cloud", client=(address, 1))
    return client.get(URL, params=site.pairs("ann"), headers=headers).status_code


def test_an_account_calls_from_its_networks_alone(site):
    ann = next(a["id"] for a in site.cloud.ask("listAccounts", listall=True)["account"] if a["name"] == "ann")
    assert statuses(site, "198.51.100.1") == 200
    site.cloud.ask(
        "updateConfiguration", name="api.allowed.source.cidr.list", value="192.0.2.0/24,2001:db8::/32", accountid=ann
    )
    assert statuses(site, "192.0.2.9") == statuses(site, "2001:db8::5") == statuses(site, "::ffff:192.0.2.9") == 200
    assert statuses(site, "198.51.100.1") == statuses(site, "2001:db9::5") == statuses(site, "nonsense") == 401
    assert statuses(site, "198.51.100.1", {"X-Forwarded-For": "192.0.2.9"}) == 401
    assert site.ask().status_code == 200  # others call from everywhere
    site.set("proxy.header.verify", "true")
    site.set("proxy.cidr", "198.51.100.1/32")
    assert statuses(site, "198.51.100.1", {"X-Forwarded-For": "192.0.2.9"}) == 200
    site.set("api.source.cidr.checks.enabled", "false")
    assert statuses(site, "203.0.113.1") == 200


def test_cookies_are_for_tls_alone_where_a_proxy_of_ours_took_the_call_by_tls(site):
    def cookies(address, **headers):
        client = TestClient(site.client.app, base_url="http://cloud", client=(address, 1))
        form = {"command": "login", "username": "ann", "password": PASSWORD, "domain": "/", "response": "json"}
        return client.post(URL, data=form, headers=headers).headers.get("set-cookie", "")

    tls = {"x-forwarded-proto": "https"}
    assert "JSESSIONID" in cookies("198.51.100.1", **tls) and "Secure" not in cookies("198.51.100.1", **tls)
    site.set("proxy.header.verify", "true")
    site.set("proxy.cidr", "198.51.100.1/32")
    assert "Secure" in cookies("198.51.100.1", **tls)
    assert "Secure" not in cookies("198.51.100.1", **{"x-forwarded-proto": "https, http"})
    assert "Secure" not in cookies("198.51.100.1") and "Secure" not in cookies("203.0.113.1", **tls)


def test_sessions_are_held_to_the_networks_too(site):
    inside, outside = site.person(address="192.0.2.9"), site.person(address="198.51.100.1")
    site.set("api.allowed.source.cidr.list", "192.0.2.0/24")
    assert (inside.ask().status_code, outside.ask().status_code) == (200, 401)
    assert "api.allowed.source.cidr.list" in outside.ask().json()["listzonesresponse"]["errortext"]
