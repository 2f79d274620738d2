"""What owners have and may have, for the lists of accounts, domains and projects: one SELECT a page.

found = of_owners(session, [account_key(a) for a in page])
fields(found[account_key(7)])       vmtotal, vmlimit, vmavailable, iptotal, ... as the protocol names and says them
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, and_, cast, func, literal, null, select, union_all
from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.db.prepared import among
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
    defaults: dict[str, list[int | None]] = {}  # by kind: what holds for whom nothing was set
    found: dict[str, Have] = {}
    rows = session.execute(parts[0] if len(parts) == 1 else union_all(*parts)).all() if parts else ()
    for owner, number, account_type, path, *counts in rows:
        kind = _kind(owner, number, account_type)
        if kind not in defaults:
            defaults[kind] = [_most(limits.kept(limits.default(kind, t), t)) for t in TYPES]
        most = counts[len(TYPES) :] if kind != "free" else []
        have = {t: (used or 0, by) for t, used, by in zip(TYPES, counts, defaults[kind], strict=False)}
        if path and (above := limits.inherited(path)):
            have |= {t: (have[t][0], _most(m)) for (t, tag), m in above.items() if not tag}
        if most.count(None) < len(most):
            have |= {t: (have[t][0], _most(int(m))) for t, m in zip(TYPES, most, strict=True) if m is not None}
        found[f"{owner}:{number}"] = have
    return found


def _selects(accounts: list[int], domains: list[int]) -> list[Any]:
    """Of tables instead of classes: a page has hundreds of owners."""
    row, account, domain, parts = ResourceCount.__table__.c, Account.__table__.c, Domain.__table__.c, list[Any]()
    used, most = [row[t] for t in TYPES], [row[f"most_{t}"] for t in TYPES]
    if accounts:
        mine = Account.__table__.outerjoin(ResourceCount.__table__, and_(row.account_id == account.id, row.tag == ""))
        said = (literal("account"), account.id, account.type, null(), *used, *most)
        parts.append(select(*said).select_from(mine).where(among(account.id, accounts)))
    if domains:
        mine = Domain.__table__.outerjoin(ResourceCount.__table__, and_(row.domain_id == domain.id, row.tag == ""))
        said = (literal("domain"), domain.id, literal(0), domain.path, *used, *most)
        parts.append(select(*said).select_from(mine).where(among(domain.id, domains), domain.id != ROOT_DOMAIN))
    if ROOT_DOMAIN in domains:
        sums = (cast(func.sum(column), BigInteger) for column in used)  # else it is no whole number to MariaDB
        said = (literal("domain"), literal(ROOT_DOMAIN), literal(0), null(), *sums, *(null() for _ in TYPES))
        parts.append(select(*said).where(row.account_id.is_not(None), row.tag == ""))
    return parts


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
