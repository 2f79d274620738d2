"""The way of a call: many small ones over eight connections, what one costs, and how long a decision takes."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from mgmt_server.web.signature import digest
from tests.server import Server

CONNECTIONS = 8


def request(server: Server, command: str, **sent: str) -> bytes:
    """Signed and ready to be sent, so that clients cost as little as they can."""
    known = server.credentials
    pairs = {"command": command, "response": "json", "apiKey": known["api_key"], **sent}
    pairs["signature"] = base64.b64encode(digest(pairs, known["api_secret"])).decode()
    return f"GET /client/api?{urlencode(pairs)} HTTP/1.1\r\nHost: cloud\r\n\r\n".encode()


def one(link: socket.socket, ready: bytes) -> bytes:
    """Send, and read one whole answer."""
    link.sendall(ready)
    head = b""
    while b"\r\n\r\n" not in head:
        head += link.recv(65536)
    head, _, body = head.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += link.recv(262144)
    if b" 200 " not in head[:20]:
        raise RuntimeError(body[:300].decode())
    return body


def many(server: Server, ready: bytes, seconds: float) -> float:
    """Calls a second over all connections."""
    counts = [0] * CONNECTIONS
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            while time.monotonic() < end:
                one(link, ready)
                counts[number] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def measure(server: Server, say: Callable[..., None], cpu_of: Callable[[int], float], seconds: float = 5) -> None:
    ready = request(server, "listZones")
    many(server, ready, 1)
    before = cpu_of(server.pid)
    rate = many(server, ready, seconds)
    cost = 1000 * (cpu_of(server.pid) - before) / (rate * seconds)
    say("signed listZones, 8 connections", f"{rate:.0f}/s, {cost:.2f} ms CPU", ">= 1,500/s, <= 1 ms CPU")
    whole: dict[str, tuple[dict[str, str], str]] = {
        "listApis": ({}, "<= 5 ms"),
        "listConfigurations": ({"page": "1", "pagesize": "500"}, "<= 20 ms"),
    }
    for command, (sent, goal) in whole.items():
        ready = request(server, command, **sent)
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            one(link, ready)
            before, count = cpu_of(server.pid), 100
            body = b""
            for _ in range(count):
                body = one(link, ready)
            cost = 1000 * (cpu_of(server.pid) - before) / count
        say(command, f"{cost:.2f} ms CPU, {len(body) // 1024} KiB", goal)
    say("access decision", f"{1e6 * decision():.1f} us", "<= 50 us")


def decision(rules: int = 500, count: int = 20_000) -> float:
    """Seconds to find a command for a role with so many rules."""
    from mgmt_server.api.command import find, registry
    from mgmt_server.api.roles import Rules
    from mgmt_server.model.tenancy import Caller
    from mgmt_server.resources import load

    load()
    may: Any = Rules([(f"list{n}*", False) for n in range(rules)] + [("*", True)])
    caller = Caller(7, "u", "u", 7, "a", "a", 1, 1, "d", "/", "Admin", may=may)
    names = sorted(registry)
    began = time.perf_counter()
    for n in range(count):
        find(caller, names[n % len(names)])
    return (time.perf_counter() - began) / count
