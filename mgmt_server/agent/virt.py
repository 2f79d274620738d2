"""libvirt: machines started, stopped, watched and counted. Safe to use from many threads; nothing here waits for a
guest longer than it is told to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import libvirt

from mgmt_server.agent import recovery
from mgmt_server.agent.domain import AGENT_PORT
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.machine import MachineState, MachineStatistics

log = logging.getLogger(__name__)

STATES = {
    libvirt.VIR_DOMAIN_RUNNING: "Running",
    libvirt.VIR_DOMAIN_BLOCKED: "Running",
    libvirt.VIR_DOMAIN_SHUTDOWN: "Running",  # on its way, and still holding its disks
    libvirt.VIR_DOMAIN_PAUSED: "Paused",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "Paused",
    libvirt.VIR_DOMAIN_SHUTOFF: "Stopped",
    libvirt.VIR_DOMAIN_CRASHED: "Stopped",
}
GONE = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
REBOOT_PATIENCE = 30.0  # seconds for a guest to follow the power button before it is reset
WATCH = 0.25  # seconds between looks at a machine that is going down
_loop_started = threading.Lock()
_loop: threading.Thread | None = None


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def start_event_loop() -> None:
    """Once in a process, before the first connection."""
    global _loop
    with _loop_started:
        if _loop is None:
            libvirt.virEventRegisterDefaultImpl()
            libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised; nothing is to print them as well
            _loop = threading.Thread(target=_run_event_loop, name="libvirt", daemon=True)
            _loop.start()


class Virt:
    """`changed` is called, in libvirt's thread, with the name of a machine whose power state may have changed."""

    def __init__(self, uri: str, changed: Callable[[str], None] = lambda name: None) -> None:
        self.uri, self.changed = uri, changed
        self._lock = threading.Lock()
        self._mending = threading.Lock()
        self._connection: Any = None
        self._rebooted: dict[str, float] = {}
        self._ports: dict[tuple[str, int], int] = {}  # (uuid, number of its run) -> where its screen is
        self._samples: dict[str, tuple[float, int, float]] = {}  # name -> (when, CPU ns, percent then)
        start_event_loop()

    def connection(self) -> Any:
        """Raises Unavailable while libvirt does not answer."""
        with self._lock:
            if self._connection is not None and self._connection.isAlive():
                return self._connection
            try:
                connection = libvirt.open(self.uri)
            except libvirt.libvirtError as error:
                raise Unavailable(
                    f"libvirt does not answer on this host: {error}. See `systemctl status libvirtd`"
                ) from None
            if not self.uri.startswith("test:"):
                connection.setKeepAlive(5, 5)
            for event, callback in (
                (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
                (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot),
            ):
                connection.domainEventRegisterAny(None, event, callback, None)
            self._connection = connection
            return connection

    def _on_lifecycle(self, connection: Any, domain: Any, event: int, detail: int, opaque: Any) -> None:
        self.changed(domain.name())

    def _on_reboot(self, connection: Any, domain: Any, opaque: Any) -> None:
        self._rebooted[domain.name()] = time.monotonic()

    def node(self) -> tuple[str, Any]:
        """The hypervisor's version as text, and what virNodeGetInfo says."""
        with told():
            connection = self.connection()
            number = connection.getVersion()
            return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}", connection.getInfo()

    # --- looking ----------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Any:
        """libvirt's object, or None."""
        try:
            return self.connection().lookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise Unavailable(f"libvirt cannot look for {name}: {error}") from None

    def mended(self, name: str) -> Any:
        """`find`, once libvirt can work on it: see recovery."""
        domain = self.find(name)
        if domain is None or not domain.isActive() or not recovery.left_behind(domain):
            return domain
        with self._mending:
            active = self.connection().listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            names = [d.name() for d in active if recovery.left_behind(d)]
            if names:  # another thread may have been quicker
                recovery.let_go(names)
        return self.find(name)

    def free(self, name: str) -> Any:
        """`find`, of one that runs: once libvirt does not wait for a backup any more that it knows nothing of."""
        domain = self.find(name)
        if domain is None or not domain.isActive() or not recovery.half_saved(domain):
            return domain
        with self._mending:
            if recovery.half_saved(domain):  # another thread may have been quicker
                recovery.end_saving(name)
        return self.find(name)

    def state(self, name: str) -> MachineState:
        domain = self.find(name)
        return MachineState(name, "", "Stopped") if domain is None else state_of(domain)

    def machines(self) -> list[MachineState]:
        with told():
            domains = self.connection().listAllDomains()
        found = []
        ports: dict[tuple[str, int], int] = dict(self._ports)
        for domain in domains:
            try:
                found.append(state_of(domain, ports))
            except libvirt.libvirtError:
                continue  # it went while we looked
        running = {m.uuid for m in found if m.state != "Stopped"}
        self._ports = {run: port for run, port in ports.items() if run[0] in running}
        return found

    def agent_socket(self, name: str) -> str:
        """The host's end of a system VM's port. Raises Failed when the machine does not run or has none."""
        domain = self.find(name)
        if domain is None or not domain.isActive():
            raise Failed(f"{name} does not run on this host")
        with told():
            root = ElementTree.fromstring(domain.XMLDesc())  # noqa: S314  libvirt's own
        for channel in root.iterfind("devices/channel"):
            target, source = channel.find("target"), channel.find("source")
            if target is not None and target.get("name") == AGENT_PORT and source is not None and source.get("path"):
                return str(source.get("path"))
        raise Failed(f"{name} has no port {AGENT_PORT}: it was not started as a system VM")

    # --- doing ------------------------------------------------------------------------------------------------------

    def start(self, name: str, uuid: str, xml: str) -> MachineState:
        """Nothing where it runs already. A machine of that name with another uuid is somebody else's."""
        with told():
            domain = self.own(name, uuid)
            if domain is not None and domain.isActive():
                if not _half_started(domain):
                    running = state_of(domain)
                    if running.state != "Stopped":  # else it ended since: libvirt ends by itself what it left half
                        return running
                with told(GONE):
                    domain.destroy()
            domain = self.connection().defineXML(xml)
            try:
                domain.create()
            except libvirt.libvirtError:
                undefine(domain)
                raise
            return state_of(domain)

    def own(self, name: str, uuid: str) -> Any:
        """The machine of that name, or None. What stands in its way is forgotten, unless it runs: another one of its
        name, or what this host still has of it under the name that it had when it was another account's."""
        domain = self.mended(name)
        if domain is not None and domain.UUIDString() != uuid:
            if domain.isActive():
                raise Failed(f"another machine named {name} runs on this host (uuid {domain.UUIDString()})")
            undefine(domain)
            domain = None
        if domain is None:
            self._forget_former(name, uuid)
        return domain

    def _forget_former(self, name: str, uuid: str) -> None:
        try:
            former = self.connection().lookupByUUIDString(uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return
            raise
        if former.isActive():
            raise Failed(f"{name} runs on this host as {former.name()}: stop that first")
        log.info("%s was %s when it was last on this host: that is forgotten", name, former.name())
        undefine(former)

    def define(self, name: str, uuid: str, xml: str) -> None:
        with told():
            domain = self.own(name, uuid)
            if domain is not None and domain.isActive():
                raise Failed(f"{name} runs on this host: it must be stopped before it is defined anew")
            self.connection().defineXML(xml)

    def stop(self, name: str, *, forced: bool, grace: float) -> None:
        """By the power button first, unless `forced`; the power is cut after `grace` seconds."""
        domain = self.mended(name)
        if domain is None or not domain.isActive():
            return
        with told(GONE):
            if not forced:
                domain.shutdown()
                if self._wait(grace, lambda: not domain.isActive()):
                    return
            domain.destroy()

    def reboot(self, name: str) -> None:
        domain = self.find(name)
        if domain is None or not domain.isActive():
            raise Failed(f"{name} does not run on this host")
        with told():
            before = time.monotonic()
            domain.reboot(0)
            if not self._wait(REBOOT_PATIENCE, lambda: self._rebooted.get(name, 0.0) >= before):
                log.info("%s does not listen to the power button: it is reset", name)
                domain.reset(0)

    def forget(self, name: str) -> None:
        domain = self.mended(name)
        if domain is None:
            return
        if domain.isActive():
            raise Failed(f"{name} runs: it must be stopped before it can be forgotten")
        with told(GONE):
            undefine(domain)
        self._samples.pop(name, None)
        self._rebooted.pop(name, None)

    @staticmethod
    def _wait(seconds: float, condition: Callable[[], Any]) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= end:
                return False
            time.sleep(WATCH)
        return True

    # --- counting ---------------------------------------------------------------------------------------------------

    def statistics(self, names: list[str]) -> list[MachineStatistics]:
        """Of those that run; `names` empty: of all."""
        with told():
            connection = self.connection()
            domains = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            wanted = [d for d in domains if not names or d.name() in names]
            found = connection.domainListGetStats(wanted, 0, 0) if wanted else []
        return [self._statistics(domain.name(), figures) for domain, figures in found]

    def _statistics(self, name: str, figures: dict[str, Any]) -> MachineStatistics:
        def total(kind: str, *what: str) -> int:
            each = range(figures.get(f"{kind}.count", 0))
            return sum(figures.get(f"{kind}.{n}.{w}", 0) for n in each for w in what)

        # without cgroups libvirt knows the time of each virtual CPU alone
        each = sum(figures.get(f"vcpu.{n}.time", 0) for n in range(figures.get("vcpu.maximum", 0)))
        return MachineStatistics(
            name=name,
            cpu_used=self._cpu(name, figures.get("cpu.time", each), figures.get("vcpu.current", 1)),
            network_read=total("net", "rx.bytes") // 1024,
            network_written=total("net", "tx.bytes") // 1024,
            disk_read=total("block", "rd.bytes") // 1024,
            disk_written=total("block", "wr.bytes") // 1024,
            disk_reads=total("block", "rd.reqs"),
            disk_writes=total("block", "wr.reqs"),
            memory=figures.get("balloon.current", 0),
            memory_free=figures.get("balloon.unused", 0),
        )

    def _cpu(self, name: str, used: int, cpus: int) -> float:
        """Percent of all its CPUs since the last look, at least a second ago."""
        moment = time.monotonic()
        when, before, percent = self._samples.get(name, (moment, used, 0.0))
        if moment - when >= 1.0:
            percent = round(100.0 * (used - before) / 1e9 / (moment - when) / max(1, cpus), 2)
        elif name in self._samples:
            return percent
        self._samples[name] = (moment, used, max(0.0, percent))
        return self._samples[name][2]


def undefine(domain: Any) -> None:
    domain.undefineFlags(
        libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    )


def state_of(domain: Any, ports: dict[tuple[str, int], int] | None = None) -> MachineState:
    """`ports`: of runs of machines, as far as they are known; a port stays for as long as a machine runs."""
    state, uuid = STATES.get(domain.state()[0], "Unknown"), domain.UUIDString()
    port = 0
    if state != "Stopped":
        run = (uuid, domain.ID())
        port = ports.get(run, 0) if ports is not None else 0
        if port == 0:
            graphics = ElementTree.fromstring(domain.XMLDesc()).find("devices/graphics")  # noqa: S314  libvirt's own
            port = max(0, int(graphics.get("port", "0"))) if graphics is not None else 0
        if ports is not None:
            ports[run] = port
    return MachineState(domain.name(), uuid, state, port)


def _half_started(domain: Any) -> bool:
    """Whether libvirt died amid its start: the guest never ran, and libvirt is about to end it."""
    return bool(domain.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP])


@contextmanager
def told(ignored: tuple[int, ...] = ()) -> Iterator[None]:
    """libvirt's errors in its own words: Unavailable where it is away, nothing for the codes in `ignored`."""
    try:
        yield
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        if code in ignored:
            return
        away = error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
        # INTERNAL_ERROR: the socket was closed under a call
        broken = away and code in (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR)
        if broken or code in (libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_NO_CONNECT):
            raise Unavailable(f"libvirt does not answer on this host: {error}") from None
        if code == libvirt.VIR_ERR_OPERATION_TIMEOUT:  # as after its restart amid a machine's start
            raise Unavailable(f"libvirt is still at something else: {error}") from None
        raise Failed(str(error)) from None
