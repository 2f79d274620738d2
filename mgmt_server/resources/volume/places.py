"""Where a disk lies, who can be asked to work on it, and which machine has it open."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.errors import InvalidValue, Unavailable
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.protocol.machine import Disk
from mgmt_server.resources.storage import rows as storage


@dataclass(frozen=True)
class Place:
    """What a call of the storage driver needs."""

    host: HostRef
    disk: Disk
    machine: str = ""  # that runs with it, as its host calls it


def place_of(tx: Session, volume: Volume) -> Place:
    """Raises InvalidValue for a disk that is on no pool yet, Unavailable when no host reaches its pool."""
    if volume.pool_id is None or not volume.path:
        raise InvalidValue(f"The disk {volume.name} has never been used: it is on no storage yet")
    pool = tx.get_one(Pool, volume.pool_id)
    disk = disk_in(pool, volume)
    vm = tx.get(Vm, volume.vm_id) if volume.vm_id is not None else None
    if vm is not None and vm.host_id is not None and vm.state in ("Running", "Stopping", "Migrating"):
        host = tx.get_one(Host, vm.host_id)
        return Place(storage.ref(host), disk, vm.instance)
    return Place(storage.ref(host_of(tx, pool)), disk)


def disk_in(pool: Pool, volume: Volume) -> Disk:
    """The disk as its pool's hosts are told of it. What it is to be cloned from is another matter: see vm/start.py."""
    return Disk(
        name=volume.path or volume.uuid,
        pool=storage.as_seen(pool),
        size=volume.size,
        device=volume.device or 0,
        serial=volume.uuid.replace("-", "")[:20],
    )


def reaching(tx: Session, pool: Pool) -> Host | None:
    """A host that reaches the pool, one that is up where there is one. None: none is left."""
    rows = select(Host).where(Host.removed.is_(None)).order_by(Host.state != "Up", Host.id).limit(1)
    if pool.host_id is not None:
        return tx.scalar(rows.where(Host.id == pool.host_id))
    return tx.scalar(rows.join(PoolHost, PoolHost.host_id == Host.id).where(PoolHost.pool_id == pool.id))


def gone(tx: Session, volume: Volume) -> Place | None:
    """Where the file of a disk that is to be deleted lies; None where there is none, or no host reaches it."""
    if volume.pool_id is None or not volume.path:
        return None
    pool = tx.get_one(Pool, volume.pool_id)
    host = reaching(tx, pool)
    return None if host is None else Place(storage.ref(host), disk_in(pool, volume))


def host_of(tx: Session, pool: Pool) -> Host:
    """A host that is up and reaches the pool. Raises Unavailable."""
    found = reaching(tx, pool)
    if found is None or found.state != "Up":
        raise Unavailable(f"No host that is up reaches the pool {pool.name}: see listHosts, and reconnectHost")
    return found
