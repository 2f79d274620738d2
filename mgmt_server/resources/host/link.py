"""What the agents of hosts tell unasked, and what is measured of them.

Others who want to know of machines' power states register a hook:

    @on_machines
    def look(host_id: int, machines: list[MachineState]) -> None: ...
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from mgmt_server import db
from mgmt_server.agents.server import Link
from mgmt_server.agents.session import Connected
from mgmt_server.drivers import waits
from mgmt_server.drivers.hypervisor import dispatch
from mgmt_server.drivers.hypervisor.kvm import Kvm
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.drivers.storage.kvm import KvmStorage
from mgmt_server.errors import ApiError
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import Pool
from mgmt_server.protocol.codec import BadMessage, build, plain
from mgmt_server.protocol.machine import HostStatistics, MachineState
from mgmt_server.resources.host import rows
from mgmt_server.resources.storage import rows as storage

log = logging.getLogger("cloudwright.hosts")

PING = Setting(
    "ping.interval",
    "Seconds between two signs of life of an agent. Taken when a server starts",
    least=2, most=3600,
)  # fmt: skip
PATIENCE = Setting(
    "ping.timeout",
    "After how many times ping.interval an agent that was not heard of is lost. Taken when a server starts",
    least=1.1, most=100,
)  # fmt: skip
MEASURE = Setting("host.stats.interval", "Milliseconds between two looks at the statistics of hosts", least=1000)
AT_ONCE = 8

MachineHook = Callable[..., None]
machine_hooks: list[MachineHook] = []


def on_machines(hook: MachineHook) -> MachineHook:
    """Have `hook(number of the host's row, machines that changed)` called for each report, outside transactions.

    A third argument is the moment at which a host was asked for all that it has.
    """
    machine_hooks.append(hook)
    return hook


def attach(link: Link) -> Watcher:
    """Have this link's agents be hosts: their coming, going and reports change rows, and KVM goes through it."""
    dispatch.use("KVM", Kvm(link))
    disks.use("KVM", KvmStorage(link))
    link.on_connect.append(connected)
    link.on_disconnect.append(disconnected)
    link.on_report.append(reported)
    watcher = Watcher(link)
    watcher.start()
    return watcher


def connected(who: Connected) -> None:
    if who.kind == "host":
        db.write(rows.came, who.uuid, who.facts)


def disconnected(who: Connected) -> None:
    if who.kind == "host":
        db.write(rows.went, who.uuid)


def reported(agent: str, type: str, body: Any) -> None:
    """A report of an agent, in the order they came."""
    if type != "machines":
        return
    with db.reading() as session:
        host = session.scalar(select(Host.id).where(Host.agent == agent, Host.removed.is_(None)))
    if host is None:
        return
    try:
        machines = build(list[MachineState], body, "machines")
    except BadMessage as error:
        log.warning("agent %s told nonsense of its machines: %s", agent, error)
        return
    _take_in(host, machines)


def _take_in(host: int, machines: list[MachineState], *asked: datetime) -> None:
    for hook in machine_hooks:
        try:
            hook(host, machines, *asked)
        except Exception:
            log.exception("what host %s told of its machines could not be taken in", host)


def look(host_id: int) -> None:
    """Ask a host that is Up for all its machines, so that what was missed is seen. Raises Unavailable, Failed."""
    with db.reading() as session:
        host = session.scalar(select(Host).where(Host.id == host_id, Host.removed.is_(None), Host.state == "Up"))
    if host is not None:
        asked = db.now()
        _take_in(host_id, dispatch.machines(storage.ref(host)), asked)


def look_step(call: UUID, host_id: int) -> str:
    """As a step of flows: why the host did not tell, or nothing."""
    try:
        look(host_id)
    except ApiError as error:
        return str(error)
    return ""


class Watcher(threading.Thread):
    """Asks the agents of this node for statistics, several at once."""

    def __init__(self, link: Link) -> None:
        super().__init__(name="measure", daemon=True)
        self.link = link
        self.ended = threading.Event()

    def run(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, "measure") as pool:
            while not self.ended.wait(MEASURE.number() / 1000):
                list(pool.map(_measure_safely, [w.uuid for w in self.link.connected() if w.kind == "host"]))


def _measure_safely(agent: str) -> None:
    try:
        measure(agent)
    except ApiError as error:
        log.warning("%s", error)
    except Exception:
        log.exception("measuring the host of agent %s failed", agent)


def measure(agent: str) -> None:
    """Ask a host for its statistics and write them down, with those of its pools. Raises Unavailable, Failed."""
    with db.reading() as session:
        host = session.scalar(select(Host).where(Host.agent == agent, Host.removed.is_(None)))
    if host is not None:
        db.write(measured, host.id, dispatch.statistics(storage.ref(host), waits.telling(host.cluster_id)))
        look(host.id)


def measured(tx: Any, host_id: int, found: HostStatistics) -> None:
    figures = {k: v for k, v in plain(found).items() if k != "pools"}
    mine = update(Host).where(Host.id == host_id)
    tx.execute(mine.values(statistics=figures, last_pinged=db.now()).execution_options(synchronize_session=False))
    known = set(tx.scalars(select(Pool.uuid).where(Pool.uuid.in_(list(found.pools)))))
    for uuid, (used, there) in found.pools.items():
        if uuid in known:
            storage.measured(tx, uuid, used, there)
