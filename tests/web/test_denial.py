"""What one client does to a running server, and what the others notice of it."""

import resource
import socket
from pathlib import Path

import pytest

from mgmt_server.db import new_uuid
from tests.server import running

IDLE = 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("denial") / "data") as found:
        yield found


def resident(pid: int) -> int:
    """MiB."""
    line = next(text for text in Path(f"/proc/{pid}/status").read_text().splitlines() if text.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def test_d_a_thousand_connections_that_say_nothing(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    silent = []
    try:
        client = server.client()
        client.ask("listZones")
        before = resident(server.pid)
        for number in range(IDLE):
            silent.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            if number % 2:
                silent[-1].sendall(b"POST /client/api HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\ncommand=")
        fresh = server.client()  # has a connection of its own, opened behind all those
        for _ in range(20):
            assert fresh.ask("listZones") == client.ask("listZones") == {}
        assert resident(server.pid) - before < 64
    finally:
        for each in silent:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_d_tags_without_end_on_one_object(server):
    client = server.client()
    (account,) = client.ask("listAccounts", name="admin")["account"]
    uuid = account["id"]

    def send(count):
        tags = {f"tags[{n}].{part}": f"{part}{n}" for n in range(count) for part in ("key", "value")}
        return client.job("createTags", resourceids=uuid, resourcetype="Account", **tags)

    with pytest.raises(RuntimeError, match="431: 101 tags at once: at most 100"):
        send(101)
    with pytest.raises(RuntimeError, match="4[01]3|43[01]"):  # more than one request may carry
        send(5000)
    million = "&".join(f"tags[{n}].key=k{n}&tags[{n}].value=v" for n in range(1_000_000))
    told = client.session.post(client.url, data=f"command=createTags&{million}", timeout=60)
    assert told.status_code == 413
    send(100)
    assert client.ask("listTags", resourceid=uuid, listall=True)["count"] == 100


def test_d_a_domain_tree_as_deep_as_it_gets(server):
    client = server.client()
    (root,) = client.ask("listDomains", name="ROOT")["domain"]
    parent, depth = root["id"], 0
    try:
        while depth < 2000:
            parent = client.ask("createDomain", name="d", parentdomainid=parent)["domain"]["id"]
            depth += 1
    except RuntimeError as refusal:
        assert "431: the domain's path would have 601 characters" in str(refusal)
    assert 20 < depth < 2000
    account = client.ask(
        "createAccount", username=f"u{new_uuid()[:8]}", password="Secret-123456", email="a@example.org", firstname="A",
        lastname="B", accounttype=0, domainid=parent,
    )["account"]  # fmt: skip
    assert account["domainpath"].count("/") >= depth
    assert client.ask("listAccounts", domainid=root["id"], isrecursive=True, listall=True)["count"] >= 2
