"""The pools of simulated hosts. What a disk holds is one number, so that a test can tell whose content came where:
a clone starts with its template's, and `touch` stands for a guest that writes.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import Session

from mgmt_server.db import changed, engine, new_uuid, now, reading, write
from mgmt_server.db.prepared import Sent, sent_as, to_send
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.faults import around
from mgmt_server.errors import Failed
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk, SimulatedFile, SimulatedMachine
from mgmt_server.model.storage import Pool as PoolRow
from mgmt_server.model.storage import PoolHost
from mgmt_server.protocol.machine import Disk, DiskFile, File, Image, Pool, PoolFile, Saved, UnmanagedDisk

POOL_SIZE = 1 << 40
EMPTY_CLONE = 196_616  # bytes of a fresh clone on disk


class SimulatedStorage:
    def add_pool(self, call: UUID, host: HostRef, pool: Pool) -> tuple[int, int]:
        with around("add_pool", host):
            return 0, POOL_SIZE

    def remove_pool(self, call: UUID, host: HostRef, pool: Pool) -> None:
        with around("remove_pool", host):
            return

    def cache_template(self, call: UUID, host: HostRef, pool: Pool, image: Image) -> str:
        with around("cache_template", host):
            return write(_cache, str(call), pool.uuid, image)

    def create_disk(self, call: UUID, host: HostRef, disk: Disk) -> int:
        with around("create_disk", host):
            write(_keep, str(call), disk.pool.uuid, disk.name, disk.size, disk.backing)
        return EMPTY_CLONE

    def delete_disk(self, call: UUID, host: HostRef, disk: Disk) -> None:
        with around("delete_disk", host):
            write(_delete, host, disk)

    def resize_disk(self, call: UUID, host: HostRef, disk: Disk, size: int, machine: str) -> int:
        with around("resize_disk", host):
            if not write(_resize, disk, size):
                raise _missing(disk)
        return size

    def copy_disk(self, call: UUID, host: HostRef, source: Disk, target: Disk) -> int:
        with around("copy_disk", host):
            write(copy, str(call), source, target)
        return source.size

    def move_disk(self, call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> None:
        with around("move_disk", host):
            write(_move, str(call), host, source, target, machine)

    def settle_disk(self, call: UUID, host: HostRef, source: Disk, target: Disk, machine: str) -> bool:
        with around("settle_disk", host), reading() as session:
            return _place(_having(session, host, machine), source, target) == target.pool.uuid

    def limit_disk(self, call: UUID, host: HostRef, disk: Disk, machine: str) -> None:
        with around("limit_disk", host):
            return

    def save_disk(
        self, call: UUID, host: HostRef, disk: Disk, machine: str, file: File, since: str, point: str
    ) -> Saved:
        with around("save_disk", host):
            return write(_save, str(call), disk, file, since, point)

    def save_point(self, call: UUID, host: HostRef, disk: Disk, machine: str, file: File, point: str) -> Saved:
        with around("save_point", host):
            return write(_save_point, str(call), disk, file, point)

    def forget_point(self, call: UUID, host: HostRef, disk: Disk, machine: str, point: str) -> None:
        with around("forget_point", host):
            return

    def load_disk(self, call: UUID, host: HostRef, disk: Disk, chain: tuple[Image, ...]) -> int:
        with around("load_disk", host):
            write(_load, str(call), disk, chain)
        return disk.size

    def check_disk(self, call: UUID, host: HostRef, disk: Disk, repair: str) -> dict[str, str]:
        with around("check_disk", host), reading() as session:
            find(session, disk)
        return {"format": "qcow2", "check-errors": "0", "leaks": "0", "corruptions": "0"}

    def files(self, host: HostRef, pool: Pool, folder: str) -> list[PoolFile]:
        with around("files", host), reading() as session:
            if folder.strip("/"):
                raise Failed(f"there is no folder {folder} in the pool")
            rows = select(SimulatedDisk).where(SimulatedDisk.pool == pool.uuid).order_by(SimulatedDisk.name)
            return [PoolFile(r.name, EMPTY_CLONE, int(r.created.timestamp())) for r in session.scalars(rows)]

    def look(self, host: HostRef, pool: Pool, names: tuple[str, ...]) -> list[DiskFile]:
        with around("look", host), reading() as session:
            rows = select(SimulatedDisk).where(SimulatedDisk.pool == pool.uuid, SimulatedDisk.name.in_(names))
            there = {r.name: DiskFile(r.name, "qcow2", EMPTY_CLONE, r.size) for r in session.scalars(rows)}
        return [there.get(name) or DiskFile(name, refused="it is not there") for name in names]

    def beats(self, host: HostRef, pool: Pool) -> dict[str, float]:
        """Hosts that are Up are alive; of others the last sign is the moment they went."""
        with around("beats", host), reading() as session:
            rows = session.execute(
                select(Host.uuid, Host.state, Host.disconnected)
                .join(PoolHost, PoolHost.host_id == Host.id)
                .join(PoolRow, PoolRow.id == PoolHost.pool_id)
                .where(PoolRow.uuid == pool.uuid, Host.removed.is_(None))
            )
            return {u: 0.0 if s == "Up" or not gone else (now() - gone).total_seconds() for u, s, gone in rows}


def touch(tx: Session, pool: str, name: str) -> None:
    """A guest writes to its disk."""
    mine = update(SimulatedDisk).where(SimulatedDisk.pool == pool, SimulatedDisk.name == name)
    tx.execute(mine.values(content=SimulatedDisk.content + 1).execution_options(synchronize_session=False))


def put(tx: Session, store: str, path: str, size: int) -> None:
    """Somebody put a file on a store."""
    row = {"place": place_of(store), "name": path, "size": size, "content": _number(path), "call": ""}
    tx.execute(_insert(SimulatedFile, ["place", "name"], row))


def remove(tx: Session, store: str, path: str) -> None:
    gone = delete(SimulatedFile).where(SimulatedFile.place == place_of(store), SimulatedFile.name == path)
    tx.execute(gone.execution_options(synchronize_session=False))


def copy_file(tx: Session, store: str, path: str, target: str, target_path: str) -> None:
    """A file of a store under a path of another one, or of the same."""
    rows = select(SimulatedFile).where(SimulatedFile.place == place_of(store), SimulatedFile.name == path)
    old = tx.scalar(rows)
    if old is None:
        raise Failed(f"there is no file {path} on {store}")
    row = {"place": place_of(target), "name": target_path, "size": old.size, "content": old.content, "call": ""}
    tx.execute(_insert(SimulatedFile, ["place", "name"], row))


def files_of(session: Session, store: str, folder: str) -> list[PoolFile]:
    """What lies in a folder of a store. Raises Failed for one that is not there."""
    below = f"{folder.strip('/')}/" if folder.strip("/") else ""
    rows = select(SimulatedFile).where(SimulatedFile.place == place_of(store)).order_by(SimulatedFile.name)
    found: dict[str, PoolFile] = {}
    for row in session.scalars(rows):
        if row.name.startswith(below):
            name, inner, _ = row.name.removeprefix(below).partition("/")
            moment = int(row.created.timestamp())
            found[name] = PoolFile(name, 0, moment, True) if inner else PoolFile(name, row.size, moment)
    if below and not found:
        raise Failed(f"there is no folder {folder} on the store")
    return list(found.values())


def place_of(store: str) -> str:
    return hashlib.sha1(store.encode(), usedforsecurity=False).hexdigest()


def _number(text: str) -> int:
    """What something of this name holds. Images made of disks have it in their names: see `_cache`."""
    _, _, held = text.rpartition("@")
    if held.isdecimal() and held != text:
        return int(held)
    return zlib.crc32(text.encode()) & 0x7FFFFFFF


def _missing(disk: Disk) -> Failed:
    return Failed(f"there is no disk {disk.name} in the pool {disk.pool.uuid}")


def _insert(table: Any, key: list[str], row: dict[str, Any]) -> Any:
    """INSERT that leaves a row with this key alone."""
    row = {"uuid": new_uuid(), "created": now(), **row}
    if engine().dialect.name == "sqlite":
        return sqlite.insert(table).values(row).on_conflict_do_nothing(index_elements=key)
    return mysql.insert(table).values(row).on_duplicate_key_update(id=table.id)


def _keep(tx: Session, call: str, pool: str, name: str, size: int, backing: str) -> None:
    content = _number(backing or name)
    row = {"pool": pool, "name": name, "size": size, "backing": backing, "content": content, "call": call}
    row = {"uuid": new_uuid(), "created": now(), **row}
    _keeping(engine().dialect.name == "sqlite", tuple(row))(tx, sent_as(row))


@cache
def _keeping(lite: bool, names: tuple[str, ...]) -> Sent:
    table = SimulatedDisk.__table__
    made: Any = sqlite.insert(table) if lite else mysql.insert(table)  # type: ignore[arg-type]
    made = made.values(to_send(table.c, names))
    return Sent(
        made.on_conflict_do_nothing(index_elements=["pool", "name"]) if lite
        else made.on_duplicate_key_update(id=table.c.id)
    )  # fmt: skip


def _cache(tx: Session, call: str, pool: str, image: Image) -> str:
    """A template in a pool, under a name that tells what it holds: its clones need no second look."""
    rows = select(SimulatedFile.content).where(
        SimulatedFile.place == place_of(image.store.url), SimulatedFile.name == image.path
    )
    mine = (SimulatedDisk.pool == pool, SimulatedDisk.name.startswith(f"{image.uuid}@"))
    there = select(SimulatedDisk.name).where(*mine).limit(1)
    content, found = tx.execute(select(rows.limit(1).scalar_subquery(), there.scalar_subquery())).one()
    if content is None and found is not None:  # deleted since: what the pool has of it is it
        return str(found)
    name = image.uuid if content is None else f"{image.uuid}@{content}"
    _keep(tx, call, pool, name, image.virtual_size, "")
    return name


def _delete(tx: Session, host: HostRef, disk: Disk) -> None:
    """Raises Failed, as a host does, for the disk of a machine that runs there."""
    table = SimulatedMachine
    here = (table.host == host.uuid) | (table.beside == host.uuid)
    for machine, places in tx.execute(select(table.name, table.places).where(here, table.state == "Running")):
        if places.get(disk.name) == disk.pool.uuid:
            raise Failed(f"{machine} runs with the disk {disk.name}: it is not deleted")
    gone = delete(SimulatedDisk).where(SimulatedDisk.pool == disk.pool.uuid, SimulatedDisk.name == disk.name)
    tx.execute(gone.execution_options(synchronize_session=False))


def find(tx: Session, disk: Disk) -> SimulatedDisk:
    """Raises Failed for a disk that is not there."""
    rows = select(SimulatedDisk).where(SimulatedDisk.pool == disk.pool.uuid, SimulatedDisk.name == disk.name)
    row = tx.scalar(rows)
    if row is None:
        raise _missing(disk)
    return row


def _resize(tx: Session, disk: Disk, size: int) -> bool:
    mine = update(SimulatedDisk).where(SimulatedDisk.pool == disk.pool.uuid, SimulatedDisk.name == disk.name)
    return changed(tx.execute(mine.values(size=size).execution_options(synchronize_session=False))) == 1


def copy(tx: Session, call: str, source: Disk, target: Disk) -> None:
    """The content of a disk under another name or in another pool."""
    old = find(tx, source)
    _keep(tx, call, target.pool.uuid, target.name, old.size, "")
    mine = update(SimulatedDisk).where(SimulatedDisk.pool == target.pool.uuid, SimulatedDisk.name == target.name)
    tx.execute(mine.values(content=old.content, size=old.size).execution_options(synchronize_session=False))


def _having(tx: Session, host: HostRef, name: str) -> SimulatedMachine:
    """Raises Failed for a machine that the host does not know."""
    mine = select(SimulatedMachine).where(SimulatedMachine.name == name, SimulatedMachine.host == host.uuid)
    row = tx.scalar(mine)
    if row is None:
        raise Failed(f"the host {host.name} does not have the machine {name}")
    return row


def _place(row: SimulatedMachine, source: Disk, target: Disk) -> str:
    """The pool of the two in which the machine has the disk. Raises Failed where it has it in none of them."""
    place = row.places.get(source.name, source.pool.uuid if source.name in row.disks else "")
    if place not in (source.pool.uuid, target.pool.uuid):
        raise Failed(f"{row.name} does not have the disk {source.name}")
    return place


def _move(tx: Session, call: str, host: HostRef, source: Disk, target: Disk, machine: str) -> None:
    """The machine goes on in the target, once."""
    row = _having(tx, host, machine)
    if row.state != "Running":
        raise Failed(f"{machine} does not run on host {host.name}")
    if _place(row, source, target) == source.pool.uuid:
        copy(tx, call, source, target)
        row.places = {**row.places, target.name: target.pool.uuid}


def _save(tx: Session, call: str, disk: Disk, file: File, since: str, point: str) -> Saved:
    old = find(tx, disk)
    place = place_of(file.store.url)
    row = {"place": place, "name": file.path, "size": old.size, "content": old.content, "call": call}
    tx.execute(_insert(SimulatedFile, ["place", "name"], row))
    return Saved(old.size, EMPTY_CLONE if since else old.size // 2, whole=not since, point=point)


def _save_point(tx: Session, call: str, disk: Disk, file: File, point: str) -> Saved:
    size = find(tx, disk).size
    points = tx.scalar(select(SimulatedMachine.points).where(SimulatedMachine.name == point.rpartition("_VS_")[0]))
    held = (points or {}).get(point, {}).get("disks", {})
    if disk.name not in held:
        raise Failed(f"the disk {disk.name} has no snapshot {point}")
    row = {"place": place_of(file.store.url), "name": file.path, "size": size, "content": held[disk.name]}
    tx.execute(_insert(SimulatedFile, ["place", "name"], row | {"call": call}))
    return Saved(size, size // 2)


def _load(tx: Session, call: str, disk: Disk, chain: tuple[Image, ...]) -> None:
    content = 0
    for image in chain:
        rows = select(SimulatedFile).where(
            SimulatedFile.place == place_of(image.store.url), SimulatedFile.name == image.path
        )
        found = tx.scalar(rows)
        content = found.content if found is not None else _number(image.uuid)  # nothing is known of templates' files
    _keep(tx, call, disk.pool.uuid, disk.name, disk.size, "")
    mine = update(SimulatedDisk).where(SimulatedDisk.pool == disk.pool.uuid, SimulatedDisk.name == disk.name)
    tx.execute(mine.values(content=content, size=disk.size).execution_options(synchronize_session=False))


def contents(tx: Session, names: Iterable[str]) -> dict[str, int]:
    """What the disks of these names hold."""
    rows = select(SimulatedDisk.name, SimulatedDisk.content).where(SimulatedDisk.name.in_(list(names)))
    return {row.name: row.content for row in tx.execute(rows)}


def restore(tx: Session, held: dict[str, int]) -> None:
    for name, content in held.items():
        mine = update(SimulatedDisk).where(SimulatedDisk.name == name)
        tx.execute(mine.values(content=content).execution_options(synchronize_session=False))


def described(session: Session, names: Iterable[str]) -> list[UnmanagedDisk]:
    rows = session.scalars(
        select(SimulatedDisk).where(SimulatedDisk.name.in_(list(names))).order_by(SimulatedDisk.name)
    )
    return [
        UnmanagedDisk(f"vd{'abcdefghijklmnop'[n % 16]}", r.name, r.size, pool=r.pool, name=r.name)
        for n, r in enumerate(rows)
    ]
