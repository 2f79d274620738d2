"""Pools and the hosts that reach them."""

from __future__ import annotations

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.protocol import machine


def as_seen(pool: Pool) -> machine.Pool:
    """A pool as hosts are told of it."""
    return machine.Pool(pool.uuid, pool.type, pool.path, pool.server, {k: str(v) for k, v in pool.details.items()})


def ref(host: Host) -> HostRef:
    return HostRef(host.uuid, host.name, host.hypervisor, host.agent or "")


def of_host(tx: Session, host: Host) -> list[Pool]:
    """The pools that a host should reach."""
    mine = or_(
        (Pool.scope == "ZONE") & or_(Pool.hypervisor.is_(None), Pool.hypervisor.in_(("Any", "", host.hypervisor))),
        (Pool.scope == "CLUSTER") & (Pool.cluster_id == host.cluster_id),
        (Pool.scope == "HOST") & (Pool.host_id == host.id),
    )
    rows = select(Pool).where(Pool.zone_id == host.zone_id, Pool.removed.is_(None), mine).order_by(Pool.id)
    return list(tx.scalars(rows))


def hosts_of(tx: Session, pool: Pool) -> list[Host]:
    """The hosts that should reach a pool, those that are Up first."""
    rows = select(Host).where(Host.zone_id == pool.zone_id, Host.removed.is_(None), Host.type == "Routing")
    if pool.scope == "CLUSTER":
        rows = rows.where(Host.cluster_id == pool.cluster_id)
    elif pool.scope == "HOST":
        rows = rows.where(Host.id == pool.host_id)
    elif pool.hypervisor not in (None, "", "Any"):
        rows = rows.where(Host.hypervisor == pool.hypervisor)
    return list(tx.scalars(rows.order_by(Host.state != "Up", Host.id)))


def reaches(tx: Session, pool: int, host: int) -> None:
    """Note that a host reaches a pool."""
    there = select(PoolHost.id).where(PoolHost.pool_id == pool, PoolHost.host_id == host).with_for_update()
    if tx.scalar(there) is None:
        tx.add(PoolHost(pool_id=pool, host_id=host))
        tx.flush()


def reaches_not(tx: Session, *, pool: int | None = None, host: int | None = None) -> None:
    """Forget who reaches what, of a pool, a host, or one of the other."""
    gone = delete(PoolHost)
    if pool is not None:
        gone = gone.where(PoolHost.pool_id == pool)
    if host is not None:
        gone = gone.where(PoolHost.host_id == host)
    tx.execute(gone.execution_options(synchronize_session=False))


def measured(tx: Session, pool_uuid: str, used: int, there: int) -> None:
    """What the storage reports of itself."""
    tx.execute(
        update(Pool)
        .where(Pool.uuid == pool_uuid, Pool.removed.is_(None))
        .values(used=used, capacity=there)
        .execution_options(synchronize_session=False)
    )


def add_local(tx: Session, host: Host, path: str, factor: float, capacity: int = 0) -> Pool:
    """The local storage of a host, once: the same again for a host that has it."""
    found = tx.scalar(select(Pool).where(Pool.host_id == host.id, Pool.scope == "HOST", Pool.removed.is_(None)))
    if found is not None:
        return found
    pool = Pool(
        name=f"{host.name}-local-{host.uuid[:8]}",
        zone_id=host.zone_id,
        pod_id=host.pod_id,
        cluster_id=host.cluster_id,
        host_id=host.id,
        scope="HOST",
        type="Filesystem",
        hypervisor=host.hypervisor,
        server=host.address,
        path=path,
        url=f"file://{path}",
        capacity=capacity,
        overprovision=factor,
        details={},
    )
    tx.add(pool)
    tx.flush()
    return pool


def remove_local(tx: Session, host: Host) -> None:
    tx.execute(
        update(Pool)
        .where(Pool.host_id == host.id, Pool.scope == "HOST", Pool.removed.is_(None))
        .values(state="Removed", removed=now())
        .execution_options(synchronize_session=False)
    )


def running_on(tx: Session, pool_id: int) -> list[str]:
    """Names of up to three machines that run with a disk on the pool."""
    busy = (
        select(Vm.name)
        .join(Volume, Volume.vm_id == Vm.id)
        .where(
            Volume.pool_id == pool_id,
            Volume.removed.is_(None),
            Vm.removed.is_(None),
            Vm.state.in_(("Starting", "Running", "Stopping", "Migrating")),
        )
    )
    return list(tx.scalars(busy.distinct().limit(3)))


def held_on(tx: Session, pool_id: int) -> list[str]:
    """Names of up to three disks that are on the pool."""
    disks = select(Volume.name).where(Volume.pool_id == pool_id, Volume.removed.is_(None))
    return list(tx.scalars(disks.order_by(Volume.id).limit(3)))
