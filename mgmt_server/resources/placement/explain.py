"""What every host and every pool of a zone says to a machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import planners, pools, refusal
from mgmt_server.allocation.hosts import Need
from mgmt_server.allocation.pools import Space
from mgmt_server.allocation.refusal import Verdict
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.resources.vm.placing import storage_of


@dataclass(frozen=True)
class Asked:
    """What a machine needs: of a host, and of pools for disks that are nowhere yet, of which `usable` take new ones.

    `closed`: pools in maintenance where disks of it lie.
    """

    need: Need
    spaces: list[Space]
    usable: list[Pool]
    closed: tuple[Pool, ...] = ()


def explained(session: Session, asked: Asked) -> dict[str, Any]:
    hosts = [_with_storage(session, v, asked) for v in refusal.of_hosts(session, asked.need)]
    storage = [
        *(v for p in _pools(session, asked) for v in _of_pool(p, asked)),
        *(Verdict(p.id, p.uuid, p.name, "", "state", f"has a disk of it, and is {p.state}") for p in asked.closed),
    ]
    possible = any(not v.rule for v in hosts)
    told: dict[str, Any] = {
        "possible": possible,
        "needs": refusal.needs(asked.need),
        "planner": planners.chosen(asked.need),
        "host": [refusal.shown(v) for v in hosts],
        "storagepool": [refusal.shown(v) for v in storage],
    }
    return told if possible else told | {"reason": refusal.words(v.rule for v in hosts)}


def _with_storage(session: Session, verdict: Verdict, asked: Asked) -> Verdict:
    if verdict.rule:
        return verdict
    if asked.closed:
        told = ", ".join(f"{p.name} is {p.state}" for p in asked.closed)
        return replace(verdict, rule="storage", reason=f"has room, but its disks are in pools that are closed: {told}")
    if not asked.spaces:
        return verdict
    host = session.get_one(Host, verdict.id)
    near = [p for p in asked.usable if pools.reachable(p, host)]
    short = _short(near, asked.spaces)
    if short is None:
        return verdict
    told = storage_of(host, dict(enumerate(asked.spaces)), asked.usable)
    if all(any(not pools.why_not(p, s) for p in near) for s in asked.spaces):
        told = f"has room, but no storage for all its disks together: {'; '.join(short)}"
    return replace(verdict, rule="storage", reason=told)


def _short(near: Sequence[Pool], spaces: Sequence[Space]) -> list[str] | None:
    """What pools say to the first disk that has no room beside those before it; None where all have."""
    taken = Counter[int]()
    for space in spaces:
        beside = {p.id: replace(space, size=space.size + taken[p.id]) for p in near}
        pool = next((p for p in near if not pools.why_not(p, beside[p.id])), None)
        if pool is None:
            return [f"pool {p.name} {pools.why_not(p, beside[p.id])}" for p in near]
        taken[pool.id] += space.size
    return None


def _pools(session: Session, asked: Asked) -> Sequence[Pool]:
    if not asked.spaces:
        return ()
    rows = select(Pool).where(Pool.zone_id == asked.need.zone_id, Pool.removed.is_(None))
    return session.scalars(rows.order_by(Pool.id)).all()


def _of_pool(pool: Pool, asked: Asked) -> list[Verdict]:
    """What the pool says to each of the disks, once where it is the same."""
    open_ = pool.state != "Up" or pool.id in {p.id for p in asked.usable}
    if not open_:
        return [Verdict(pool.id, pool.uuid, pool.name, "", "dedicated", "is dedicated to others")]
    return list(dict.fromkeys(pools.verdict(pool, space) for space in asked.spaces))
