"""Space on primary storage: taken by one UPDATE whose WHERE is the check."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Select, bindparam, case, func, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import made, planners, tags, thresholds
from mgmt_server.allocation.dedication import domains_above, open_to
from mgmt_server.allocation.refusal import Verdict
from mgmt_server.db.prepared import Sent
from mgmt_server.errors import InvalidValue, Unavailable
from mgmt_server.model.account import SYSTEM_ACCOUNT
from mgmt_server.model.host import Host
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Volume

MIB = 2**20
ALGORITHM = Setting(
    "volume.allocation.algorithm",
    "Which of the pools that fit a new disk is tried first: any, the oldest, the one with the fewest disks of the "
    "account (userdispersing), the emptiest (firstfitleastconsumed)",
)
PREFERRED = Setting("preferred.storage.pool", "The pool, by its id, that is tried first for new disks where it fits")
MOVES = Setting("enable.storage.migration", "Whether disks may move from one primary storage pool to another")
IN_MAINTENANCE = ("PrepareForMaintenance", "Maintenance", "ErrorInMaintenance")
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
    account_id: int | None = None  # whose disk it is


def usable(tx: Session, zone_id: int, account_id: int | None = None) -> list[Pool]:
    """Pools of a zone that take new disks of the account: not those where all hosts are dedicated to others."""
    account = None if account_id == SYSTEM_ACCOUNT else account_id
    above = () if account is None else tuple(domains_above(tx, account))
    return list(tx.scalars(made.once(("pools", zone_id, account, above), lambda: _usable(tx, zone_id, account))))


def _usable(tx: Session, zone_id: int, account: int | None) -> Select[tuple[Pool]]:
    rows = select(Pool).where(Pool.zone_id == zone_id, Pool.state == "Up", Pool.removed.is_(None))
    if account is not None:
        rows = rows.where(
            open_to(tx, account, zone=Pool.zone_id, pod=Pool.pod_id, cluster=Pool.cluster_id, host=Pool.host_id)
        )
    return rows.order_by(Pool.allocated, Pool.id)


def reachable(pool: Pool, host: Host) -> bool:
    if pool.scope == "HOST":
        return pool.host_id == host.id
    if pool.scope == "CLUSTER":
        return pool.cluster_id == host.cluster_id
    return pool.hypervisor in (None, "", "Any", host.hypervisor)


def check_open(pool: Pool, volume: Volume, what: str) -> None:
    """Raises Unavailable where the pool of a disk is in maintenance, so that nothing can begin to use it."""
    if pool.state in IN_MAINTENANCE:
        raise Unavailable(
            f"{what}: the storage of the disk {volume.name} is in maintenance; try again when that is over",
            inventory=f"{what}: the disk {volume.name} lies in the pool {pool.name}, which is {pool.state}: end that "
            "with cancelStorageMaintenance first",
        )


def check_moves() -> None:
    """Raises InvalidValue where no disk may move from pool to pool."""
    if not MOVES.flag():
        raise InvalidValue(f"Disks do not move between pools here: an administrator has switched {MOVES.name} off")


def why_not(pool: Pool, space: Space) -> str:
    """What speaks against a pool, in a few words; empty when nothing does."""
    return verdict(pool, space).reason


def verdict(pool: Pool, space: Space) -> Verdict:
    """The first rule that forbids a pool, and the number that decided."""

    def said(rule: str = "", reason: str = "", wanted: float | None = None, there: float | None = None) -> Verdict:
        return Verdict(pool.id, pool.uuid, pool.name, "", rule, reason, wanted, there)

    if pool.state != "Up":
        return said("state", f"is {pool.state}")
    rule, reason = misfit(pool, space)
    if rule:
        return said(rule, reason)
    promised = int(pool.capacity * pool.overprovision)
    free = promised - pool.allocated
    if free < space.size:
        return said("space", f"lacks {-(-(space.size - free) // MIB)} MiB", space.size, free)
    scopes = (Scope("StoragePool", pool.id), Scope("Zone", pool.zone_id))
    beyond = space.growing and thresholds.BEYOND.flag(*scopes)
    setting = thresholds.PROMISED_RESIZE if beyond else thresholds.PROMISED_FULL
    most, after = setting.fraction(*scopes), pool.allocated + space.size
    if after > promised * most:
        text = f"would be promised to {after / promised:.1%}, above {most:.0%} ({setting.name})"
        return said("threshold", text, after, promised * most)
    full = thresholds.POOL_FULL.fraction(*scopes)
    if pool.used > pool.capacity * full:
        text = f"is {pool.used / pool.capacity:.1%} full, above {full:.0%} ({thresholds.POOL_FULL.name})"
        return said("threshold", text, pool.used, pool.capacity * full)
    return said()


def misfit(pool: Pool, space: Space) -> tuple[str, str]:
    """The rule by which a pool is none for a disk, however much room it has, and the reason; both empty where it is."""
    if pool.is_local != space.local:
        return "kind", f"is {'local' if pool.is_local else 'shared'} storage"
    lacking = tags.lacking(pool, space.tags)
    return ("tag", lacking) if lacking else ("", "")


def choose(tx: Session, pools: Sequence[Pool], host: Host, space: Space) -> Pool | None:
    """Take the space from the first pool that the host reaches, in the order of the setting."""
    fitting = _in_order(tx, [p for p in pools if reachable(p, host) and not why_not(p, space)], space)
    first = preferred(tx, space.account_id) if len(fitting) > 1 else ""
    if first:
        fitting.sort(key=lambda p: p.uuid != first)
    for pool in planners.pools_in_order(tx, space, host, fitting):
        if take(tx, pool.id, space.size, growing=space.growing):
            return pool
    return None


def preferred(tx: Session, account_id: int | None) -> str:
    """The id of the pool that is tried first for an account's disks; empty for none."""
    if account_id is None or not PREFERRED.set_anywhere():
        return ""
    return PREFERRED.text(*of_account(tx, account_id)).strip()


def _in_order(tx: Session, pools: list[Pool], space: Space) -> list[Pool]:
    """The order to try them in. They come with the emptiest first."""
    algorithm = ALGORITHM.text()
    if len(pools) < 2 or algorithm == "firstfitleastconsumed":
        return pools
    if algorithm == "userdispersing":
        rows = select(Volume.pool_id, func.count()).where(Volume.account_id == space.account_id)
        rows = rows.where(Volume.pool_id.in_([p.id for p in pools]), Volume.removed.is_(None))
        own = Counter[int]()
        for number, count in tx.execute(rows.group_by(Volume.pool_id)):
            own[number] = count
        return sorted(pools, key=lambda p: own[p.id])
    if algorithm.endswith("firstfit"):
        return sorted(pools, key=lambda p: p.id)
    return random.sample(pools, len(pools))  # callers at the same time do not crowd on one


def take(tx: Session, pool_id: int, size: int, *, growing: bool = False) -> bool:
    """Promise space of a pool. `growing`: a disk that is there grows by so much. False when it has not enough."""
    taken = made.once(("space", growing), lambda: _taking(growing))
    tx.flush()
    return taken(tx, {"of_pool": pool_id, "more": size}).rowcount == 1


def _taking(growing: bool) -> Sent:
    of: dict[str, Any] = {"StoragePool": Pool.id, "Zone": Pool.zone_id}
    most = thresholds.as_sql(thresholds.PROMISED_FULL, **of)
    if growing:
        beyond = thresholds.on_as_sql(thresholds.BEYOND, **of)
        most = case((beyond, thresholds.as_sql(thresholds.PROMISED_RESIZE, **of)), else_=most)
    more = Pool.allocated + bindparam("more", type_=BigInteger)
    room = more <= Pool.capacity * Pool.overprovision * most
    taken = update(Pool.__table__).where(Pool.id == bindparam("of_pool"), Pool.state == "Up", room)  # type: ignore[arg-type]
    return Sent(taken.values({Pool.allocated: more}))


def full(pool: Pool) -> InvalidValue:
    """What to say where `take` gave nothing."""
    if pool.state != "Up":
        return InvalidValue(f"The pool {pool.name} is {pool.state}: it takes no disks")
    promised = f"(setting {thresholds.PROMISED_FULL.name})"
    return InvalidValue(f"The pool {pool.name} has promised all that it may {promised}: make room in it first")


def give_back(tx: Session, pool_id: int, size: int) -> None:
    tx.execute(
        update(Pool)
        .where(Pool.id == pool_id)
        .values(allocated=Pool.allocated - size)
        .execution_options(synchronize_session=False)
    )


def with_closed(tx: Session, zone_id: int, usable: Sequence[Pool], spaces: Sequence[Space]) -> list[Pool]:
    """For a refusal: the usable pools, and those that would be of the right kind and take no new disks now."""
    rows = select(Pool).where(Pool.zone_id == zone_id, Pool.state != "Up", Pool.removed.is_(None)).order_by(Pool.id)
    return [*usable, *(p for p in tx.scalars(rows) if any(not misfit(p, s)[0] for s in spaces))]


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
