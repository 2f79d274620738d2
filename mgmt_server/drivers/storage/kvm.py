"""The pools of KVM hosts, through the agent that runs on each of them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.drivers import waits
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.kvm import FETCH, START, STOP, USUAL, Asking
from mgmt_server.model.host import Host
from mgmt_server.protocol.codec import build, plain
from mgmt_server.protocol.machine import Disk, DiskFile, File, Image, Pool, PoolFile, Saved


class KvmStorage(Asking):
    def add_pool(self, call: UUID, host: HostRef, pool: Pool) -> tuple[int, int]:
        return build(tuple[int, int], self._tell(call, host, "add_pool", 90.0, pool=pool))

    def remove_pool(self, call: UUID, host: HostRef, pool: Pool) -> None:
        self._tell(call, host, "remove_pool", 90.0, pool=pool)

    def cache_template(self, call: UUID, host: HostRef, pool: Pool, image: Image) -> str:
        return build(str, self._tell(call, host, "cache_template", waits.CACHE.number(), pool=pool, image=image))

    def create_disk(self, call: UUID, host: HostRef, disk: Disk) -> int:
        return build(int, self._tell(call, host, "create_disk", STOP, disk=disk))

    def delete_disk(self, call: UUID, host: HostRef, disk: Disk) -> None:
        self._tell(call, host, "delete_disk", USUAL, disk=disk)

    def resize_disk(self, call: UUID, host: HostRef, disk: Disk, size: int, machine: str) -> int:
        return build(int, self._tell(call, host, "resize_disk", STOP, disk=disk, size=size, machine=machine))

    def copy_disk(self, call: UUID, host: HostRef, source: Disk, target: Disk) -> int:
        return build(int, self._tell(call, host, "copy_disk", waits.OFFLINE.number(), source=source, target=target))

    def move_disk(self, call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> None:
        self._tell(call, host, "move_disk", waits.ONLINE.number(), source=source, target=target, machine=machine)

    def settle_disk(self, call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> bool:
        body = {"source": source, "target": target, "machine": machine}
        return build(bool, self._tell(call, host, "settle_disk", START, **body))

    def limit_disk(self, call: UUID, host: HostRef, disk: Disk, machine: str) -> None:
        self._tell(call, host, "limit_disk", USUAL, disk=disk, machine=machine)

    def save_disk(
        self, call: UUID, host: HostRef, disk: Disk, machine: str, file: File, since: str, point: str
    ) -> Saved:
        body = {"disk": disk, "machine": machine, "file": file, "since": since, "point": point}
        return build(Saved, self._tell(call, host, "save_disk", waits.saving(file.path), **body))

    def save_point(self, call: UUID, host: HostRef, disk: Disk, machine: str, file: File, point: str) -> Saved:
        body = {"disk": disk, "machine": machine, "file": file, "point": point}
        return build(Saved, self._tell(call, host, "save_point", waits.saving(file.path), **body))

    def forget_point(self, call: UUID, host: HostRef, disk: Disk, machine: str, point: str) -> None:
        self._tell(call, host, "forget_point", USUAL, disk=disk, machine=machine, point=point)

    def load_disk(self, call: UUID, host: HostRef, disk: Disk, chain: tuple[Image, ...]) -> int:
        return build(int, self._tell(call, host, "load_disk", waits.loading(chain[0].path), disk=disk, chain=chain))

    def check_disk(self, call: UUID, host: HostRef, disk: Disk, repair: str) -> dict[str, str]:
        return build(dict[str, str], self._tell(call, host, "check_disk", FETCH, disk=disk, repair=repair))

    def files(self, host: HostRef, pool: Pool, folder: str) -> list[PoolFile]:
        return build(list[PoolFile], self._question(host, "files", USUAL, pool=plain(pool), folder=folder))

    def look(self, host: HostRef, pool: Pool, names: tuple[str, ...]) -> list[DiskFile]:
        return build(list[DiskFile], self._question(host, "look", USUAL, pool=plain(pool), names=list(names)))

    def beats(self, host: HostRef, pool: Pool) -> dict[str, float]:
        """Hosts call themselves by their agents' ids; one that is no host any more is left out."""
        ages = build(dict[str, float], self._question(host, "beats", pool=plain(pool)))
        with reading() as session:
            rows = session.execute(select(Host.agent, Host.uuid).where(Host.agent.in_(ages), Host.removed.is_(None)))
            return {uuid: ages[agent] for agent, uuid in rows if agent is not None}
