"""The real server with the zone of the samples, one for all tests of a run."""

from __future__ import annotations

import json
from unittest.mock import patch

import pytest

from tests.collection.servers import PLAYBOOK, simulator

from ansible.module_utils.urls import Request  # isort: skip
from ansible_collections.cloudwright.cloud.tests.unit.runner import Runner, furnish  # isort: skip
from ansible_collections.cloudwright.cloud.tests.unit.samples import ZONE  # isort: skip


class Wire:
    """Request.open under watch: what could change something goes by POST, and not at all in check mode."""

    def __init__(self) -> None:
        self.writable = True
        self.open = Request.open

    def watched(self, request, method, url, **more):
        assert self.writable or method == "GET", "a module in check mode sent a command that is not a read"
        return self.open(request, method, url, **more)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with simulator(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="session")
def built(server, tmp_path_factory):
    """The server with the zone of the samples; the plays that were run for it."""
    variables = tmp_path_factory.mktemp("zone") / "zone.json"
    variables.write_text(json.dumps({"cloudwright_zone": ZONE}))
    options = ["-e", f"@{variables}"]
    first = server.play(PLAYBOOK, *options)
    assert first.code == 0, first.text
    return server, first, options


@pytest.fixture(scope="session")
def run(built):
    credentials = {**json.loads(built[0].credentials.read_text())}
    wire = Wire()
    with patch.object(Request, "open", lambda self, method, url, **more: wire.watched(self, method, url, **more)):
        runner = Runner(wire, {name: credentials[name] for name in ("api_url", "api_key", "api_secret")})
        furnish(runner)
        yield runner
