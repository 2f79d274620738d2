"""Envelopes, signatures, parameters: what clients send and how they read."""

from __future__ import annotations

import pytest

from mgmt_server.api.parameters import entries
from mgmt_server.errors import InvalidValue, MalformedParameter, Unauthenticated
from mgmt_server.web import wire
from mgmt_server.web.app import read_pairs
from mgmt_server.web.login import plain
from mgmt_server.web.signature import digest, encoded


def test_the_signature_is_the_one_that_clients_make():
    # made with the client `cs`: parameters sorted, encoded, lower-cased, HMAC-SHA1
    import base64
    import hashlib
    import hmac

    sent = {"command": "listZones", "apiKey": "k+/=", "name": "a b*c~d", "details[0].key": "x,y", "response": "json"}
    text = "apikey=k%2b%2f%3d&command=listzones&details[0].key=x%2cy&name=a%20b*c%7ed&response=json"
    expected = hmac.new(b"secret", text.encode(), hashlib.sha1).digest()
    assert digest({**sent, "signature": "ignored"}, "secret") == expected
    assert base64.b64encode(expected)


@pytest.mark.parametrize(("raw", "sent"), [("a b", "a%20b"), ("*", "*"), ("~", "%7E"), ("/", "%2F"), ("ü", "%C3%BC")])
def test_values_are_encoded_as_in_forms(raw, sent):
    assert encoded(raw) == sent


def test_the_query_string_wins_and_pairs_without_a_value_are_dropped():
    body = b"command=fromBody&a=1&only=body"
    sent = read_pairs("command=fromQuery&a=2&a=3&broken", body, "application/x-www-form-urlencoded")
    assert sent == {"command": "fromQuery", "a": "3", "only": "body"}


def test_maps_come_by_index():
    sent = {"details[0].cpuNumber": "2", "details[1].memory": "512", "other[0].x": "1"}
    assert entries("details", sent) == {0: {"cpuNumber": "2"}, 1: {"memory": "512"}}
    for wrong in ("details[x].a", "details[0]", "details[0][1].a"):
        with pytest.raises(MalformedParameter):
            entries("details", {wrong: "1"})


def test_xml_repeats_list_items_and_escapes():
    text = wire.body("r", {"count": 2, "zone": [{"name": "a<b", "on": True}, {"name": "c"}]}, json=False).decode()
    assert "<zone><name>a&lt;b</name><on>true</on></zone><zone><name>c</name></zone>" in text
    assert 'cloud-stack-version="' in text


def test_errors_have_their_codes_and_tell_what_they_are_about():
    failure = InvalidValue("no")
    assert b'"uuidList":[],"errorcode":431,"cserrorcode":4350,"errortext":"no"' in wire.error("r", failure, json=True)
    assert b"uuidList" not in wire.error("r", failure, json=False)
    failure = InvalidValue("no", uuids=(("u-1", "domainId"), ("u-2", "account")))
    told = b'"uuidList":[{"uuid":"u-1","description":"domainId"},{"uuid":"u-2","description":"account"}]'
    assert told in wire.error("r", failure, json=True)
    inside = "<uuidList><uuid>{}</uuid><description>{}</description></uuidList>".format
    told = inside("u-1", "domainId") + inside("u-2", "account") + "<errorcode>431"
    assert told in wire.error("r", failure, json=False).decode()
    for bare, code in ((Unauthenticated("x"), b"401"), (plain("x"), b"531")):  # as log-ins are refused
        assert wire.error("r", bare, json=True) == b'{"r":{"uuidList":[],"errorcode":' + code + b',"errortext":"x"}}'
