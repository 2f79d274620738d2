"""What a hypervisor must be able to do. Every method may be repeated with the same call id, and is idempotent by name.

`call` identifies the effect: the far end recognises a repeat and gives the first answer again. `host` says where.
Raises `Unavailable` when the host does not answer, `Failed` with the host's own words when it tried and could not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from mgmt_server.protocol.machine import Disk, HostStatistics, Image, Machine, MachineState, MachineStatistics, Pool
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

    def machines(self, host: HostRef) -> list[MachineState]:
        """All machines that the host knows, also those that nobody here started."""

    def statistics(self, host: HostRef) -> HostStatistics: ...

    def machine_statistics(self, host: HostRef, names: list[str]) -> list[MachineStatistics]: ...

    def add_pool(self, call: UUID, host: HostRef, pool: Pool) -> tuple[int, int]:
        """Make a pool usable on the host: bytes used, bytes there."""

    def remove_pool(self, call: UUID, host: HostRef, pool: Pool) -> None: ...

    def cache_template(self, call: UUID, host: HostRef, pool: Pool, image: Image) -> str:
        """Have the image in the pool, fetched from its store: the name to use as `Disk.backing`."""

    def create_disk(self, call: UUID, host: HostRef, disk: Disk) -> int:
        """Bytes that the disk takes now."""

    def delete_disk(self, call: UUID, host: HostRef, disk: Disk) -> None: ...

    def configure_router(self, call: UUID, host: HostRef, document: RouterDocument) -> Applied: ...
