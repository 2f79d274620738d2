"""What owners have and may have, for the lists of accounts, domains and projects: one SELECT a page.

found = of_owners(session, [account_key(a) for a in page])
fields(found[account_key(7)])       vmtotal, vmlimit, vmavailable, iptotal, ... as the protocol names and says them
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import and_, func, literal, null, select, union_all
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
    found: dict[str, Have] = {}
    for owner, number, kind, type, used, most in session.execute(union_all(*parts)) if parts else ():
        key = f"{owner}:{number}"
        if key not in found:
            what = _kind(owner, number, kind)
            found[key] = {t: (0, _most(limits.kept(limits.default(what, t), t))) for t in TYPES}
        if type in TYPES:
            own = _most(int(most)) if most is not None else found[key][type][1]
            free = _kind(owner, number, kind) == "free"
            found[key][type] = (int(used), None if free else own)
    return found


def _selects(accounts: list[int], domains: list[int]) -> list[Any]:
    row, parts = ResourceCount, list[Any]()
    columns: tuple[Any, ...]
    if accounts:
        mine = and_(row.account_id == Account.id, row.tag == "")
        columns = (literal("account"), Account.id, Account.type, row.type, row.used, row.most)
        parts.append(select(*columns).outerjoin(row, mine).where(Account.id.in_(accounts)))
    if domains:
        mine = and_(row.domain_id == Domain.id, row.tag == "")
        columns = (literal("domain"), Domain.id, literal(0), row.type, row.used, row.most)
        parts.append(select(*columns).select_from(Domain).outerjoin(row, mine).where(Domain.id.in_(domains)))
    if ROOT_DOMAIN in domains:
        everything = (literal("domain"), literal(ROOT_DOMAIN), literal(0), row.type, func.sum(row.used), null())
        parts.append(select(*everything).where(row.account_id.is_not(None), row.tag == "").group_by(row.type))
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
        name, total = FIELDS[type], _total(type, used)
        found[f"{name}limit"] = "Unlimited" if most is None else str(most // limits.unit_of(type))
        found[f"{name}total"] = total
        found[f"{name}available"] = "Unlimited" if most is None else str(most // limits.unit_of(type) - total)
    return found


def _total(type: str, used: int) -> int | float:
    """Secondary storage is said in fractions of a GiB, primary in whole ones."""
    if type == "secondary_storage":
        return round(used / limits.GIB, 4)
    return used // limits.GIB if type in IN_BYTES else used
