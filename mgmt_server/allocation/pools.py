"""Space on primary storage: taken by one UPDATE whose WHERE is the check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import planners, thresholds
from mgmt_server.allocation.dedication import open_to
from mgmt_server.allocation.hosts import tagged
from mgmt_server.allocation.refusal import Verdict
from mgmt_server.db import changed
from mgmt_server.model.account import SYSTEM_ACCOUNT
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import Pool

MIB = 2**20
# what those read who may not see pools
WORDS = {
    "space": "not enough free storage",
    "threshold": "what is free of the storage is kept in reserve",
    "tag": "no such storage has the tags that its offering asks for",
    "dedicated": "storage is dedicated to others",
    "state": "storage is not in use at present",
    "kind": "there is no storage of the kind that its offering asks for",
}


@dataclass(frozen=True)
class Space:
    """What a disk needs: bytes, on local or shared storage, with tags. `growing`: it is there, and grows by so much."""

    size: int
    local: bool
    tags: tuple[str, ...] = ()
    growing: bool = False


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
    return verdict(pool, space).reason


def verdict(pool: Pool, space: Space) -> Verdict:
    """The first rule that forbids a pool, and the number that decided."""

    def said(rule: str = "", reason: str = "", wanted: float | None = None, there: float | None = None) -> Verdict:
        return Verdict(pool.id, pool.uuid, pool.name, "", rule, reason, wanted, there)

    if pool.state != "Up":
        return said("state", f"is {pool.state}")
    if pool.is_local != space.local:
        return said("kind", f"is {'local' if pool.is_local else 'shared'} storage")
    if not tagged(pool.tags, space.tags):
        return said("tag", f"lacks the tag {', '.join(space.tags)}")
    promised = int(pool.capacity * pool.overprovision)
    free = promised - pool.allocated
    if free < space.size:
        return said("space", f"lacks {-(-(space.size - free) // MIB)} MiB", space.size, free)
    scopes = (Scope("StoragePool", pool.id), Scope("Zone", pool.zone_id))
    setting = _promised(space.growing)
    most, after = setting.fraction(*scopes), pool.allocated + space.size
    if after > promised * most:
        text = f"would be promised to {after / promised:.1%}, above {most:.0%} ({setting.name})"
        return said("threshold", text, after, promised * most)
    full = thresholds.POOL_FULL.fraction(*scopes)
    if pool.used > pool.capacity * full:
        text = f"is {pool.used / pool.capacity:.1%} full, above {full:.0%} ({thresholds.POOL_FULL.name})"
        return said("threshold", text, pool.used, pool.capacity * full)
    return said()


def _promised(growing: bool) -> Setting:
    return thresholds.PROMISED_RESIZE if growing else thresholds.PROMISED_FULL


def choose(tx: Session, pools: Sequence[Pool], host: Host, space: Space) -> Pool | None:
    """Take the space from the emptiest pool that the host reaches."""
    fitting = [p for p in pools if reachable(p, host) and not why_not(p, space)]
    for pool in planners.pools_in_order(tx, space, host, fitting):
        if take(tx, pool.id, space.size, growing=space.growing):
            return pool
    return None


def take(tx: Session, pool_id: int, size: int, *, growing: bool = False) -> bool:
    """Promise space of a pool. `growing`: a disk that is there grows by so much. False when it has not enough."""
    most = thresholds.as_sql(_promised(growing), StoragePool=Pool.id, Zone=Pool.zone_id)
    taken = (
        update(Pool)
        .where(
            Pool.id == pool_id, Pool.state == "Up", Pool.allocated + size <= Pool.capacity * Pool.overprovision * most
        )
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
    """What speaks against pools, by name."""
    told = [(p, why_not(p, space)) for p in pools]
    kind = "local" if space.local else "shared"
    return [f"pool {p.name} {why}" for p, why in told if why] or ([] if pools else [f"there is no {kind} pool"])


def words(pools: Sequence[Pool], spaces: Sequence[Space]) -> str:
    """The same without the inventory."""
    rules = {verdict(p, s).rule for s in spaces for p in pools}
    telling = [r for r in WORDS if r in rules and r != "kind"]
    return "; ".join(WORDS[r] for r in telling) or WORDS["kind"]
