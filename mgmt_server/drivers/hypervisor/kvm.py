"""KVM hosts, through the agent that runs on each of them."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID, uuid5

from mgmt_server.drivers import waits
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.model.settings import Setting
from mgmt_server.protocol.codec import build, plain
from mgmt_server.protocol.correlation import current
from mgmt_server.protocol.identity import CertificateRequest
from mgmt_server.protocol.machine import (
    Disk,
    HostFacts,
    HostStatistics,
    Machine,
    MachineState,
    MachineStatistics,
    Move,
    Nic,
    Pool,
    StageResult,
    Unmanaged,
)
from mgmt_server.protocol.router import Applied, RouterDocument

# seconds until the answer of an agent is given up; what is given up is not sent again
QUICK, USUAL, START, STOP, ROUTER, FETCH = 15.0, 60.0, 120.0, 150.0, 240.0, 6.5 * 3600
CONVERGE = Setting(
    "kvm.auto.convergence",
    "Whether a guest that changes its memory faster than it can move is slowed down until it has moved",
)


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


class Asking:
    """Asks the agent of a host."""

    def __init__(self, link: Ask) -> None:
        self.link = link

    def _tell(self, call: UUID, host: HostRef, type: str, timeout: float, **body: Any) -> Any:
        return self.link.ask(
            _agent(host), type, plain(body), call=call, timeout=timeout, correlation=current.get() or str(call)
        )

    def _question(self, host: HostRef, type: str, timeout: float = QUICK, **body: Any) -> Any:
        return self.link.ask(_agent(host), type, body, timeout=timeout)


class Kvm(Asking):
    def start(self, call: UUID, host: HostRef, machine: Machine) -> MachineState:
        return build(MachineState, self._tell(call, host, "start", START, machine=machine))

    def stop(self, call: UUID, host: HostRef, name: str, forced: bool) -> None:
        self._tell(call, host, "stop", STOP, name=name, forced=forced)

    def reboot(self, call: UUID, host: HostRef, name: str) -> None:
        self._tell(call, host, "reboot", START, name=name)

    def forget(self, call: UUID, host: HostRef, name: str) -> None:
        self._tell(call, host, "forget", USUAL, name=name)

    def define(self, call: UUID, host: HostRef, machine: Machine) -> None:
        self._tell(call, host, "define", USUAL, machine=machine)

    def facts(self, host: HostRef) -> HostFacts:
        return build(HostFacts, self._question(host, "facts"))

    def machines(self, host: HostRef) -> list[MachineState]:
        return build(list[MachineState], self._question(host, "machines"))

    def statistics(self, host: HostRef, seconds: float) -> HostStatistics:
        return build(HostStatistics, self._question(host, "statistics", seconds))

    def machine_statistics(self, host: HostRef, names: list[str], seconds: float) -> list[MachineStatistics]:
        return build(list[MachineStatistics], self._question(host, "machine_statistics", seconds, names=names))

    def attach_disk(self, call: UUID, host: HostRef, name: str, disk: Disk) -> None:
        self._tell(call, host, "attach_disk", USUAL, name=name, disk=disk)

    def detach_disk(self, call: UUID, host: HostRef, name: str, disk: Disk) -> None:
        self._tell(call, host, "detach_disk", START, name=name, disk=disk)

    def attach_nic(self, call: UUID, host: HostRef, name: str, nic: Nic) -> None:
        self._tell(call, host, "attach_nic", USUAL, name=name, nic=nic)

    def detach_nic(self, call: UUID, host: HostRef, name: str, nic: Nic) -> None:
        self._tell(call, host, "detach_nic", START, name=name, nic=nic)

    def change_iso(self, call: UUID, host: HostRef, name: str, iso: str, pool: Pool | None = None) -> None:
        self._tell(call, host, "change_iso", USUAL, name=name, iso=iso, pool=pool)

    def scale(self, call: UUID, host: HostRef, name: str, cpus: int, speed: int, memory: int) -> None:
        self._tell(call, host, "scale", USUAL, name=name, cpus=cpus, speed=speed, memory=memory)

    def migrate(
        self, call: UUID, host: HostRef, target: HostRef, machine: Machine, moves: tuple[Move, ...]
    ) -> MachineState:
        ready = self._tell(uuid5(call, "receive"), target, "receive", START, machine=machine, moves=moves)
        try:
            seconds = waits.MIGRATE.number()
            self._tell(
                call, host, "migrate", seconds + START,
                machine=machine, moves=moves, target=ready, seconds=seconds, converge=CONVERGE.flag(),
            )  # fmt: skip
        except Failed:
            gone = self._tell(uuid5(call, "unreceive"), target, "unreceive", START, machine=machine, moves=moves)
            if gone is not False:
                raise
            # it runs there: whatever failed, failed after it had gone
        return build(MachineState, self._tell(uuid5(call, "received"), target, "received", START, machine=machine))

    def snapshot(self, call: UUID, host: HostRef, name: str, point: str, memory: bool) -> None:
        self._tell(call, host, "snapshot", waits.MACHINE.number(), name=name, point=point, memory=memory)

    def revert(self, call: UUID, host: HostRef, machine: Machine, point: str) -> MachineState:
        return build(
            MachineState, self._tell(call, host, "revert", waits.MACHINE.number(), machine=machine, point=point)
        )

    def delete_snapshot(self, call: UUID, host: HostRef, name: str, point: str) -> None:
        self._tell(call, host, "delete_snapshot", waits.MACHINE.number(), name=name, point=point)

    def describe(self, host: HostRef) -> list[Unmanaged]:
        return build(list[Unmanaged], self._question(host, "describe", USUAL))

    def maintain(self, call: UUID, host: HostRef, stage: str, payload: str, timeout: int) -> StageResult:
        # the host may be started anew meanwhile: its agent takes the call up again when it is back
        told = self._tell(
            call, host, "maintain", timeout + USUAL, run=str(call), stage=stage, payload=payload, seconds=timeout
        )
        return build(StageResult, told)

    def configure_router(self, call: UUID, host: HostRef, document: RouterDocument) -> Applied:
        return build(Applied, self._tell(call, host, "configure_router", ROUTER, document=document))

    def certificate_request(self, host: HostRef) -> CertificateRequest:
        return build(CertificateRequest, self._question(host, "certificate_request"))

    def take_certificate(self, call: UUID, host: HostRef, certificate: str, relink: bool) -> None:
        self._tell(call, host, "take_certificate", USUAL, certificate=certificate, relink=relink)


def _agent(host: HostRef) -> str:
    if not host.agent:
        raise Unavailable(f"The host {host.name} has no agent: enrol one there, then add the host again")
    return host.agent
