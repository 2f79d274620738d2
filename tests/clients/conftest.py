"""A server as users find it, with the recorded zone, for clients that people use."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from cs import CloudStack

from tests.server import running

STEPS = json.loads((Path(__file__).parent / "zone.json").read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("clients") / "cloud") as made:
        yield made


@pytest.fixture(scope="module")
def cs(server):
    found = server.credentials
    return CloudStack(
        endpoint=server.url, key=found["api_key"], secret=found["api_secret"], poll_interval=0.05, job_timeout=60
    )


def first(answer):
    """The object that an answer is about: under its name, in a list, or the answer itself."""
    for value in answer.values():
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            return value
    return answer


@pytest.fixture(scope="module")
def zone(cs):
    """The zone of the recorded deployment, by the same requests in the same order: ids by name."""
    ids = {}
    for step in STEPS:
        sent = {k: re.sub(r"\{(\w+)\}", lambda m: ids[m[1]], v) for k, v in step["sent"].items()}
        answered = getattr(cs, step["command"])(fetch_result=True, **sent)
        if "gives" in step:
            ids[step["gives"]] = first(answered)["id"]
    return ids


@pytest.fixture(scope="module")
def template(cs, zone):
    """The built-in one, which is ready in each zone once a host is up."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = cs.listTemplates(templatefilter="featured", zoneid=zone["createZone1"]).get("template", [])
        ready = [t for t in found if t["isready"]]
        if ready:
            return ready[0]
        time.sleep(0.2)
    raise AssertionError(f"no featured template is ready: {found}")
