"""The hypervisor protocol as functions: steps of flows. Each picks the driver of the host's hypervisor.

    job.call(dispatch.start, host, machine, undo=dispatch.stop_forced)

Undos take the arguments of their step. See `Hypervisor` for what each means and raises.
"""

from __future__ import annotations

from uuid import UUID, uuid5

from mgmt_server.drivers.hypervisor import HostRef, Hypervisor
from mgmt_server.errors import Unavailable
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

_drivers: dict[str, Hypervisor] = {}


def use(hypervisor: str, found: Hypervisor) -> None:
    """Have all hosts of a hypervisor asked through this driver."""
    _drivers[hypervisor] = found


def driver(host: HostRef) -> Hypervisor:
    """Raises Unavailable for a hypervisor that this process cannot talk to."""
    if host.hypervisor == "Simulator" and "Simulator" not in _drivers:
        from mgmt_server.drivers.hypervisor import simulator

        use("Simulator", simulator.Simulator())
    if host.hypervisor == "KVM" and "KVM" not in _drivers:
        raise Unavailable(
            f"host {host.name} cannot be asked: this server has no agent link. Set agents_listen in its configuration"
        )
    if host.hypervisor not in _drivers:
        raise Unavailable(f"there is no driver for hypervisor {host.hypervisor} of host {host.name}")
    return _drivers[host.hypervisor]


def start(call: UUID, host: HostRef, machine: Machine) -> MachineState:
    return driver(host).start(call, host, machine)


def stop_forced(call: UUID, host: HostRef, machine: Machine) -> None:
    """Undo of `start`: nothing of the machine is left on the host. Its disks stay."""
    driver(host).stop(call, host, machine.name, True)
    driver(host).forget(uuid5(call, "forget"), host, machine.name)


def stop(call: UUID, host: HostRef, name: str, forced: bool) -> None:
    driver(host).stop(call, host, name, forced)


def reboot(call: UUID, host: HostRef, name: str) -> None:
    driver(host).reboot(call, host, name)


def forget(call: UUID, host: HostRef, name: str) -> None:
    driver(host).forget(call, host, name)


def define(call: UUID, host: HostRef, machine: Machine) -> None:
    driver(host).define(call, host, machine)


def facts(host: HostRef) -> HostFacts | None:
    """What a host says of itself now; None for a driver that cannot be asked."""
    ask = getattr(driver(host), "facts", None)
    found: HostFacts | None = ask(host) if ask is not None else None
    return found


def machines(host: HostRef) -> list[MachineState]:
    return driver(host).machines(host)


def statistics(host: HostRef, seconds: float = 60.0) -> HostStatistics:
    return driver(host).statistics(host, seconds)


def machine_statistics(host: HostRef, names: list[str], seconds: float = 60.0) -> list[MachineStatistics]:
    return driver(host).machine_statistics(host, names, seconds)


def attach_disk(call: UUID, host: HostRef, name: str, disk: Disk) -> None:
    driver(host).attach_disk(call, host, name, disk)


def detach_disk(call: UUID, host: HostRef, name: str, disk: Disk) -> None:
    """Also the undo of `attach_disk`."""
    driver(host).detach_disk(call, host, name, disk)


def attach_nic(call: UUID, host: HostRef, name: str, nic: Nic) -> None:
    driver(host).attach_nic(call, host, name, nic)


def detach_nic(call: UUID, host: HostRef, name: str, nic: Nic) -> None:
    """Also the undo of `attach_nic`."""
    driver(host).detach_nic(call, host, name, nic)


def change_iso(call: UUID, host: HostRef, name: str, iso: str, pool: Pool | None = None) -> None:
    driver(host).change_iso(call, host, name, iso, pool)


def scale(call: UUID, host: HostRef, name: str, cpus: int, speed: int, memory: int) -> None:
    driver(host).scale(call, host, name, cpus, speed, memory)


def migrate(call: UUID, host: HostRef, target: HostRef, machine: Machine, moves: tuple[Move, ...]) -> MachineState:
    return driver(host).migrate(call, host, target, machine, moves)


def snapshot(call: UUID, host: HostRef, name: str, point: str, memory: bool) -> None:
    driver(host).snapshot(call, host, name, point, memory)


def unsnapshot(call: UUID, host: HostRef, name: str, point: str, memory: bool) -> None:
    """Undo of `snapshot`."""
    driver(host).delete_snapshot(call, host, name, point)


def revert(call: UUID, host: HostRef, machine: Machine, point: str) -> MachineState:
    return driver(host).revert(call, host, machine, point)


def delete_snapshot(call: UUID, host: HostRef, name: str, point: str) -> None:
    driver(host).delete_snapshot(call, host, name, point)


def describe(host: HostRef) -> list[Unmanaged]:
    return driver(host).describe(host)


def maintain(call: UUID, host: HostRef, stage: str, payload: str, timeout: int) -> StageResult:
    return driver(host).maintain(call, host, stage, payload, timeout)


def certificate_request(call: UUID, host: HostRef) -> CertificateRequest:
    return driver(host).certificate_request(host)


def take_certificate(call: UUID, host: HostRef, certificate: str, relink: bool) -> None:
    driver(host).take_certificate(call, host, certificate, relink)


def configure_router(call: UUID, host: HostRef, document: RouterDocument) -> Applied:
    return driver(host).configure_router(call, host, document)
