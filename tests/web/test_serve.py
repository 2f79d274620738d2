"""`cloudwright serve --simulator` as a process: what it prints, who may log in, which ports it opens."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys

import orjson
import pytest
import requests

from tests.mariadb import free_port
from tests.server import Server

SAID = re.compile(r"the administrator's password, shown this once: (\S+)")


def log_in(server, password):
    sent = {"command": "login", "username": "admin", "password": password, "response": "json"}
    return requests.post(server.url, data=sent, timeout=20).status_code


def errors(server):
    return (server.data.parent / f"{server.data.name}.err").read_text()


@pytest.fixture
def serving(tmp_path):
    started = []

    def start(*options):
        started.append(Server(tmp_path / "cloud", *options).start())
        return started[-1]

    yield start
    for server in started:
        server.stop()


def test_a_made_up_password_is_told_once_and_not_on_stdout(serving):
    first = serving()
    (password,) = SAID.findall(errors(first))
    assert len(password) >= 16 and log_in(first, password) == 200
    assert log_in(first, "password") == 531
    first.stop()
    assert first.process.stdout.read() == "", "stdout has the line that it is ready, and nothing else"
    second = serving()
    assert SAID.findall(errors(second)) == [password], "not told again"
    assert log_in(second, password) == 200


def test_a_given_password_is_not_told(serving):
    server = serving("--admin-password", "Given-by-0perator")
    assert log_in(server, "Given-by-0perator") == 200
    assert SAID.findall(errors(server)) == [] and "Given-by-0perator" not in errors(server)


def test_the_integration_port_answers_without_keys_where_it_was_opened(serving):
    port = free_port()
    server = serving("--integration-port", str(port))
    asked = {"command": "listZones", "response": "json"}
    inside = requests.get(f"http://127.0.0.1:{port}/", params=asked, timeout=20)
    assert inside.status_code == 200 and "listzonesresponse" in inside.json()
    assert requests.get(server.url, params=asked, timeout=20).status_code == 401
    logged = "".join(file.read_text() for file in server.data.rglob("*.log"))
    assert f"the integration port {port} is open on 127.0.0.1" in logged, "who opens it is warned"


def test_a_neighbour_on_the_machine_is_not_believed_where_it_says_it_comes_from(serving):
    """Neither by the server nor by what serves HTTP under it."""
    server = serving()
    claims = {"X-Forwarded-For": "203.0.113.77", "X-Forwarded-Proto": "https"}
    sent = {"command": "login", "username": "admin", "password": "wrong", "response": "json"}
    assert requests.post(server.url, data=sent, headers=claims, timeout=20).status_code == 531
    (password,) = SAID.findall(errors(server))
    entered = requests.post(server.url, data={**sent, "password": password}, headers=claims, timeout=20)
    assert entered.status_code == 200 and "Secure" not in entered.headers["set-cookie"]
    logged = "".join(file.read_text() for file in server.data.rglob("*.log"))
    assert "127.0.0.1" in logged and "203.0.113.77" not in logged


def test_an_answer_leaves_in_one_piece(serving):
    """Its head alone would wake whoever waits for it, to read nothing."""
    server = serving()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as link:
        for _ in range(20):
            link.sendall(b"GET /client/api?command=listZones HTTP/1.1\r\nHost: cloud\r\n\r\n")
            head, _, body = link.recv(65536).partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            assert len(body) == length > 0
        link.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: cloud\r\n\r\n")
        assert link.recv(65536).endswith(b"\r\n\r\n"), "a head without a body leaves too"


def test_the_metrics_count_calls_by_command(serving):
    server = serving()
    server.client().ask("listZones")
    page = requests.get(server.url.replace("/client/api", "/metrics"), timeout=20)
    assert page.headers["content-type"].startswith("text/plain")
    assert 'cloudwright_api_calls_total{command="listZones",status="200"} 1.0' in page.text.splitlines()


def test_one_id_runs_from_the_call_through_its_job_into_the_log(serving):
    server = serving()
    client = server.client()
    with pytest.raises(RuntimeError, match="does not exist"):
        client.job("deleteUser", id="4d1bd8d6-6c8d-4b09-8a1a-2f2f4c5b3a0e")
    made = client.ask("createDomain", name="d")["domain"]
    client.job("deleteDomain", id=made["id"])
    lines = [orjson.loads(line) for file in server.data.rglob("*.log") for line in file.read_text().splitlines()]
    told = {line["correlation"] for line in lines if "correlation" in line and "deleteDomain" in line["message"]}
    assert len(told) == 1, "the call and its job say the same id"


def test_other_commands_find_a_simulated_cloud_by_its_configuration(serving):
    server = serving()
    command = [sys.executable, "-m", server.module, "doctor", "--json", "--config", server.data / "cloudwright.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = {c["name"]: c["status"] for c in json.loads(done.stdout)["checks"]}
    assert found["configuration file"] == found["encryption key"] == found["schema"] == "ok"
