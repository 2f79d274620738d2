"""The table of bad inputs, row by row: what was tried and what a server answers. docs/security.md tells the results."""

from __future__ import annotations

import base64
import gzip
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from sqlalchemy import func, select

from mgmt_server.db import reading
from mgmt_server.model.account import Login
from mgmt_server.model.event import Event
from mgmt_server.web.app import LARGEST
from mgmt_server.web.signature import digest, encoded
from tests.web.conftest import URL

NASTY = (
    "a;b", "$(id)", "`id`", "a|b", "a'b", 'a"b', "a\\b", "../../etc/passwd", "..%2f..%2f", "-o x", "--help", "%", "_",
    "a%b_c", "' OR 1=1 -- ", "<script>", "]]>", "&amp;", "\U0001f600", "ä€", "${x}", "{{x}}", "%s%n", "null", "1e400",
)  # fmt: skip


def moment(**later):
    return (datetime.now(UTC) + timedelta(**later)).strftime("%Y-%m-%dT%H:%M:%S+0000")


def sound(answered):
    """No inside of the server is told, and what is sent can be read."""
    text = answered.text
    assert answered.status_code < 530 or "internal error" not in text, text
    assert "Traceback" not in text and ".py" not in text, text
    if "xml" in answered.headers.get("content-type", ""):
        ElementTree.fromstring(answered.content)  # noqa: S314  our own answer
    else:
        answered.json()
    assert not any(c in answered.headers.get("x-description", "") for c in "\r\n\0")
    return answered


# --- A1 signature: 401, or the signed meaning and no other ---


def change(pairs, **more):
    return {**pairs, **more}


def resigned(site, pairs):
    pairs = {k: v for k, v in pairs.items() if k != "signature"}
    with reading() as session:
        from mgmt_server.model.account import User

        secret = session.scalar(select(User.secret_key).where(User.username == "ann"))
    return pairs | {"signature": base64.b64encode(digest(pairs, secret)).decode()}


SIGNATURES = {
    "no signature": (lambda s, p: {k: v for k, v in p.items() if k != "signature"}, {401}),
    "an empty one": (lambda s, p: change(p, signature=""), {401}),
    "no key": (lambda s, p: {k: v for k, v in p.items() if k != "apiKey"}, {401}),
    "another's key": (lambda s, p: change(p, apiKey=s.pairs("bob")["apiKey"]), {401}),
    "lower case": (lambda s, p: change(p, signature=p["signature"].lower()), {401}),
    "upper case": (lambda s, p: change(p, signature=p["signature"].upper()), {401}),
    "another order": (lambda s, p: dict(sorted(p.items(), reverse=True)), {200}),
    "no base64": (lambda s, p: change(p, signature="%%%"), {401}),
    "cut off": (lambda s, p: change(p, signature=p["signature"][:-4]), {401}),
    "of nothing": (lambda s, p: change(p, signature=base64.b64encode(b"").decode()), {401}),
    "blanks for plus": (lambda s, p: change(p, signature=p["signature"].replace("+", " ")), {200}),
    "another command": (lambda s, p: change(p, command="listUsers"), {401}),
    "a command in another case": (lambda s, p: change(p, command="listzones"), {401}),
    "more than was signed": (lambda s, p: change(p, id="x"), {401}),
    "expired": (lambda s, p: resigned(s, change(p, signatureVersion="3", expires=moment(seconds=-1))), {401}),
    "in ten years": (lambda s, p: resigned(s, change(p, signatureVersion="3", expires=moment(days=3650))), {200}),
    "version 3 without a date": (lambda s, p: resigned(s, change(p, signatureVersion="3")), {401}),
    "version 2 without a date": (lambda s, p: resigned(s, change(p, signatureVersion="2")), {200}),
}  # fmt: skip


@pytest.mark.parametrize("what", SIGNATURES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a1_signature(site, what, method):
    make, expected = SIGNATURES[what]
    pairs = make(site, site.pairs("ann"))
    where = {"params": pairs} if method == "GET" else {"data": pairs}
    answered = sound(site.client.request(method, URL, **where))
    assert answered.status_code in expected
    if answered.status_code == 200:
        assert "listzonesresponse" in answered.json()


def test_a1_signature_doubled_and_in_both_places(site):
    pairs = site.pairs("ann", command="listZones")
    for query, body in (
        ([("command", "listUsers"), *pairs.items()], None), ([*pairs.items(), ("command", "listUsers")], None),
        ([("command", "listUsers")], pairs), (list(pairs.items()), {"command": "listUsers"}),
        ([*pairs.items(), ("COMMAND", "listUsers")], None), ([*pairs.items(), ("apikey", "x")], None),
    ):  # fmt: skip
        answered = sound(site.client.post(URL, params=query, data=body))
        assert answered.status_code == 401 or "listzonesresponse" in answered.json()


def test_a1_signature_plus_and_percent_20_are_one_blank(site):
    pairs = site.pairs("ann", command="listVirtualMachines", name="a b", keyword="x+y")
    for blank in ("+", "%20"):
        query = "&".join(f"{k}={encoded(v).replace('%20', blank)}" for k, v in pairs.items())
        assert site.client.get(f"{URL}?{query}").status_code == 200


# --- A2/A3 sessions ---


def test_a2_what_ends_a_session(site):
    person = site.person("ann")
    cookie, key = person.client.cookies["JSESSIONID"], person.key
    assert person.ask().status_code == 200
    assert person.ask("logout", "POST").status_code == 200
    person.client.cookies.set("JSESSIONID", cookie)
    person.client.cookies.set("sessionkey", key)
    assert person.ask().status_code == 401
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Login)) == 0
    other, admin = site.person("ann"), site.person()
    user = next(u["id"] for u in site.cloud.ask("listUsers", listall=True)["user"] if u["username"] == "ann")
    site.cloud.ask("updateUser", id=user, password="Another-1-good-one")
    assert [p.ask().status_code for p in (other, admin)] == [401, 200]


def test_a2_from_another_address(site):
    site.set("session.bound.to.address", "true")
    person = site.person(address="192.0.2.10")
    assert person.ask().status_code == 200
    thief = site.person("ann", address="192.0.2.66")
    thief.client.cookies.clear()
    for name in ("JSESSIONID", "sessionkey"):
        thief.client.cookies.set(name, person.client.cookies[name])
    assert thief.ask(sessionkey=person.key).status_code == 401


@pytest.mark.parametrize("key", [None, "", "x", "\u00e9", "x" * 5000])
def test_a3_without_the_session_key(site, key):
    person = site.person()
    assert sound(person.ask(sessionkey=key)).status_code == 401
    assert person.ask().status_code == 401  # and that ended it


def test_a3_cross_site(site):
    person = site.person()
    evil = {"Origin": "http://evil.example.org", "Sec-Fetch-Site": "cross-site"}
    new = {"command": "createSSHKeyPair", "name": "k"}
    assert sound(person.ask(method="POST", headers=evil, **new)).status_code == 403
    assert sound(person.ask(headers=evil, **new)).status_code == 403
    site.set("session.changes.by.post", "true")
    assert sound(person.ask(**new)).status_code == 400
    assert person.ask(method="POST", **new).status_code == 200


# --- A4 origin ---


@pytest.mark.parametrize("header", [
    {"X-Forwarded-For": "192.0.2.9"}, {"X-Forwarded-For": "192.0.2.9, 10.0.0.1"}, {"X-Forwarded-For": "\u00ff\u00fe"},
    {"HTTP_CLIENT_IP": "192.0.2.9"}, {"Forwarded": "for=192.0.2.9"}, {"X-Forwarded-For": "[::1"}, {"Host": "evil"},
    {"Host": "192.0.2.9"}, {"X-Forwarded-For": "," * 10_000},
])  # fmt: skip
def test_a4_what_others_say_of_the_origin_is_ignored(site, header):
    ann = next(a["id"] for a in site.cloud.ask("listAccounts", listall=True)["account"] if a["name"] == "ann")
    site.set("api.allowed.source.cidr.list", "192.0.2.0/24", accountid=ann)
    raw = {k: v.encode("latin-1") for k, v in header.items()}
    assert sound(site.ask("ann", headers=raw)).status_code == 401
    site.set("proxy.header.verify", "true")  # without a proxy that is known
    site.set("proxy.cidr", "203.0.113.0/24")
    assert sound(site.ask("ann", headers=raw)).status_code == 401


# --- A context ---


def test_a_context_words_of_the_inside_are_ignored(site):
    inside = {
        "ctxuserid": "1", "ctxaccountid": "1", "ctxstarteventid": "1", "ctxdetails": "{}", "jobid": "1", "uuid": "x",
        "starteventid": "1", "httpmethod": "POST", "signatureversion": "1", "caller": "admin", "open": "true",
    }  # fmt: skip
    assert site.ask("ann", **inside).json() == site.ask("ann").json()
    ann = site.ask("ann", command="listUsers").json()["listusersresponse"]["user"][0]["id"]
    assert site.ask("ann", command="updateUser", id=ann, firstname="A", **inside).status_code == 200
    with reading() as session:
        event = session.scalar(select(Event).where(Event.type == "USER.UPDATE").order_by(Event.id.desc()).limit(1))
        assert event.user_id not in (1, 2) and event.start_id is None
    refused = site.ask("ann", command="listHosts", **inside)
    assert refused.status_code == 432


# --- I1 ---


@pytest.mark.parametrize("text", NASTY)
def test_i1_texts_are_texts_or_refused(site, text):
    for name, sent in (
        ("createSSHKeyPair", {"name": text}),
        ("createDiskOffering", {"name": text, "displaytext": text, "disksize": 1, "tags": text}),
        ("createZone", {"name": text, "networktype": "Advanced", "dns1": "192.0.2.1", "internaldns1": "192.0.2.1"}),
        ("registerUserData", {"name": text, "userdata": base64.b64encode(text.encode()).decode()}),
    ):
        for kind in ("json", "xml"):
            answered = sound(site.ask(method="POST", **{"command": name, "response": kind, **sent}))
            assert answered.status_code in (200, 401, 431, 432, 536), (name, answered.text)
        if answered.status_code == 200 and name != "registerUserData":
            assert text in [e.text for e in ElementTree.fromstring(answered.content).iter()]  # noqa: S314


@pytest.mark.parametrize("text", ["a\nb", "a\r\nX-Evil: 1", "a\x00b", "a\x1bb", "a\x7fb", "a\u0085b", "a\u2028b"])
def test_i1_lines_never_reach_a_header(site, text):
    for sent in ({"name": text}, {"id": text}, {"page": text, "pagesize": text}, {"command": text}, {"response": text}):
        answered = sound(site.ask(**{"command": "createSSHKeyPair", "name": "x", **sent}))
        assert "x-evil" not in answered.headers


# --- I1 SQL ---


def test_i1_sql_a_keyword_finds_what_holds_it(site):
    names = [n for n in NASTY if n.isascii()]
    for name in names:
        site.cloud.ask("createSSHKeyPair", name=name)
    for word in [*names, "x", "T", "'", '"', "\\", "%%", "__", "x' UNION SELECT 1--", "%' OR '1'='1"]:
        answered = sound(site.ask(command="listSSHKeyPairs", keyword=word, listall="true"))
        found = {k["name"] for k in answered.json()["listsshkeypairsresponse"].get("sshkeypair", [])}
        assert found == {n for n in names if word.lower() in n.lower()}, word


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "\U0001f600" * 60,
        "x" * 300,
        "x" * 1_000_000,
        "x" * 16_000_000,
        "\ud800".encode("utf-8", "replace").decode(),
    ],
)
def test_i1_sql_texts_that_databases_choke_on(site, text):
    tags, details = ({f"{what}[0].key": text, f"{what}[0].value": text} for what in ("tags", "details"))
    for command, sent in (
        *(("listVirtualMachines", sent) for sent in ({"keyword": text}, {"name": text}, {"id": text}, tags)),
        ("createTags", {"resourceids": "x", "resourcetype": "UserVm"} | tags),
        ("updateVirtualMachine", {"id": "x"} | details),
    ):
        answered = sound(site.ask(method="POST", command=command, **sent))
        assert answered.status_code in ((413,) if len(text) > LARGEST else (200, 413, 431))


# --- I2 ---

BOMB = '<!DOCTYPE l [<!ENTITY a "' + "x" * 1000 + '"><!ENTITY b "' + "&a;" * 1000 + '">]><l>&b;</l>'
BODIES = {
    "entity bomb": (BOMB.encode(), {"content-type": "text/xml"}),
    "deep JSON": (b"[" * 100_000, {"content-type": "application/json"}),
    "deep map": (("a[" * 100_000).encode() + b"=1", {}),
    "doubled keys": (b"command=listZones&" * 4000, {}),
    "a number without end": (b"command=listZones&page=" + b"9" * 100_000 + b"&pagesize=1e400", {}),
    "no UTF-8": (b"\xff\xfe=%ff%fe&command=%c3%28", {}),
    "gzip bomb": (gzip.compress(b"a" * 50_000_000), {"content-encoding": "gzip"}),
    "multipart without end": (b"--x\r\n" * 50_000, {"content-type": "multipart/form-data; boundary=x"}),
    "nested multipart": (b"".join(b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" for _ in range(2000)),
                         {"content-type": "multipart/form-data; boundary=b"}),
    "too large": (b"a=" + b"x" * 2_200_000, {}),
    "too many": (b"&".join(b"k%d=1" % n for n in range(6000)), {}),
}  # fmt: skip


@pytest.mark.timeout(60)  # what grows with the square of these takes minutes
@pytest.mark.parametrize("what", BODIES)
def test_i2_bodies_that_parsers_choke_on(site, what):
    body, headers = BODIES[what]
    headers = {"content-type": "application/x-www-form-urlencoded"} | headers
    answered = sound(site.client.post(URL, content=body, headers=headers))
    assert answered.status_code in (400, 401, 413, 430, 431)


# --- D ---


@pytest.mark.timeout(60)
def test_d_a_list_of_many_ids(site):
    ids = ",".join(f"00000000-0000-4000-8000-{n:012}" for n in range(500))
    for count, sent in ((500, ids), (1001, ",".join(f"{n:032x}" for n in range(1001)))):
        answered = sound(site.ask(method="POST", command="listVirtualMachines", ids=sent))
        assert answered.status_code in (200, 431), count


def test_d_a_flood_of_log_ins_is_cut_off(site):
    sent = {"command": "login", "username": "ann", "password": "wrong", "response": "json"}
    site.set("login.attempts.per.address", "5")
    statuses = [site.client.post(URL, data=sent).status_code for _ in range(12)]
    assert statuses[5:] == [429] * 7
    assert site.ask().status_code == 200


def test_d_one_account_is_held_to_its_calls(site):
    for name, value in {"enabled": "true", "max": "5", "interval": "60"}.items():
        site.set(f"api.throttling.{name}", value)
    assert [site.ask("ann").status_code for _ in range(8)] == [200] * 5 + [429] * 3
    assert site.ask("bob").status_code == 200
