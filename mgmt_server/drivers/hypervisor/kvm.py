"""KVM hosts, through the agent that runs on each of them."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.errors import Unavailable
from mgmt_server.protocol.codec import build, plain
from mgmt_server.protocol.correlation import current
from mgmt_server.protocol.machine import (
    Disk,
    HostFacts,
    HostStatistics,
    Image,
    Machine,
    MachineState,
    MachineStatistics,
    Pool,
)
from mgmt_server.protocol.router import Applied, RouterDocument

# seconds until the answer of an agent is given up; what is given up is not sent again
QUICK, USUAL, START, STOP, ROUTER, FETCH = 15.0, 60.0, 120.0, 150.0, 240.0, 3700.0


class Ask(Protocol):
    """What is needed of the agent link."""

    def ask(
        self,
        agent: str,
        type: str,
        body: Any = None,
        *,
        call: UUID | None = None,
        timeout: float = USUAL,
        correlation: str = "",
    ) -> Any: ...


class Kvm:
    def __init__(self, link: Ask) -> None:
        self.link = link

    def _tell(self, call: UUID, host: HostRef, type: str, timeout: float, **body: Any) -> Any:
        return self.link.ask(
            _agent(host), type, plain(body), call=call, timeout=timeout, correlation=current.get() or str(call)
        )

    def _question(self, host: HostRef, type: str, timeout: float = QUICK, **body: Any) -> Any:
        return self.link.ask(_agent(host), type, body, timeout=timeout)

    def start(self, call: UUID, host: HostRef, machine: Machine) -> MachineState:
        return build(MachineState, self._tell(call, host, "start", START, machine=machine))

    def stop(self, call: UUID, host: HostRef, name: str, forced: bool) -> None:
        self._tell(call, host, "stop", STOP, name=name, forced=forced)

    def reboot(self, call: UUID, host: HostRef, name: str) -> None:
        self._tell(call, host, "reboot", START, name=name)

    def forget(self, call: UUID, host: HostRef, name: str) -> None:
        self._tell(call, host, "forget", USUAL, name=name)

    def facts(self, host: HostRef) -> HostFacts:
        return build(HostFacts, self._question(host, "facts"))

    def machines(self, host: HostRef) -> list[MachineState]:
        return build(list[MachineState], self._question(host, "machines"))

    def statistics(self, host: HostRef) -> HostStatistics:
        return build(HostStatistics, self._question(host, "statistics"))

    def machine_statistics(self, host: HostRef, names: list[str]) -> list[MachineStatistics]:
        return build(list[MachineStatistics], self._question(host, "machine_statistics", USUAL, names=names))

    def add_pool(self, call: UUID, host: HostRef, pool: Pool) -> tuple[int, int]:
        return build(tuple[int, int], self._tell(call, host, "add_pool", 90.0, pool=pool))

    def remove_pool(self, call: UUID, host: HostRef, pool: Pool) -> None:
        self._tell(call, host, "remove_pool", 90.0, pool=pool)

    def cache_template(self, call: UUID, host: HostRef, pool: Pool, image: Image) -> str:
        return build(str, self._tell(call, host, "cache_template", FETCH, pool=pool, image=image))

    def create_disk(self, call: UUID, host: HostRef, disk: Disk) -> int:
        return build(int, self._tell(call, host, "create_disk", STOP, disk=disk))

    def delete_disk(self, call: UUID, host: HostRef, disk: Disk) -> None:
        self._tell(call, host, "delete_disk", USUAL, disk=disk)

    def configure_router(self, call: UUID, host: HostRef, document: RouterDocument) -> Applied:
        return build(Applied, self._tell(call, host, "configure_router", ROUTER, document=document))


def _agent(host: HostRef) -> str:
    if not host.agent:
        raise Unavailable(f"The host {host.name} has no agent: enrol one there, then add the host again")
    return host.agent
