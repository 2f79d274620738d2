"""The storage protocol as functions: steps of flows. Each picks the driver of the host's hypervisor.

Undos take the arguments of their step. See `Storage` for what each means and raises.
"""

from __future__ import annotations

from uuid import UUID

from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import Storage
from mgmt_server.errors import Unavailable
from mgmt_server.protocol.machine import Disk, DiskFile, File, Image, Pool, PoolFile, Saved

_drivers: dict[str, Storage] = {}


def use(hypervisor: str, found: Storage) -> None:
    """Have the pools of all hosts of a hypervisor asked through this driver."""
    _drivers[hypervisor] = found


def driver(host: HostRef) -> Storage:
    """Raises Unavailable for a hypervisor that this process cannot talk to."""
    if host.hypervisor == "Simulator" and "Simulator" not in _drivers:
        from mgmt_server.drivers.storage import simulator

        use("Simulator", simulator.SimulatedStorage())
    if host.hypervisor not in _drivers:
        raise Unavailable(
            f"host {host.name} ({host.hypervisor}) cannot be asked: this server has no way to it. For KVM hosts, set "
            "agents_listen in its configuration"
        )
    return _drivers[host.hypervisor]


def add_pool(call: UUID, host: HostRef, pool: Pool) -> tuple[int, int]:
    return driver(host).add_pool(call, host, pool)


def remove_pool(call: UUID, host: HostRef, pool: Pool) -> None:
    """Also the undo of `add_pool`."""
    driver(host).remove_pool(call, host, pool)


def cache_template(call: UUID, host: HostRef, pool: Pool, image: Image) -> str:
    return driver(host).cache_template(call, host, pool, image)


def create_disk(call: UUID, host: HostRef, disk: Disk) -> int:
    return driver(host).create_disk(call, host, disk)


def delete_disk(call: UUID, host: HostRef, disk: Disk) -> None:
    """Also the undo of `create_disk`."""
    driver(host).delete_disk(call, host, disk)


def resize_disk(call: UUID, host: HostRef, disk: Disk, size: int, machine: str) -> int:
    return driver(host).resize_disk(call, host, disk, size, machine)


def copy_disk(call: UUID, host: HostRef, source: Disk, target: Disk) -> int:
    return driver(host).copy_disk(call, host, source, target)


def uncopy_disk(call: UUID, host: HostRef, source: Disk, target: Disk) -> None:
    """Undo of `copy_disk`."""
    driver(host).delete_disk(call, host, target)


def move_disk(call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> None:
    driver(host).move_disk(call, host, source, target, machine)


def settle_disk(call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> bool:
    return driver(host).settle_disk(call, host, source, target, machine)


def limit_disk(call: UUID, host: HostRef, disk: Disk, machine: str) -> None:
    driver(host).limit_disk(call, host, disk, machine)


def save_disk(call: UUID, host: HostRef, disk: Disk, machine: str, file: File, since: str, point: str) -> Saved:
    return driver(host).save_disk(call, host, disk, machine, file, since, point)


def save_point(call: UUID, host: HostRef, disk: Disk, machine: str, file: File, point: str) -> Saved:
    return driver(host).save_point(call, host, disk, machine, file, point)


def forget_point(call: UUID, host: HostRef, disk: Disk, machine: str, point: str) -> None:
    driver(host).forget_point(call, host, disk, machine, point)


def load_disk(call: UUID, host: HostRef, disk: Disk, chain: tuple[Image, ...]) -> int:
    return driver(host).load_disk(call, host, disk, chain)


def check_disk(call: UUID, host: HostRef, disk: Disk, repair: str) -> dict[str, str]:
    return driver(host).check_disk(call, host, disk, repair)


def files(host: HostRef, pool: Pool, folder: str = "") -> list[PoolFile]:
    return driver(host).files(host, pool, folder)


def look(host: HostRef, pool: Pool, names: tuple[str, ...]) -> list[DiskFile]:
    return driver(host).look(host, pool, names)


def beats(host: HostRef, pool: Pool) -> dict[str, float]:
    return driver(host).beats(host, pool)
