"""What settings ask of calls besides a key: that they expire, and how they come."""

from datetime import UTC, datetime, timedelta

import pytest

NEW = {"command": "createSSHKeyPair", "name": "k"}


def moment(**later):
    return (datetime.now(UTC) + timedelta(**later)).strftime("%Y-%m-%dT%H:%M:%S+0000")


def expiring(**later):
    return {"signatureVersion": "3", "expires": moment(**later)}


@pytest.mark.parametrize("setting", ["enforce.post.requests.and.timestamps", "api.signature.expiry.required"])
def test_signed_calls_must_expire_where_a_setting_says_so(site, setting):
    assert site.ask().status_code == 200
    site.set(setting, "true")
    refused = site.ask()
    assert refused.status_code == 401 and setting in refused.text
    assert site.ask(**expiring(minutes=10)).status_code == 200
    assert site.ask(signatureVersion="3").status_code == 401
    assert site.ask(expires=moment(minutes=10)).status_code == 401  # without the version it is not looked at
    far = site.ask(**expiring(days=3650)).status_code
    assert far == (401 if setting.startswith("enforce") else 200)


def test_changes_must_come_by_post_where_the_protocols_setting_says_so(site):
    site.set("enforce.post.requests.and.timestamps", "true")
    soon = expiring(minutes=5)
    refused = site.ask(**NEW, **soon)
    assert refused.status_code == 400 and "POST" in refused.text
    assert site.ask(method="POST", **NEW, **soon).status_code == 200
    for name in ("listZones", "queryAsyncJobResult", "getUser"):
        assert site.ask(command=name, **soon).status_code != 400, name
    person = site.person()
    assert person.ask(**NEW).status_code == 400 and person.ask().status_code == 200


def test_changes_by_session_may_be_held_to_post_alone(site):
    person = site.person()
    assert person.ask(**NEW).status_code == 200
    site.set("session.changes.by.post", "true")
    more = NEW | {"name": "k2"}
    assert person.ask(**more).status_code == 400
    assert person.ask(method="POST", **more).status_code == 200
    assert site.ask(**NEW | {"name": "k3"}).status_code == 200  # signed calls are as before


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 200), ({"Origin": "http://cloud"}, 200), ({"Origin": "http://CLOUD"}, 200),
    ({"Origin": "http://cloud", "Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "none"}, 200),
    ({"Origin": "http://evil"}, 403), ({"Origin": "null"}, 403), ({"Origin": "http://cloud.evil"}, 403),
    ({"Origin": "http://cloud@evil"}, 403), ({"Origin": "http://cloud:81"}, 403), ({"Origin": "x" * 5000}, 403),
    ({"Origin": "http://[oops"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403), ({"Sec-Fetch-Site": "?"}, 403),
    ({"Origin": "http://cloud", "Sec-Fetch-Site": "cross-site"}, 403),
    ({"Origin": "https://ui.example.org", "Sec-Fetch-Site": "cross-site"}, 200),
])  # fmt: skip
def test_pages_of_other_sites_change_nothing_in_a_session(site, headers, status):
    site.set("api.allowed.origins", "https://ui.example.org, https://other.example.org/")
    person = site.person()
    for method in ("POST", "GET"):
        got = person.ask(method=method, headers=headers, **NEW | {"name": method})
        assert got.status_code == status
        assert person.ask(headers=headers).status_code == 200  # it may look: it cannot read the answer
    assert site.ask(method="POST", headers=headers, **NEW).status_code == 200  # whoever has the key signs anyway


def test_nobody_is_logged_in_by_a_page_of_another_site(site):
    sent = {"command": "login", "username": "admin", "password": "x", "response": "json"}
    assert site.client.post("/client/api", data=sent, headers={"Origin": "http://evil"}).status_code == 403
