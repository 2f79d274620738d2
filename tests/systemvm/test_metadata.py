"""Each guest's data to that guest alone, over real sockets on loopback; boot arguments; the host's end of the port."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from mgmt_server.systemvm import boot, port
from mgmt_server.systemvm.document import parse
from mgmt_server.systemvm.metadata import Guests, Listener, respond

from .documents import FIRST, SECOND, USER_DATA, document, guest


@pytest.fixture
def guests():
    found = Guests()
    one = guest(FIRST, metadata={"public-keys": "ssh-ed25519 AAAA a"}, password="pass-a")
    two = guest(SECOND, metadata={"vm-id": "12"}, password="pass-b")
    found.set(parse(document(leases=[FIRST, SECOND], guests=[one, two])).guests)
    return found


def test_each_guest_has_its_own(guests):
    assert guests.metadata("10.1.1.11", "/latest/meta-data/local-hostname", {}) == (200, b"vm-a")
    assert guests.metadata("10.1.1.12", "/latest/meta-data/local-hostname", {}) == (200, b"vm-b")
    assert guests.metadata("10.1.1.11", "/latest/meta-data/vm-id", {})[0] == 404
    assert guests.metadata("10.1.1.11", "/latest/user-data", {}) == (200, USER_DATA.encode())


@pytest.mark.parametrize(
    "target", ["/", "/latest/user-data", "/latest/meta-data/", "/latest/meta-data/instance-id", "/10.1.1.11/user-data"]
)
def test_a_stranger_gets_nothing(guests, target):
    assert guests.metadata("10.1.1.99", target, {"x-forwarded-for": "10.1.1.11"}) == (404, b"")


def test_listing(guests):
    assert guests.metadata("10.1.1.11", "/latest/meta-data/", {}) == (200, b"instance-id\nlocal-hostname\npublic-keys")
    assert guests.metadata("10.1.1.11", "/latest/", {}) == (200, b"meta-data\nuser-data")
    assert guests.metadata("10.1.1.11", "/latest/other", {})[0] == 404


def test_password_until_it_is_saved(guests):
    ask, saved = {"domu_request": "send_my_password"}, {"domu_request": "saved_password"}
    assert guests.password("10.1.1.11", "/", {}) == (200, b"bad_request")
    assert guests.password("10.1.1.11", "/", ask) == (200, b"pass-a")
    assert guests.password("10.1.1.11", "/", saved) == (200, b"saved_password")
    assert guests.password("10.1.1.11", "/", ask) == (200, b"saved_password")
    assert guests.password("10.1.1.12", "/", ask) == (200, b"pass-b")
    assert guests.password("10.1.1.99", "/", ask) == (200, b"saved_password")
    assert guests.password("10.1.1.99", "/", saved) == (200, b"saved_password")
    assert guests.taken_addresses() == ["10.1.1.11"]


def test_an_address_that_gets_a_new_owner_starts_anew(guests):
    guests.password("10.1.1.11", "/", {"domu_request": "saved_password"})
    guests.set(())
    assert guests.taken_addresses() == []
    assert guests.metadata("10.1.1.11", "/latest/user-data", {})[0] == 404


def exchange(where: int, sent: bytes, source: str = "127.0.0.1") -> bytes:
    with socket.create_connection(("127.0.0.1", where), timeout=5, source_address=(source, 0)) as link:
        link.sendall(sent)
        got = b""
        while chunk := link.recv(4096):
            got += chunk
        return got


def test_over_a_socket_the_peer_decides():
    asked = []

    def answer(client, target, headers):
        asked.append((client, target, headers.get("domu_request")))
        return 200, client.encode()

    listener = Listener("127.0.0.1", 0, answer)
    where = listener.socket.getsockname()[1]
    try:
        got = exchange(where, b"GET /x HTTP/1.1\r\nHost: h\r\nDomU_Request: send_my_password\r\n\r\n", "127.0.0.7")
        assert got.startswith(b"HTTP/1.0 200 OK\r\n") and got.endswith(b"\r\n\r\n127.0.0.7")
        assert exchange(where, b"POST /x HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 405")
        assert exchange(where, b"\r\n\r\n").startswith(b"HTTP/1.0 400")
        assert asked == [("127.0.0.7", "/x", "send_my_password")]
    finally:
        listener.close()
    with pytest.raises(OSError):
        exchange(where, b"GET / HTTP/1.0\r\n\r\n")


def test_one_slow_guest_does_not_keep_others_waiting():
    listener = Listener("127.0.0.1", 0, lambda *asked: (200, b"served"))
    where = listener.socket.getsockname()[1]
    slow = [socket.create_connection(("127.0.0.1", where), source_address=("127.0.0.9", 0)) for _ in range(20)]
    try:
        assert exchange(where, b"GET / HTTP/1.0\r\n\r\n").endswith(b"served")
    finally:
        for link in slow:
            link.close()
        listener.close()


def test_head_has_no_body():
    assert respond(b"HEAD / HTTP/1.0\r\n\r\n", "10.1.1.11", lambda *asked: (200, b"abc")).endswith(
        b"3\r\nConnection: close\r\n\r\n"
    )


def test_boot_arguments(tmp_path):
    dmi, line = tmp_path / "dmi", tmp_path / "cmdline"
    dmi.write_bytes(
        b"\x0b\x05\x00\x02cloudwright:type=dhcpsrvr name=r-4-VM\0"
        b"cloudwright:eth1ip=169.254.10.20 eth1mask=255.255.0.0\0\0"
    )
    line.write_text("quiet rw cloudwright.name=r-5-VM name=x\n")
    found = boot.boot_arguments(str(dmi), str(line))
    assert found == {"type": "dhcpsrvr", "name": "r-5-VM", "eth1ip": "169.254.10.20", "eth1mask": "255.255.0.0"}
    assert boot.control_device(found) == "eth1"
    assert boot.boot_arguments(str(tmp_path / "none"), str(tmp_path / "none")) == {}


@pytest.mark.parametrize(
    ("arguments", "device"),
    [
        ({"type": "router", "eth0ip": "10.1.1.1", "eth1ip": "192.168.3.4"}, "eth1"),
        ({"type": "secstorage", "eth0ip": "192.168.3.4"}, "eth0"),
        ({"type": "vpcrouter", "eth0ip": "169.254.1.1", "eth1ip": "198.51.100.4"}, "eth0"),
        ({"type": "router"}, ""),
    ],
)
def test_control_device(arguments, device):
    assert boot.control_device(arguments) == device


def test_prefix_length():
    assert boot.prefix_length("255.255.0.0") == 16
    for wrong in ("255.0.255.0", "255.255.0", "x"):
        with pytest.raises(ValueError):
            boot.prefix_length(wrong)


@pytest.fixture
def answering(tmp_path):
    """A socket that takes one line and sends what it is told, in the pieces it is told."""
    path = tmp_path / "agent"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    threads = []

    def answer(make):
        def serve():
            link, _ = server.accept()
            with link:
                request = json.loads(link.makefile("rb").read1().strip())
                for piece in make(request):
                    link.sendall(piece)

        threads.append(threading.Thread(target=serve))
        threads[0].start()
        return str(path)

    yield answer
    for thread in threads:
        thread.join(30)
    server.close()


def test_ask_passes_over_what_is_not_its_answer(answering):
    def pieces(request):
        assert request["type"] == "facts" and request["deep"] is True
        mine = json.dumps({"id": request["id"], "ok": True, "value": {"x": 1}}).encode() + b"\n"
        return [b'e": 3}\n{"id": "other", "ok": true, "value": 2}\n', mine[:10], mine[10:]]

    assert port.ask(answering(pieces), "facts", {"deep": True}, timeout=5) == {"x": 1}


def test_ask_tells_a_refusal_from_silence(answering, tmp_path):
    path = answering(lambda request: [json.dumps({"id": request["id"], "ok": False, "error": "no"}).encode() + b"\n"])
    with pytest.raises(port.PortRefused, match="^no$"):
        port.ask(path, "ping", timeout=5)
    with pytest.raises(port.PortError, match="no answer to ping .* within 0.2 s"):
        port.ask(path, "ping", timeout=0.2)
    with pytest.raises(port.PortError, match="is the machine running"):
        port.ask(str(tmp_path / "none"), "ping", timeout=1)


def test_ask_notices_a_closed_port(answering):
    with pytest.raises(port.PortError, match="closed before the answer"):
        port.ask(answering(lambda request: [b'{"id"']), "ping", timeout=5)
