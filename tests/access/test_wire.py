"""Signatures, sessions and sizes: what is no call of a known caller is 401 or 4xx, and nothing else."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from mgmt_server import install
from mgmt_server.api import callers
from mgmt_server.db import reading, write
from mgmt_server.model.account import User
from mgmt_server.web import app as web
from mgmt_server.web.signature import digest
from tests.cloud import Cloud

PASSWORD = "a-good-long-password"
URL = "/client/api"


@pytest.fixture
def client(database):
    cloud = Cloud()
    cloud.account("ann")
    install.give_password(PASSWORD)
    with TestClient(web.create(simulator=True, version="test"), base_url="http://cloud") as made:
        with reading() as session:
            admin = session.scalar(select(User).where(User.username == "admin"))
        made.keys = admin.api_key, admin.secret_key
        yield made


def signed(client, **sent):
    key, secret = client.keys
    pairs = {"command": "listZones", "response": "json", "apiKey": key, **sent}
    return pairs | {"signature": base64.b64encode(digest(pairs, secret)).decode()}


def get(client, pairs):
    return client.get(URL, params=pairs).status_code


def test_a_signed_call_in_any_order_and_either_method(client):
    pairs = signed(client)
    assert get(client, pairs) == get(client, dict(reversed(pairs.items()))) == 200
    assert client.post(URL, data=pairs).status_code == 200
    assert client.get(URL + "/", params=pairs).status_code == 200


@pytest.mark.parametrize("change", [
    {"signature": ""}, {"signature": "!!!"}, {"signature": "AAAA"}, {"apiKey": "x" * 86}, {"command": "listUsers"},
    {"response": "xml"}, {"name": "added"}, {"signature": "\u00e9"},
])  # fmt: skip
def test_whatever_is_changed_after_signing_is_refused(client, change):
    assert get(client, signed(client) | change) == 401


@pytest.mark.parametrize("left", ["signature", "apiKey"])
def test_what_is_left_out_is_refused(client, left):
    pairs = signed(client)
    del pairs[left]
    assert get(client, pairs) == 401


def test_the_case_of_the_signature_counts_and_that_of_names_does_not(client):
    pairs = signed(client)
    assert get(client, pairs | {"signature": pairs["signature"].swapcase()}) == 401
    renamed = {("APIKEY" if k == "apiKey" else "Signature" if k == "signature" else k): v for k, v in pairs.items()}
    assert get(client, renamed) == 200  # the signed text is in lower case


def test_a_doubled_parameter_never_means_what_was_not_signed(client):
    pairs = signed(client)
    query = list(pairs.items())
    for doubled in ([*query, ("command", "listUsers")], [("command", "listUsers"), *query]):
        answered = client.get(URL, params=doubled)
        assert answered.status_code == 401 or "listzonesresponse" in answered.text
    answered = client.post(URL, params={"command": "listUsers"}, data=pairs)  # in the body and in the query
    assert answered.status_code == 401
    # a second one in another case is not signed as the first
    assert client.get(URL, params=[*query, ("COMMAND", "listUsers")]).status_code == 401


def moment(**later):
    return (datetime.now(UTC) + timedelta(**later)).strftime("%Y-%m-%dT%H:%M:%S+0000")


@pytest.mark.parametrize(("expires", "status"), [
    (lambda: moment(minutes=5), 200), (lambda: moment(minutes=5).replace("+0000", "Z"), 200),
    (lambda: moment(seconds=-1), 401), (lambda: moment(days=-3650), 401), (lambda: "garbage", 401), (lambda: "", 401),
    (lambda: "9" * 400, 401), (lambda: None, 401),
])  # fmt: skip
def test_calls_that_expire(client, expires, status):
    more = {} if expires() is None else {"expires": expires()}
    assert get(client, signed(client, signatureVersion="3", **more)) == status


def test_blanks_stars_and_letters_are_signed_as_they_are(client):
    for text in ("a b", "a+b", "a*b", "a~b", "ä€𝄞", "a%20b", "a&b=c", "<x>"):
        assert get(client, signed(client, command="listVirtualMachines", name=text)) == 200, text


def test_a_user_that_is_disabled_is_out_at_once(client):
    write(lambda tx: tx.execute(update(User).where(User.username == "admin").values(state="disabled")))
    callers.forget()
    assert get(client, signed(client)) == 401


# --- sessions ---


def log_in(client, **more):
    sent = {"command": "login", "username": "admin", "password": PASSWORD, "response": "json", **more}
    return client.post(URL, data=sent)


def listed(client, **more):
    return client.get(URL, params={"command": "listZones", "response": "json", **more}).status_code


def test_a_session_needs_its_cookie_and_its_key(client):
    answered = log_in(client)
    key = answered.json()["loginresponse"]["sessionkey"]
    for cookie in answered.headers.get_list("set-cookie"):
        assert "HttpOnly" in cookie and "SameSite" in cookie
    assert listed(client, sessionkey=key) == 200
    cookie = client.cookies["JSESSIONID"]
    client.cookies.clear()
    assert listed(client, sessionkey=key) == 401  # the key without the cookie
    client.cookies.set("JSESSIONID", cookie)
    assert listed(client) == 401  # the cookie without the key: and that ends it
    assert listed(client, sessionkey=key) == 401


def test_a_wrong_session_key_ends_the_session(client):
    key = log_in(client).json()["loginresponse"]["sessionkey"]
    assert listed(client, sessionkey="x" + key[1:]) == 401
    assert listed(client, sessionkey=key) == 401


def test_after_logout_nothing_is_left(client):
    key = log_in(client).json()["loginresponse"]["sessionkey"]
    cookie = client.cookies["JSESSIONID"]
    assert listed(client, sessionkey=key) == 200
    assert client.post(URL, data={"command": "logout", "response": "json", "sessionkey": key}).status_code == 200
    client.cookies.set("JSESSIONID", cookie)
    assert listed(client, sessionkey=key) == 401
    assert client.post(URL, data={"command": "logout", "response": "json"}).status_code == 431


@pytest.mark.parametrize("headers", [{"Origin": "http://evil"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_page_of_others_logs_nobody_out(client, headers):
    key = log_in(client).json()["loginresponse"]["sessionkey"]
    sent = {"command": "logout", "response": "json"}
    for answered in (client.post(URL, data=sent, headers=headers), client.get(URL, params=sent, headers=headers)):
        assert answered.status_code == 403 and "set-cookie" not in answered.headers
    assert listed(client, sessionkey=key) == 200
    assert client.post(URL, data=sent, headers={"Origin": "http://cloud"}).status_code == 200  # without the key
    assert client.get(URL, params=sent).status_code == 431


def test_each_login_is_a_session_of_its_own(client):
    first = log_in(client).json()["loginresponse"]["sessionkey"]
    old = client.cookies["JSESSIONID"]
    second = log_in(client).json()["loginresponse"]["sessionkey"]
    assert first != second and client.cookies["JSESSIONID"] != old
    assert listed(client, sessionkey=second) == 200
    client.cookies.clear()
    client.cookies.set("JSESSIONID", old)
    assert listed(client, sessionkey=first) == 401  # the one before was ended by the new login


def test_login_by_get_is_refused(client):
    answered = client.get(URL, params={"command": "login", "username": "admin", "password": PASSWORD})
    assert answered.status_code == 405 and not answered.cookies


@pytest.mark.parametrize("more", [
    {"password": "wrong"}, {"password": ""}, {"username": "nobody"}, {"username": ""}, {"domain": "/nowhere"},
    {"password": "x" * 1_000_000}, {"password": PASSWORD + "\0"}, {"username": "admin\0"}, {"username": "\uff41dmin"},
    {"username": "ann", "password": ""}, {"username": "' OR 1=1 --"},
])  # fmt: skip
def test_what_does_not_log_in(client, more):
    answered = log_in(client, **more)
    assert answered.status_code == 531 and "JSESSIONID" not in answered.cookies
    told = answered.json()["loginresponse"]["errortext"]
    name = more.get("username", "admin").replace("\0", "")
    assert told in (
        f"Failed to authenticate user {name} in domain 1; please provide valid credentials",
        "Unable to find the domain from the path /nowhere/",
    )


def test_whether_a_user_exists_is_not_told_by_the_time(client, monkeypatch):
    """What takes the time is the digest: as many are made, and at the same cost, for a user who does not exist."""
    digests = []
    scrypt = hashlib.scrypt

    def counted(password, **given):
        digests.append((given["n"], given["r"], given["p"]))
        return scrypt(password, **given)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    log_in(client, username="admin", password="wrong")
    known = list(digests)
    log_in(client, username="nobody", password="wrong")
    assert known and digests == known * 2


# --- sizes ---


def test_a_body_that_is_too_large(client):
    pairs = signed(client, command="listVirtualMachines")
    answered = client.post(URL, data=pairs | {"filler": "x" * (web.LARGEST + 1)})
    assert answered.status_code == 413 and str(web.LARGEST) in answered.text
    assert client.post(URL, data=signed(client, filler="x" * (web.LARGEST // 2))).status_code == 200


@pytest.mark.timeout(60)
def test_more_parameters_than_a_call_has(client):
    many = {f"k{n}": "v" for n in range(web.MOST_KEYS + 1)}
    assert client.post(URL, data=signed(client) | many).status_code == 431
    assert get(client, signed(client)) == 200


@pytest.mark.parametrize(("body", "kind"), [
    (b"\xff\xfe%ff%fe", "application/x-www-form-urlencoded"), (b"%zz=%zz&=&&&=x", "application/x-www-form-urlencoded"),
    (b"[" * 100_000, "application/json"), (b"<!DOCTYPE x [<!ENTITY a 'a'>]>", "text/xml"),
    (b"--x\r\n\r\nno end", "multipart/form-data; boundary=x"), (b"", "multipart/form-data"),
    (b"a" * 1000, "multipart/form-data; boundary=" + "b" * 500),
])  # fmt: skip
def test_bodies_that_are_none(client, body, kind):
    assert client.post(URL, content=body, headers={"content-type": kind}).status_code == 401


def test_texts_that_others_choke_on_are_texts(client):
    for text in (
        "'; DROP TABLE vm; --",
        "$(id)",
        "`id`",
        "a|b",
        "../../etc/passwd",
        "-o x",
        "%",
        "_",
        "\\",
        "\U0001f600",
        "\"'",
    ):
        answered = client.get(URL, params=signed(client, command="listVirtualMachines", keyword=text, name=text))
        assert answered.status_code == 200 and answered.json() == {"listvirtualmachinesresponse": {}}, text
    long = signed(client, command="listVirtualMachines", keyword="x" * 300_000)
    assert client.post(URL, data=long).status_code in (200, 431)
    answered = client.get(URL, params=signed(client, command="createSSHKeyPair", name="a\x00b"))
    assert answered.status_code == 431
