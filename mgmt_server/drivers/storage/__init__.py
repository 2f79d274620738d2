"""What primary storage must be able to do, asked of a host that reaches it.

Like a hypervisor's methods, each may be repeated with the same call id and is idempotent by name. `machine` names the
running machine that has the disk, and is empty where none runs with it: hosts treat a disk in use through its machine.
Raises `Unavailable` when the host does not answer, `Failed` with the host's own words when it tried and could not.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.protocol.machine import Disk, DiskFile, File, Image, Pool, PoolFile, Saved


class Storage(Protocol):
    def add_pool(self, call: UUID, host: HostRef, pool: Pool) -> tuple[int, int]:
        """Make a pool usable on the host: bytes used, bytes there."""

    def remove_pool(self, call: UUID, host: HostRef, pool: Pool) -> None: ...

    def cache_template(self, call: UUID, host: HostRef, pool: Pool, image: Image) -> str:
        """Have the image in the pool, fetched from its store: the name to use as `Disk.backing`."""

    def create_disk(self, call: UUID, host: HostRef, disk: Disk) -> int:
        """Bytes that the disk takes now."""

    def delete_disk(self, call: UUID, host: HostRef, disk: Disk) -> None: ...

    def resize_disk(self, call: UUID, host: HostRef, disk: Disk, size: int, machine: str) -> int:
        """Its virtual size from now on, in bytes. Smaller only where no machine runs with it."""

    def copy_disk(self, call: UUID, host: HostRef, source: Disk, target: Disk) -> int:
        """A disk that no machine runs with, whole, into another pool: bytes that it takes there."""

    def move_disk(self, call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> None:
        """The disk of a running machine into another pool while it runs. The source stays; delete_disk removes it."""

    def settle_disk(self, call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> bool:
        """What has become of `move_disk`: whether the machine has its disk in the target now, and will have it there.

        Waits for a move that is under way, and ends a copy that nobody waits for any more. Raises Failed where the host
        cannot tell: it does not know the machine, or that has neither of the two.
        """

    def limit_disk(self, call: UUID, host: HostRef, disk: Disk, machine: str) -> None:
        """The limits that stand in `disk`, for the running machine."""

    def save_disk(
        self, call: UUID, host: HostRef, disk: Disk, machine: str, file: File, since: str, point: str
    ) -> Saved:
        """Copy a disk as it is now to secondary storage, without stopping its machine.

        since: a point of an earlier save; where the host still follows changes from it, only those are copied, and the
        answer's `whole` is False. Empty: everything, flattened.
        point: what to call this moment, so that later saves can build on it; empty: nothing is followed.
        """

    def save_point(self, call: UUID, host: HostRef, disk: Disk, machine: str, file: File, point: str) -> Saved:
        """Copy a disk as it was at a snapshot of its machine, which is kept in it, to secondary storage."""

    def forget_point(self, call: UUID, host: HostRef, disk: Disk, machine: str, point: str) -> None:
        """Follow changes since a point no more. One that is not there is fine."""

    def load_disk(self, call: UUID, host: HostRef, disk: Disk, chain: tuple[Image, ...]) -> int:
        """Make a disk of files on secondary storage, each standing on the one before: bytes that it takes.

        A disk of that name that is there already is replaced in one step, once the new content is whole.
        """

    def check_disk(self, call: UUID, host: HostRef, disk: Disk, repair: str) -> dict[str, str]:
        """What is wrong with the file of a disk that no machine runs with. `repair`: leaks or all; empty: nothing."""

    def files(self, host: HostRef, pool: Pool, folder: str) -> list[PoolFile]:
        """What lies in a folder of the pool, empty for its top one. Raises Failed for one that is not there."""

    def look(self, host: HostRef, pool: Pool, names: tuple[str, ...]) -> list[DiskFile]:
        """Look into files of the pool, whoever put them there."""

    def beats(self, host: HostRef, pool: Pool) -> dict[str, float]:
        """Seconds since each host that uses the pool has last left its sign of life in it: by the host's uuid."""
