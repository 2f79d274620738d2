"""What connected agents cost a server: memory and CPU, over real mutual TLS, server in a process of its own.

    python tests/agent/load.py 2000 [--seconds 60]

Prints one JSON object. Simulated agents say hello, then ping at the usual interval with jitter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect

from mgmt_server import db
from mgmt_server.agent.certificate import make_csr
from mgmt_server.agent.client import trusting
from mgmt_server.agents import ca
from mgmt_server.agents.server import Link
from mgmt_server.db import secrets
from mgmt_server.model import agent as model
from mgmt_server.model import everything
from mgmt_server.model.event import SettingValue
from mgmt_server.model.host import Host
from mgmt_server.protocol import link as wire
from mgmt_server.protocol.link import Hello, Ping, Request, pack, unpack
from mgmt_server.protocol.machine import HostFacts

FACTS = HostFacts("host", "10.0.0.1", "KVM", "8.0", 64, 2, 2400, 256 << 30, bridges=("cloudbr0",))
AT_ONCE = 24  # connections being made
INTERVAL = 60.0  # seconds between an agent's pings


def measure(n: int = 2000, seconds: float = 20.0, limit: float = 240.0) -> dict[str, float]:
    """Connect `n` agents, watch them idle for `seconds`, then ask each one question. Bounded by `limit` seconds.

    Keys: agents, kib_per_connection, connect_ms_cpu (server, each), idle_cpu_percent (of a core, for all),
    question_us_cpu, connects_per_second.
    """
    _allow_files(2 * n + 200)
    with tempfile.TemporaryDirectory() as folder:
        _make_cloud(Path(folder), n)
        here, there = multiprocessing.get_context("spawn").Pipe()
        server = multiprocessing.get_context("spawn").Process(target=_server, args=(folder, there), daemon=True)
        server.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(asyncio.wait_for(_measure(Path(folder), n, seconds, here), limit))
        finally:
            here.send("end")
            server.join(20)
            server.kill()


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def _open(folder: str | Path) -> Any:
    secrets.unlock(b"k" * 32)
    return db.connect(f"sqlite:///{folder}/cloud.db")


def _make_cloud(folder: Path, n: int) -> None:
    engine = _open(folder)
    models = (model.Agent, model.AgentCommand, model.AgentToken, model.CertificateAuthority, SettingValue, Host)
    everything()  # what their columns refer to
    tables = [m.__table__ for m in models]
    db.Base.metadata.create_all(engine, tables=tables)
    ca.create()
    authority = ca.load()
    key = ec.generate_private_key(ec.SECP256R1())  # one for all: making them is not what is measured
    csr = make_csr(key, "load")
    (folder / "key.pem").write_bytes(ca._private(key))
    agents = []
    for number in range(n):
        uuid = str(uuid4())
        certificate, serial = authority.sign(csr, "host", uuid, f"host{number}")
        (folder / f"{number}.pem").write_text(certificate)
        agents.append({"uuid": uuid, "name": f"host{number}", "kind": "host", "serial": serial})
    db.write(lambda tx: tx.execute(model.Agent.__table__.insert(), agents))
    (folder / "agents.json").write_text(json.dumps([a["uuid"] for a in agents]))
    (folder / "ca.pem").write_text(authority.pem)
    db.disconnect()


def _server(folder: str, pipe: Any) -> None:
    _allow_files(1 << 16)
    _open(folder)
    link = Link(ca.load(), listen=("127.0.0.1", 0), node="load", ping_interval=INTERVAL)
    link.start()
    pipe.send(link.port)
    while (order := pipe.recv()) != "end":
        if order == "ask":
            for who in link.connected():
                link.ask(who.uuid, "echo", {"x": 1})
        pipe.send((_resident(), time.process_time(), link.statistics()["connections"]))
    link.stop()


def _resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def _measure(folder: Path, n: int, seconds: float, pipe: Any) -> dict[str, float]:
    async def order(what: str) -> tuple[int, float, int]:
        pipe.send(what)
        answer: tuple[int, float, int] = await asyncio.to_thread(pipe.recv)
        return answer

    port = await asyncio.to_thread(pipe.recv)
    uuids = json.loads((folder / "agents.json").read_text())
    slots = asyncio.Semaphore(AT_ONCE)
    await _connected(folder, port, 0, uuids[0], slots)  # what the first one loads is no connection's cost
    before = await order("look")
    began = time.monotonic()
    tasks = await asyncio.gather(*(_connected(folder, port, i, uuids[i], slots) for i in range(1, n)))
    took = time.monotonic() - began
    await asyncio.sleep(2)
    after = await order("look")
    assert after[2] == n, f"{after[2]} of {n} are connected"
    await asyncio.sleep(seconds)
    idle = await order("look")
    asked = await order("ask")
    for task in tasks:
        task.cancel()
    return {
        "agents": n,
        "kib_per_connection": round((idle[0] - before[0]) / 1024 / (n - 1), 1),
        "connect_ms_cpu": round(1000 * (after[1] - before[1]) / (n - 1), 2),
        "connects_per_second": round((n - 1) / took, 1),
        "idle_cpu_percent": round(100 * (idle[1] - after[1]) / seconds, 2),
        "question_us_cpu": round(1e6 * (asked[1] - idle[1]) / n, 1),
    }


_kept: list[asyncio.Task[None]] = []


async def _connected(folder: Path, port: int, number: int, uuid: str, slots: asyncio.Semaphore) -> asyncio.Task[None]:
    """An agent that was welcomed, as the task that keeps it."""
    welcome = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(_agent(folder, port, number, uuid, slots, welcome))
    _kept.append(task)
    await asyncio.wait([task, welcome], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    return task


async def _agent(folder: Path, port: int, number: int, uuid: str, slots: asyncio.Semaphore, welcome: Any) -> None:
    async with slots:
        context = trusting(folder / "ca.pem")
        context.load_cert_chain(folder / f"{number}.pem", folder / "key.pem")
        connection = await connect(
            f"wss://127.0.0.1:{port}/agent", ssl=context, compression=None, ping_interval=None, proxy=None,
            open_timeout=60,
        )  # fmt: skip
        await connection.send(pack(Hello(uuid, "boot", "1", facts=FACTS)))
        unpack(await connection.recv())
        welcome.set_result(None)
    pinger = asyncio.create_task(_ping(connection))
    try:
        async for data in connection:
            message = unpack(data)
            if isinstance(message, Request):
                await connection.send(pack(wire.Answer(message.id, True, message.body)))
    finally:
        pinger.cancel()


async def _ping(connection: Any) -> None:
    await asyncio.sleep(random.uniform(0, INTERVAL))
    while True:
        await connection.send(pack(Ping(1)))
        await asyncio.sleep(INTERVAL * random.uniform(0.8, 1.2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("agents", type=int, nargs="?", default=2000)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    print(json.dumps(measure(options.agents, options.seconds)))
    sys.exit(0)
