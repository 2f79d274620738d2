"""Space on primary storage: taken by one UPDATE whose WHERE is the check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation.dedication import open_to
from mgmt_server.allocation.hosts import tagged
from mgmt_server.db import changed
from mgmt_server.model.account import SYSTEM_ACCOUNT
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool

FULL = 0.95  # of what a pool has: beyond it takes no new disk, whatever it may promise


@dataclass(frozen=True)
class Space:
    """What a disk needs: bytes, on local or shared storage, with tags."""

    size: int
    local: bool
    tags: tuple[str, ...] = ()


def usable(tx: Session, zone_id: int, account_id: int | None = None) -> list[Pool]:
    """Pools of a zone that take new disks of the account: not those where all hosts are dedicated to others."""
    rows = select(Pool).where(Pool.zone_id == zone_id, Pool.state == "Up", Pool.removed.is_(None))
    if account_id not in (None, SYSTEM_ACCOUNT):
        rows = rows.where(
            open_to(tx, account_id, zone=Pool.zone_id, pod=Pool.pod_id, cluster=Pool.cluster_id, host=Pool.host_id)
        )
    return list(tx.scalars(rows.order_by(Pool.allocated, Pool.id)))


def reachable(pool: Pool, host: Host) -> bool:
    if pool.scope == "HOST":
        return pool.host_id == host.id
    if pool.scope == "CLUSTER":
        return pool.cluster_id == host.cluster_id
    return pool.hypervisor in (None, "", "Any", host.hypervisor)


def why_not(pool: Pool, space: Space) -> str:
    """What speaks against a pool, in a few words; empty when nothing does."""
    if pool.is_local != space.local:
        return f"is {'local' if pool.is_local else 'shared'} storage"
    if not tagged(pool.tags, space.tags):
        return f"lacks the tag {', '.join(space.tags)}"
    free = int(pool.capacity * pool.overprovision) - pool.allocated
    if free < space.size:
        return f"lacks {-(-(space.size - free) // 2**20)} MiB"
    if pool.used > pool.capacity * FULL:
        return "is more than 95% full"
    return ""


def choose(tx: Session, pools: Sequence[Pool], host: Host, space: Space) -> Pool | None:
    """Take the space from the emptiest pool that the host reaches."""
    for pool in pools:
        if reachable(pool, host) and not why_not(pool, space) and take(tx, pool.id, space.size):
            return pool
    return None


def take(tx: Session, pool_id: int, size: int) -> bool:
    taken = (
        update(Pool)
        .where(Pool.id == pool_id, Pool.state == "Up", Pool.capacity * Pool.overprovision - Pool.allocated >= size)
        .values(allocated=Pool.allocated + size)
        .execution_options(synchronize_session=False)
    )
    return changed(tx.execute(taken)) == 1


def give_back(tx: Session, pool_id: int, size: int) -> None:
    tx.execute(
        update(Pool)
        .where(Pool.id == pool_id)
        .values(allocated=Pool.allocated - size)
        .execution_options(synchronize_session=False)
    )


def refusals(pools: Sequence[Pool], space: Space) -> list[str]:
    told = [(p, why_not(p, space)) for p in pools]
    kind = "local" if space.local else "shared"
    return [f"pool {p.name} {why}" for p, why in told if why] or ([] if pools else [f"there is no {kind} pool"])
