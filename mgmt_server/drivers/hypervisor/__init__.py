"""What a hypervisor must be able to do. Every method may be repeated with the same call id, and is idempotent by name.

`call` identifies the effect: the far end recognises a repeat and gives the first answer again. `host` says where.
Raises `Unavailable` when the host does not answer, `Failed` with the host's own words when it tried and could not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from mgmt_server.protocol.identity import CertificateRequest
from mgmt_server.protocol.machine import (
    Disk,
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


@dataclass(frozen=True)
class HostRef:
    """A host as flows name it: plain, so that it can be noted with a step."""

    uuid: str
    name: str
    hypervisor: str  # KVM, Simulator
    agent: str = ""  # uuid of the agent that runs there


class Hypervisor(Protocol):
    def start(self, call: UUID, host: HostRef, machine: Machine) -> MachineState: ...

    def stop(self, call: UUID, host: HostRef, name: str, forced: bool) -> None:
        """Shut down as by the power button; cut the power when `forced` or when the guest does not listen."""

    def reboot(self, call: UUID, host: HostRef, name: str) -> None: ...

    def forget(self, call: UUID, host: HostRef, name: str) -> None:
        """Remove the definition of a stopped machine. Its disks stay."""

    def define(self, call: UUID, host: HostRef, machine: Machine) -> None:
        """Have the host know a machine that does not run, as it would start it; anew where it knows it already."""

    def machines(self, host: HostRef) -> list[MachineState]:
        """All machines that the host knows, also those that nobody here started."""

    def statistics(self, host: HostRef, seconds: float) -> HostStatistics:
        """`seconds`: how long it may take."""

    def machine_statistics(self, host: HostRef, names: list[str], seconds: float) -> list[MachineStatistics]: ...

    def attach_disk(self, call: UUID, host: HostRef, name: str, disk: Disk) -> None:
        """Give a disk to a running machine. It has to exist."""

    def detach_disk(self, call: UUID, host: HostRef, name: str, disk: Disk) -> None:
        """Take a disk from a running machine; returns when the guest has let go of it. Raises Failed if it does not."""

    def attach_nic(self, call: UUID, host: HostRef, name: str, nic: Nic) -> None: ...

    def detach_nic(self, call: UUID, host: HostRef, name: str, nic: Nic) -> None:
        """By its MAC."""

    def change_iso(self, call: UUID, host: HostRef, name: str, iso: str, pool: Pool | None = None) -> None:
        """Put an ISO (as `Machine.iso` and `iso_pool`) into the drive of a running machine; empty: take it out."""

    def scale(self, call: UUID, host: HostRef, name: str, cpus: int, speed: int, memory: int) -> None:
        """CPUs and memory (bytes) of a running machine, within its `most_cpus` and `most_memory`."""

    def migrate(
        self, call: UUID, host: HostRef, target: HostRef, machine: Machine, moves: tuple[Move, ...]
    ) -> MachineState:
        """Move a running machine, with the disks in `moves` to other pools: its state on the target.

        `machine` is what it shall be there, its disks where they will be. It runs on one of the two hosts afterwards,
        never on both: on `host` when this raises Failed. The sources of `moves` stay; delete_disk removes them.
        """

    def snapshot(self, call: UUID, host: HostRef, name: str, point: str, memory: bool) -> None:
        """Keep the state of all disks, and the memory of a running machine, within its disks."""

    def revert(self, call: UUID, host: HostRef, machine: Machine, point: str) -> MachineState:
        """Back to a snapshot: running when it has memory, else stopped."""

    def delete_snapshot(self, call: UUID, host: HostRef, name: str, point: str) -> None: ...

    def describe(self, host: HostRef) -> list[Unmanaged]:
        """All machines of the host with their disks and NICs."""

    def maintain(self, call: UUID, host: HostRef, stage: str, payload: str, timeout: int) -> StageResult:
        """Run the host's own script for a stage of its maintenance, for so many seconds at most."""

    def configure_router(self, call: UUID, host: HostRef, document: RouterDocument) -> Applied: ...

    def certificate_request(self, host: HostRef) -> CertificateRequest:
        """What the host wants signed. Raises Failed where hosts have no certificates."""

    def take_certificate(self, call: UUID, host: HostRef, certificate: str, relink: bool) -> None:
        """Give the host a new one, PEM. It is used from the next link on: `relink` makes that at once."""
