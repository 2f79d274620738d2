"""A server's link on loopback with a database of its own, and agents that do not need libvirt."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mgmt_server import db
from mgmt_server.agent import config
from mgmt_server.agent.client import Client
from mgmt_server.agent.enroll import enroll
from mgmt_server.agent.journal import Journal
from mgmt_server.agent.work import Command, Work
from mgmt_server.agents import ca, tokens
from mgmt_server.agents.server import Link
from mgmt_server.db import secrets
from mgmt_server.model import agent as model
from mgmt_server.model import everything
from mgmt_server.model.event import SettingValue
from mgmt_server.model.host import Host
from mgmt_server.protocol.machine import HostFacts

FACTS = HostFacts("kvm1", "127.0.0.1", "KVM", "8.0", 4, 1, 2000, 8 << 30)


def eventually(condition: Callable[[], Any], seconds: float = 60.0, every: float = 0.02) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(every)
    raise AssertionError("it did not come about in time")


class FakeHost:
    """An agent process in miniature: `done` lists what its commands really did."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.config = replace(config.load(folder / "agent.toml"), state=folder, **changes)
        self.done: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.config.state / "journal.db")
        commands = {
            "echo": Command(lambda body: body),
            "do": Command(self._do, lambda body: body["name"], changes=True),
        }
        self.work = Work(commands, self.journal)
        self.client = Client(self.config, self.journal, self.work, lambda: FACTS, "boot")
        self.thread = threading.Thread(target=lambda: asyncio.run(self.client.run()), daemon=True)
        self.thread.start()

    def _do(self, body: Any) -> Any:
        self.done.append(body["value"])
        self.gate.wait(10)
        if body.get("raises"):
            raise body["raises"]
        return len(self.done)

    def stop(self) -> None:
        self.client.stop()
        self.thread.join(30)
        self.work.stop()
        self.journal.close()

    @property
    def uuid(self) -> str:
        return self.config.uuid


@pytest.fixture()
def database(tmp_path: Path) -> Iterator[None]:
    engine = db.connect(f"sqlite:///{tmp_path}/cloud.db")
    secrets.unlock(b"k" * 32)
    models = (model.Agent, model.AgentCommand, model.AgentToken, model.CertificateAuthority, SettingValue, Host)
    everything()  # what their columns refer to
    tables = [m.__table__ for m in models]
    db.Base.metadata.create_all(engine, tables=tables)
    ca.create()
    yield
    db.disconnect()


@pytest.fixture()
def link(database: None) -> Iterator[Link]:
    link = Link(ca.load(), listen=("127.0.0.1", 0), node="n1", ping_interval=1.0)
    link.start()
    yield link
    link.stop()


Enrol = Callable[..., Path]


@pytest.fixture()
def enrol(link: Link, tmp_path: Path) -> Enrol:
    def enrol(name: str = "kvm1", kind: str = "host", folder: str = "") -> Path:
        where = tmp_path / (folder or name)
        where.mkdir(exist_ok=True)
        token = tokens.issue(name, kind)
        servers = [f"127.0.0.1:{link.port}"]
        assert enroll(servers, token, link.authority.fingerprint, str(where / "agent.toml"), kind=kind, force=True)
        return where

    return enrol


@pytest.fixture()
def enrolled(link: Link, enrol: Enrol) -> config.Config:
    return config.load(enrol() / "agent.toml")


@pytest.fixture()
def host(link: Link, enrol: Enrol) -> Iterator[FakeHost]:
    host = FakeHost(enrol())
    eventually(host.client.connected.is_set)
    eventually(lambda: link.connected())
    yield host
    host.gate.set()
    host.stop()
