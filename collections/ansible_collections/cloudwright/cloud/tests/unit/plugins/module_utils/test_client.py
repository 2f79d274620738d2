# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing, encoding, retries, paging and jobs."""

from __future__ import annotations

import json
from unittest.mock import patch
from urllib.error import URLError

import pytest
from ansible_collections.cloudwright.cloud.plugins.module_utils import _client
from ansible_collections.cloudwright.cloud.plugins.module_utils._client import (
    ApiError,
    Client,
    credentials,
    flatten,
    sign,
)
from ansible_collections.cloudwright.cloud.tests.unit.runner import CREDENTIALS

# computed with openssl: printf '%s' "$text" | openssl dgst -sha1 -hmac "$secret" -binary | base64
VECTORS = [
    ({"command": "listZones", "apiKey": "K", "response": "json"}, "S", "WZt0LItFNQFwvNlxLW/GQCK3vQ8="),
    (
        {"command": "createZone", "apiKey": "K", "name": "a b~c*d/é,+", "Zone[0].Key": "x"},
        "S",
        "ZqWt6SamYqvfnIIS6uuLjFzC3PM=",
    ),
]


@pytest.mark.parametrize("params, secret, expected", VECTORS)
def test_signature(params, secret, expected):
    assert sign(params, secret) == expected


def test_every_parameter_is_signed(run):
    client = Client({**CREDENTIALS, "api_secret": "wrong"})
    with pytest.raises(ApiError, match="unable to verify user credentials.*no command listZones") as refused:
        client.call("listZones")
    assert refused.value.code == 401
    assert Client(CREDENTIALS).call("listZones", keyword="ä ~*")["count"] == 2


def test_values_on_the_wire():
    assert flatten({"a": True, "b": [1, "x"], "c": {"k": False}, "d": [{"k": 1}, {"k": 2}], "e": None, "f": 0}) == {
        "a": "true",
        "b": "1,x",
        "c[0].k": "false",
        "d[0].k": "1",
        "d[1].k": "2",
        "f": "0",
    }


@pytest.mark.parametrize("failure", [429, 502, 503, 504, URLError("refused"), TimeoutError("slow")])
def test_reads_are_tried_again_writes_never(run, failure):
    client = Client({**CREDENTIALS, "api_retries": 2})
    run.cloud.failures = [failure, failure]
    assert client.call("listZones")["count"] == 2
    run.cloud.failures = [failure]
    with pytest.raises(ApiError):
        client.call("createZone", name="twice")
    assert run.cloud.failures == []
    assert "createZone" not in run.cloud.calls


def test_an_end_of_trying(run):
    run.cloud.failures = [503, 503, 503]
    with pytest.raises(ApiError) as refused:
        Client({**CREDENTIALS, "api_retries": 2}).call("listZones")
    assert refused.value.code == 503
    assert run.cloud.failures == []


def test_what_the_server_refuses_is_not_tried_again(run):
    with pytest.raises(ApiError, match="no command listNothing") as refused:
        Client({**CREDENTIALS, "api_retries": 5}).call("listNothing")
    assert refused.value.code == 432
    assert run.cloud.calls == ["listNothing"]


def test_check_mode_has_no_way_to_write(run):
    with pytest.raises(ApiError, match="check mode"):
        Client(CREDENTIALS, read_only=True).call("createZone", name="x")
    assert run.cloud.calls == []


def test_all_pages_are_read(run):
    run.cloud.page = 3
    for number in range(7):
        run.cloud.add("pod", {"name": f"p{number}", "startip": "x"})
    assert len(Client(CREDENTIALS).list("listPods")) == 8
    assert run.cloud.calls == ["listPods"] * 3


def job(run, *states):
    run.cloud.jobs["j"] = list(states)


def test_a_job_is_followed_to_its_end(run):
    job(run, *[{"jobstatus": 0}] * 9, {"jobstatus": 1, "jobresult": {"pod": {"id": "1"}}})
    assert Client(CREDENTIALS).wait("j", "createPod", 60) == {"pod": {"id": "1"}}
    assert len(run.cloud.calls) == 10


@pytest.mark.parametrize("result", [{"errorcode": 533, "errortext": "no room"}, "no room"])
def test_a_failed_job_says_why(run, result):
    job(run, {"jobstatus": 2, "jobresult": result, "jobresultcode": 533})
    with pytest.raises(ApiError, match=r"deploy: no room \(533\)") as failed:
        Client(CREDENTIALS).wait("j", "deploy", 60)
    assert failed.value.job_id == "j"


def test_a_job_without_end_ends_the_task_at_the_deadline(run):
    job(run, {"jobstatus": 0})
    with pytest.raises(ApiError, match="still runs after wait_timeout=30 s"):
        Client(CREDENTIALS).wait("j", "deploy", 30)
    assert 15 <= len(run.cloud.calls) <= 30  # 0.1 s at first, 2 s at last


def test_pauses_grow_and_never_pass_the_deadline():
    now = [0.0]
    with patch.object(_client.time, "monotonic", lambda: now[0]):
        seen = []
        for pause in _client.pauses(10):
            seen.append(pause)
            now[0] += pause
    assert seen[0] == 0.1 and max(seen) == 2 and sum(seen) == pytest.approx(10)


def test_credentials_options_then_file_then_environment(tmp_path, monkeypatch):
    file = tmp_path / "api.json"
    file.write_text(json.dumps({"api_url": "http://file", "api_key": "fk", "api_secret": "fs"}))
    for name in ("URL", "KEY", "SECRET"):
        monkeypatch.setenv(f"CLOUDWRIGHT_API_{name}", f"env-{name}")
    assert credentials({}) == {"api_url": "env-URL", "api_key": "env-KEY", "api_secret": "env-SECRET"}
    found = credentials({"api_credentials_file": str(file), "api_url": "http://option"})
    assert found == {"api_url": "http://option", "api_key": "fk", "api_secret": "fs"}
    monkeypatch.setenv("CLOUDWRIGHT_API_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("CLOUDWRIGHT_API_SECRET")
    assert credentials({}) == {"api_url": "env-URL", "api_key": "env-KEY", "api_secret": "fs"}
    monkeypatch.setenv("CLOUDWRIGHT_API_CREDENTIALS_FILE", "/nowhere/api.json")
    with pytest.raises(ApiError, match="/nowhere/api.json"):
        credentials({})


def test_missing_credentials_are_named(monkeypatch):
    for name in ("URL", "KEY", "SECRET", "CREDENTIALS_FILE"):
        monkeypatch.delenv(f"CLOUDWRIGHT_API_{name}", raising=False)
    with pytest.raises(ApiError, match="api_key, api_secret missing.*CLOUDWRIGHT_API_KEY"):
        credentials({"api_url": "http://x"})


@pytest.mark.parametrize(
    "url", ["http://h:8080", "http://h:8080/", "http://h:8080/client/api", "http://h:8080/client/api/"]
)
def test_the_address_may_lack_its_path(url):
    assert Client({**CREDENTIALS, "api_url": url}).url == "http://h:8080/client/api"
