"""Those who misbehave on a link: two of one identity, servers and agents of old, garbage, silence."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import pytest
from conftest import FACTS, Enrol, FakeHost, eventually
from sqlalchemy import update
from talking import hello, talk
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from mgmt_server import db
from mgmt_server.agent import config
from mgmt_server.agent.client import Client, Refused, client_context, trusting
from mgmt_server.agents.server import Link
from mgmt_server.model.agent import Agent
from mgmt_server.protocol import link as wire
from mgmt_server.protocol.link import Report, Request, Welcome, pack, unpack


def test_two_with_one_identity_the_newer_stays(link: Link, enrolled: config.Config) -> None:
    async def both() -> tuple[int, bool]:
        url = f"wss://127.0.0.1:{link.port}/agent"
        context = client_context(enrolled)
        async with connect(url, ssl=context, proxy=None) as old, connect(url, ssl=context, proxy=None) as new:
            await old.send(hello(enrolled.uuid))
            first = unpack(await old.recv())
            await new.send(hello(enrolled.uuid))
            second = unpack(await new.recv())
            assert second.epoch > first.epoch
            with pytest.raises(ConnectionClosed):
                await old.recv()
            await new.send(pack(wire.Ping(7)))
            assert unpack(await new.recv()) == wire.Ping(7)
            return old.close_code, True

    assert asyncio.run(both()) == (wire.SUPERSEDED, True)


def test_agent_refuses_an_older_epoch(link: Link, enrol: Enrol) -> None:
    host = FakeHost(enrol())
    eventually(host.client.connected.is_set)
    epoch = host.client.epoch
    answers = []
    host.client._reply = answers.append
    host.client._obey(Request("1", epoch - 1, "do", {"name": "vm", "value": 1}, durable=True))
    assert [a.code for a in answers] == ["epoch"] and host.done == []
    host.stop()
    # a server whose database was set back: it learns the epoch from the hello and goes beyond
    db.write(lambda tx: tx.execute(update(Agent).values(epoch=0)))
    host.start()
    eventually(host.client.connected.is_set)
    assert host.client.epoch > epoch
    host.stop()


def test_agent_hangs_up_on_an_old_server(enrolled: config.Config, tmp_path: Path) -> None:
    class Connection:
        async def send(self, data: str) -> None:
            return

        async def recv(self) -> str:
            return pack(Welcome(3))

    from mgmt_server.agent.journal import Journal
    from mgmt_server.agent.work import Work

    journal = Journal(tmp_path / "j.db")
    journal.set_note("epoch", 3)
    client = Client(enrolled, journal, Work({}, journal), lambda: FACTS, "boot")
    with pytest.raises(Refused, match="epoch 3 is not above 3"):
        asyncio.run(client._greet(Connection()))


@pytest.mark.parametrize(
    "garbage",
    [
        "not json",
        "[]",
        '{"message": "nonsense"}',
        '{"message": "hello"}',
        '{"message": "hello", "agent": 7, "boot_id": "", "version": ""}',
        b"\xff\xfe\x00",
        "[" * 100_000,
        pack(Report("machines", [])),
    ],
    ids=range(8),
)
def test_garbage_instead_of_a_hello(link: Link, enrolled: config.Config, garbage: str | bytes) -> None:
    assert talk(link, client_context(enrolled), garbage)[0] == wire.GARBAGE
    assert isinstance(talk(link, client_context(enrolled), hello(enrolled.uuid)), Welcome)


@pytest.mark.parametrize("garbage", ["{", '{"message": "welcome", "epoch": 9}', '{"message": "later"}'])
def test_garbage_after_the_hello(link: Link, enrolled: config.Config, garbage: str) -> None:
    async def conversation() -> int | None:
        url = f"wss://127.0.0.1:{link.port}/agent"
        async with connect(url, ssl=client_context(enrolled), proxy=None) as c:
            await c.send(hello(enrolled.uuid))
            await c.recv()
            await c.send(garbage)
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(c.recv(), 10)
            return c.close_code

    assert asyncio.run(conversation()) == wire.GARBAGE


def test_oversize_message_is_closed(link: Link, enrolled: config.Config) -> None:
    assert talk(link, client_context(enrolled), "x" * ((1 << 20) + 1))[0] == 1009


def test_unknown_fields_are_ignored(link: Link, enrolled: config.Config) -> None:
    message = hello(enrolled.uuid)[:-1] + ', "from_the_future": {"a": 1}}'
    assert isinstance(talk(link, client_context(enrolled), message), Welcome)


def test_a_frame_that_claims_two_gigabytes(link: Link, enrolled: config.Config) -> None:
    """By hand: the header alone must be enough to close."""
    raw = socket.create_connection(("127.0.0.1", link.port), 10)
    with client_context(enrolled).wrap_socket(raw) as s:
        s.sendall(
            b"GET /agent HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"101" in s.recv(4096)
        s.sendall(b"\x81\xff" + struct.pack("!Q", 2 << 30) + b"\0\0\0\0" + b"x" * 100)
        assert struct.pack("!H", 1009) in s.recv(4096)


def test_no_hello_in_time(link: Link, enrolled: config.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HELLO_TIMEOUT", 0.3)
    assert talk(link, client_context(enrolled)) == (wire.LATE, "no hello in time")


def test_strangers_who_say_nothing_do_not_keep_agents_out(link: Link, enrolled: config.Config) -> None:
    link._door.timeout = 1.0
    idle = [socket.create_connection(("127.0.0.1", link.port), 10) for _ in range(100)]
    assert isinstance(talk(link, client_context(enrolled), hello(enrolled.uuid)), Welcome)
    assert link.statistics()["waiting"] <= 100
    for each in idle:
        each.close()
    eventually(lambda: link.statistics()["waiting"] == 0)


def test_other_paths_and_plain_tcp(link: Link) -> None:
    assert talk(link, trusting(pem=link.authority.pem), path="/other")[0] == 404
    with socket.create_connection(("127.0.0.1", link.port), 10) as s:
        s.sendall(b"GET /agent HTTP/1.1\r\n\r\n")
        assert s.recv(100)[:1] in (b"", b"\x15")  # nothing, or a TLS alert
