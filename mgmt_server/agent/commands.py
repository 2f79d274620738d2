"""What a host's agent can be asked: one table, and what stands behind each entry."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from mgmt_server.agent import accelerator, facts
from mgmt_server.agent.config import Config
from mgmt_server.agent.domain import Surroundings
from mgmt_server.agent.domain import build as build_domain
from mgmt_server.agent.network import Network
from mgmt_server.agent.storage import Storage
from mgmt_server.agent.virt import Virt
from mgmt_server.agent.work import Command
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.codec import build, plain
from mgmt_server.protocol.machine import (
    Disk,
    HostFacts,
    HostStatistics,
    Image,
    Machine,
    MachineState,
    Pool,
)
from mgmt_server.protocol.router import Applied, RouterDocument
from mgmt_server.systemvm import port

log = logging.getLogger(__name__)

GRACE = 60.0  # seconds that a guest has to follow the power button
ROUTER_PATIENCE = 180.0  # seconds for a router's agent to answer after its start
SWEEP = 10.0  # seconds between looks at all machines


class Host:
    def __init__(self, config: Config, changed: Callable[[str], None] = lambda name: None) -> None:
        self.config = config
        self.boot_id = facts.boot_id()
        self.accelerator = accelerator.choose(config, self.boot_id)
        self.virt = Virt(config.libvirt, changed)
        self.storage = Storage(config)
        self.network = Network(config)
        self.meter = facts.Meter()

    def facts(self) -> HostFacts:
        return facts.gather(self.config, self.accelerator, self.virt.node())

    def statistics(self) -> HostStatistics:
        return self.meter.read(self.storage.spaces())

    # --- machines ---------------------------------------------------------------------------------------------------

    def start(self, machine: Machine) -> MachineState:
        running = self.virt.state(machine.name)
        if running.state != "Stopped" and running.uuid == machine.uuid:
            return running
        log_file = self.config.logs / machine.name / "console.log"
        log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        disks = tuple(self.storage.source(d) for d in machine.disks)
        iso = self.storage.iso_source(machine.iso) if machine.iso else ""
        listen = self.config.vnc_listen or self.config.address or facts.own_address(self.config) or "127.0.0.1"
        with self.network.bridges(machine.nics) as bridges:
            host = Surroundings(
                self.accelerator, accelerator.emulator(), disks, tuple(bridges), str(log_file), iso, listen
            )
            return self.virt.start(machine.name, machine.uuid, build_domain(machine, host))

    def stop(self, name: str, forced: bool, grace: float) -> None:
        self.virt.stop(name, forced=forced, grace=grace)
        self._tidy()

    def forget(self, name: str) -> None:
        self.virt.forget(name)
        self._tidy()

    def _tidy(self) -> None:
        try:
            self.network.remove_unused()
        except Failed as error:
            log.warning("bridges that nobody uses stay: %s", error)

    def configure_router(self, document: RouterDocument) -> Applied:
        """Hand the document over as soon as the router's agent answers."""
        end = time.monotonic() + ROUTER_PATIENCE
        while True:
            socket = self.virt.agent_socket(document.name)
            try:
                value = port.ask(socket, "router.configure", {"document": plain(document)}, min(60.0, ROUTER_PATIENCE))
                return build(Applied, value)
            except port.PortRefused as error:
                raise Failed(f"{document.name}: {error}") from None
            except port.PortError as error:
                if time.monotonic() >= end:
                    raise Unavailable(f"{document.name}: {error}") from None
            time.sleep(1)

    # --- the table --------------------------------------------------------------------------------------------------

    def commands(self) -> dict[str, Command]:
        storage, virt = self.storage, self.virt
        return {
            "facts": Command(lambda body: self.facts()),
            "machines": Command(lambda body: virt.machines()),
            "statistics": Command(lambda body: self.statistics()),
            "machine_statistics": Command(lambda body: virt.statistics(build(list[str], body["names"], "names"))),
            "start": _machine(lambda body: self.start(build(Machine, body["machine"])), lambda b: b["machine"]["name"]),
            "stop": _machine(lambda b: self.stop(_name(b), bool(b.get("forced")), float(b.get("grace", GRACE))), _name),
            "reboot": _machine(lambda body: virt.reboot(_name(body)), _name),
            "forget": _machine(lambda body: self.forget(_name(body)), _name),
            "add_pool": Command(lambda b: storage.add_pool(_pool(b)), lambda b: f"pool {_pool(b).uuid}", changes=True),
            "remove_pool": Command(
                lambda b: storage.remove_pool(_pool(b)), lambda b: f"pool {_pool(b).uuid}", changes=True
            ),
            "cache_template": Command(
                lambda b: storage.cache_template(_pool(b), build(Image, b["image"])),
                lambda b: f"template {_pool(b).uuid} {b['image']['uuid']}",
                changes=True,
            ),
            "create_disk": Command(lambda b: storage.create_disk(_disk(b)), _disk_lane, changes=True),
            "delete_disk": Command(lambda b: storage.delete_disk(_disk(b)), _disk_lane, changes=True),
            "configure_router": _machine(
                lambda b: self.configure_router(build(RouterDocument, b["document"])), lambda b: b["document"]["name"]
            ),
        }


def _machine(run_it: Callable[[Any], Any], name: Callable[[Any], str]) -> Command:
    return Command(run_it, lambda body: f"machine {name(body)}", changes=True)


def _name(body: Any) -> str:
    return build(str, body["name"], "name")


def _pool(body: Any) -> Pool:
    return build(Pool, body["pool"])


def _disk(body: Any) -> Disk:
    return build(Disk, body["disk"])


def _disk_lane(body: Any) -> str:
    return f"disk {_disk(body).pool.uuid} {_disk(body).name}"


class Watch:
    """Tells the server of power states: at once when libvirt says so, and all that differ at each sweep."""

    def __init__(self, host: Host, report: Callable[[str, Any], None]) -> None:
        self.host, self.report = host, report
        self._known: dict[str, tuple[str, int]] = {}  # name -> (state, port) as told
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        host.virt.changed = lambda name: self._wake.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def forget_told(self) -> None:
        """A server that we just met is told everything."""
        self._known.clear()
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(SWEEP)
            self._wake.clear()
            try:
                self.sweep()
            except (Failed, Unavailable) as error:
                log.warning("machines cannot be watched: %s", error)
                time.sleep(1)

    def sweep(self) -> None:
        found = {m.name: m for m in self.host.virt.machines()}
        changed = [m for m in found.values() if self._known.get(m.name) != (m.state, m.vnc_port)]
        gone = [MachineState(name, "", "Stopped") for name in self._known if name not in found]
        self._known = {m.name: (m.state, m.vnc_port) for m in found.values()}
        if changed or gone:
            self.report("machines", plain([*changed, *gone]))
