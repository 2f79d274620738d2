"""Published faults of CloudStack about ports: what a started server listens on is looked up and talked to."""

from __future__ import annotations

import socket
import ssl
import struct
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mgmt_server.agent.certificate import make_csr
from mgmt_server.agents.ca import generate
from tests.mariadb import free_port
from tests.server import running

LISTENS = "0A"  # as the kernel's tables of sockets say it
# what a stranger might say to a port for other nodes, or for no key at all
CALLS = (
    "/client/api?command=listUsers&response=json&listall=true",
    "/client/api?command=listConfigurations&response=json&apiKey=&signature=",
    "/clusterservice?method=ping&pingService=1",
    "/clusterservice?method=forwardAgentCommand&cmds=%24(id)",
    "/agent",
    "/",
)


def listening(pid):
    """(address, port) of every socket of a process that others can reach, of both kinds."""
    mine = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            mine.add(str(link.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if f"socket:[{rest[5]}]" in mine and (state == LISTENS or table.startswith("udp")):
                address, port = local.split(":")
                found.add((_spoken(address), int(port, 16)))
    return found


def _spoken(text):
    words = struct.unpack(f"={len(text) // 8}I", bytes.fromhex(text))
    packed = struct.pack(f">{len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET6 if len(words) == 4 else socket.AF_INET, packed)


def stranger(folder, certificate):
    """TLS of somebody who believes every server, with no certificate or with a server's of another cloud."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        signed, _ = generate().sign(make_csr(key, "x"), "server", str(uuid4()), "node", timedelta(days=1))
        kept = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path = folder / "own.pem"
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, *kept) + signed.encode())
        context.load_cert_chain(path)
    return context


def answer(port, path, context=None):
    """Status of a plain request, and the body; None where no answer came."""
    request = f"GET {path} HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\nUpgrade: none\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        try:
            spoken = context.wrap_socket(plain) if context else plain
            spoken.sendall(request)
            said = b""
            while more := spoken.recv(65536):
                said += more
        except (ssl.SSLError, ConnectionError):
            return None
    return (int(said.split()[1]), said) if said.startswith(b"HTTP/") else None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    ports = free_port(), free_port()
    options = [f"--{name}-listen=127.0.0.1:{port}" for name, port in zip(("agents", "tls"), ports, strict=True)]
    with running(tmp_path_factory.mktemp("ports") / "data", *options) as made:
        made.agents, made.tls = ports
        yield made


def test_cve_2024_38346_no_port_for_other_nodes_and_none_that_takes_a_stranger(server, tmp_path):
    """Every port that the server has open, against what docs/architecture.md names, and each told commands."""
    assert listening(server.pid) == {("127.0.0.1", p) for p in (server.port, server.agents, server.tls)}
    seen = 0
    for port in (server.port, server.agents, server.tls):
        for context in (None, stranger(tmp_path, False), stranger(tmp_path, True)):
            for path in CALLS:
                got = answer(port, path, context)
                if got is not None:
                    seen += 1
                    assert got[0] in (307, 400, 401, 404, 426), (port, path, got)
                    assert b'"user"' not in got[1] and b'"configuration"' not in got[1]
    assert seen > len(CALLS) * 3, "the ports answered: there was something to refuse"
    assert server.client().ask("listUsers", listall=True)["user"], "with a key they are told"


def test_cve_2024_39864_the_integration_port_is_closed_unless_asked_for(tmp_path):
    """Zero must not mean any port that is free. Where it is on, it is on loopback, and this test would see it."""
    with running(tmp_path / "closed", "--integration-port", "0") as closed:
        assert listening(closed.pid) == {("127.0.0.1", closed.port)}
    with running(tmp_path / "default") as default:
        assert listening(default.pid) == {("127.0.0.1", default.port)}
    open_ = free_port()
    with running(tmp_path / "open", "--integration-port", str(open_)) as asked:
        assert listening(asked.pid) == {("127.0.0.1", asked.port), ("127.0.0.1", open_)}
        call = {"command": "listUsers", "response": "json", "listall": "true"}
        told = requests.get(f"http://127.0.0.1:{open_}/client/api", params=call, timeout=30)
        assert told.json()["listusersresponse"]["user"]
        assert requests.get(asked.url, params=call, timeout=30).status_code == 401
