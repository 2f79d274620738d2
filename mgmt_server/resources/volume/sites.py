"""Which pool a disk goes to, and which host works on it there."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from mgmt_server.allocation import pools
from mgmt_server.allocation.pools import Space
from mgmt_server.errors import InvalidValue, NoCapacity
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume

AT_MOST = 50  # hosts that are tried


def space_of(volume: Volume, offering: DiskOffering | None) -> Space:
    """What a disk needs of a pool."""
    tags = tuple(t.strip() for t in (offering.tags or "").split(",") if t.strip()) if offering is not None else ()
    local = offering is not None and offering.storage_type == "local"
    return Space(volume.size, local, tags, account_id=volume.account_id)


def offering_of(tx: Session, volume: Volume) -> DiskOffering | None:
    return tx.get(DiskOffering, volume.disk_offering_id) if volume.disk_offering_id is not None else None


def hosts_for(tx: Session, vm: Vm) -> list[Host]:
    """Hosts on which a machine could run with the disks that it has: the one it is on, or was on, first."""
    mine = select(Pool).join(Volume, Volume.pool_id == Pool.id)
    held = list(tx.scalars(mine.where(Volume.vm_id == vm.id, Volume.removed.is_(None)).distinct()))
    if vm.host_id is not None:
        return [tx.get_one(Host, vm.host_id)]
    rows = _up(vm.zone_id, vm.hypervisor).order_by(Host.id != (vm.last_host_id or 0), Host.id)
    return [h for h in tx.scalars(rows) if all(pools.reachable(p, h) for p in held)][:AT_MOST]


def hosts_in(tx: Session, zone_id: int, hypervisor: str | None) -> list[Host]:
    """Hosts that may work on a disk that is for no machine yet."""
    return list(tx.scalars(_up(zone_id, hypervisor).order_by(Host.id).limit(AT_MOST)))


def _up(zone_id: int, hypervisor: str | None) -> Select[tuple[Host]]:
    rows = select(Host).where(
        Host.zone_id == zone_id, Host.state == "Up", Host.removed.is_(None), Host.type == "Routing"
    )
    return rows.where(Host.hypervisor == hypervisor) if hypervisor else rows


def take(
    tx: Session, volume: Volume, hosts: list[Host], offering: DiskOffering | None, wanted: Pool | None = None
) -> tuple[Pool, Host]:
    """Take the disk's space on a pool that one of the hosts reaches. Raises NoCapacity with what each pool lacks."""
    space = space_of(volume, offering)
    usable = pools.usable(tx, volume.zone_id, volume.account_id)
    if wanted is not None:
        check_pool(wanted, volume)
        usable, space = [p for p in usable if p.id == wanted.id], replace(space, local=wanted.is_local)
    for host in hosts:
        pool = pools.choose(tx, usable, host, space)
        if pool is not None:
            return pool, host
    if wanted is None:
        usable = pools.with_closed(tx, volume.zone_id, usable, [space])
    raise no_room(volume, usable, space, bool(hosts))


def no_room(volume: Volume, usable: list[Pool], space: Space, hosts: bool = True) -> NoCapacity:
    """The refusal of a disk: users read in words what root administrators read with each pool's name."""
    if not hosts:
        return NoCapacity(f"No host that is up can work on the disk {volume.name}: an administrator sees to that")
    told = pools.refusals(usable, space) or ["no host that is up reaches a pool that fits"]
    return NoCapacity(
        f"No storage can take the disk {volume.name}: {pools.words(usable, [space])}",
        inventory=f"No pool can take the disk {volume.name}: {'; '.join(told)}",
    )


def check_pool(pool: Pool, volume: Volume) -> None:
    """Raises InvalidValue for a pool that takes no disks, or not of this zone."""
    if pool.zone_id != volume.zone_id:
        raise InvalidValue(f"The pool {pool.name} is in another zone than the disk {volume.name}")
    if pool.state != "Up":
        raise InvalidValue(f"The pool {pool.name} is {pool.state}: enable it, or choose another")
