"""What owners have and may have, for the lists of accounts, domains and projects: one SELECT a page.

found = of_owners(session, [account_key(a) for a in page])
fields(found[account_key(7)])       vmtotal, vmlimit, vmavailable, iptotal, ... as the protocol names and says them
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import and_, func, literal, null, or_, select, union_all
from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.model.account import ACCOUNT_TYPES, ROOT_DOMAIN, SYSTEM_ACCOUNT, Account, Domain
from mgmt_server.model.limit import IN_BYTES, NO_LIMIT, TYPES, ResourceCount

Have = dict[str, tuple[int, int | None]]  # (used, most) by type; storage in bytes, memory in MiB; None: no limit

# how responses begin the names of the three fields of a type
FIELDS = {
    "user_vm": "vm", "public_ip": "ip", "volume": "volume", "snapshot": "snapshot", "template": "template",
    "project": "project", "network": "network", "vpc": "vpc", "cpu": "cpu", "memory": "memory",
    "primary_storage": "primarystorage", "secondary_storage": "secondarystorage",
}  # fmt: skip


def account_key(account_id: int) -> str:
    """A project's key is that of its account."""
    return f"account:{account_id}"


def domain_key(domain_id: int) -> str:
    return f"domain:{domain_id}"


def kind_of(account_id: int, account_type: int) -> str:
    """Which settings give the limits of an account, as limits.Owner.kind."""
    if account_id == SYSTEM_ACCOUNT or account_type == ACCOUNT_TYPES["Admin"]:
        return "free"
    return "project" if account_type == ACCOUNT_TYPES["Project"] else "account"


def of_owners(session: Session, keys: Iterable[str]) -> dict[str, Have]:
    """What each owner has and may have of every type: one SELECT. Keys as in limits.Owner.key.

    A domain has what is below it too. ROOT, for which nothing is counted, has the sum of all accounts and no limit.
    An owner that does not exist is left out.
    """
    numbers: dict[str, list[int]] = {"account": [], "domain": []}
    for key in set(keys):
        kind, _, number = key.partition(":")
        numbers[kind].append(int(number))
    parts = _selects(sorted(numbers["account"]), sorted(numbers["domain"]))
    if not parts:
        return {}
    fresh: dict[str, Have] = {}  # by kind: what holds for whom nothing is counted
    found: dict[tuple[str, int], Have] = {}
    free: set[tuple[str, int]] = set()
    rows = session.execute(parts[0] if len(parts) == 1 else union_all(*parts)).all()
    for owner, number, kind, type, used, most, path in rows:
        have = found.get((owner, number))
        if have is None:
            what = _kind(owner, number, kind)
            if what not in fresh:
                fresh[what] = {t: (0, _most(limits.kept(limits.default(what, t), t))) for t in TYPES}
            have = found[owner, number] = fresh[what].copy()
            if path:
                have |= {t: (0, _most(m)) for (t, tag), m in limits.inherited(path).items() if not tag}
            if what == "free":
                free.add((owner, number))
        if type in have:
            default = have[type][1]
            own = default if most is None or (owner, number) in free else _most(int(most))
            have[type] = (int(used), own)
    return {f"{owner}:{number}": have for (owner, number), have in found.items()}


def _selects(accounts: list[int], domains: list[int]) -> list[Any]:
    """Of tables instead of classes: a page of 500 owners has thousands of rows."""
    row, account, domain, parts = _COUNT, Account.__table__.c, Domain.__table__.c, list[Any]()
    columns: tuple[Any, ...]
    told = and_(row.tag == "", or_(row.used != 0, row.most.is_not(None)))  # others say nothing that is not known
    if accounts:
        mine = Account.__table__.outerjoin(ResourceCount.__table__, and_(row.account_id == account.id, told))
        columns = (literal("account"), account.id, account.type, row.type, row.used, row.most, null())
        parts.append(select(*columns).select_from(mine).where(account.id.in_(accounts)))
    if domains:
        mine = Domain.__table__.outerjoin(ResourceCount.__table__, and_(row.domain_id == domain.id, told))
        columns = (literal("domain"), domain.id, literal(0), row.type, row.used, row.most, domain.path)
        parts.append(select(*columns).select_from(mine).where(domain.id.in_(domains)))
    if ROOT_DOMAIN in domains:
        columns = (literal("domain"), literal(ROOT_DOMAIN), literal(0), row.type, func.sum(row.used), null(), null())
        parts.append(select(*columns).where(row.account_id.is_not(None), row.tag == "").group_by(row.type))
    return parts


_COUNT = ResourceCount.__table__.c


def _kind(owner: str, number: int, account_type: int) -> str:
    if owner == "domain":
        return "free" if number == ROOT_DOMAIN else "domain"
    return kind_of(number, account_type)


def _most(kept: int) -> int | None:
    return None if kept >= NO_LIMIT else kept


def fields(have: Have) -> dict[str, Any]:
    """The fields of a response: totals as numbers, limits and what is left as texts; storage in GiB."""
    found: dict[str, Any] = {}
    for type, (used, most) in have.items():
        limit, total, available = _NAMES[type]
        found[limit], found[total], found[available] = _said(type, used, most)
    return found


_NAMES = {type: (f"{name}limit", f"{name}total", f"{name}available") for type, name in FIELDS.items()}


@lru_cache(maxsize=20_000)  # a page says the same few things thousands of times
def _said(type: str, used: int, most: int | None) -> tuple[str, int | float, str]:
    total = _total(type, used)
    if most is None:
        return "Unlimited", total, "Unlimited"
    limit = most // limits.unit_of(type)
    return str(limit), total, str(limit - total)


def _total(type: str, used: int) -> int | float:
    """Secondary storage is said in fractions of a GiB, primary in whole ones."""
    if type == "secondary_storage":
        return round(used / limits.GIB, 4)
    return used // limits.GIB if type in IN_BYTES else used
