"""Where a disk lies, who can be asked to work on it, and which machine has it open."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.errors import InvalidValue, Unavailable
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Vm, Volume, instance_name
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
        return Place(storage.ref(host), disk, instance_name(vm.kind, vm.account_id, vm.id))
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


def host_of(tx: Session, pool: Pool) -> Host:
    """A host that is up and reaches the pool. Raises Unavailable."""
    rows = select(Host).where(Host.removed.is_(None), Host.state == "Up").order_by(Host.id).limit(1)
    if pool.host_id is not None:
        rows = rows.where(Host.id == pool.host_id)
    else:
        rows = rows.join(PoolHost, PoolHost.host_id == Host.id).where(PoolHost.pool_id == pool.id)
    found = tx.scalar(rows)
    if found is None:
        raise Unavailable(f"No host that is up reaches the pool {pool.name}: see listHosts, and reconnectHost")
    return found
