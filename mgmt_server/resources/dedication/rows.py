"""Dedicating a zone, pod, cluster or host: what speaks against it, and what it means for what is above and below."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster, Dedication, Pod, Zone
from mgmt_server.resources.dedication import groups
from mgmt_server.resources.dedication.groups import Holder

TABLES: dict[str, Any] = {"Zone": Zone, "Pod": Pod, "Cluster": Cluster, "Host": Host}
KINDS = tuple(TABLES)  # from the widest to the narrowest


def dedicate(tx: Session, kind: str, row: Any, holder: Holder) -> Dedication:
    """Dedicate a row of that kind. Raises Failed for one that others have, or use.

    Its hosts are held until the transaction ends, so that no machine is promised to them meanwhile.
    """
    hosts = select(Host.id).where(_column(Host, kind) == row.id, Host.removed.is_(None)).order_by(Host.id)
    tx.execute(select(Zone.id).where(Zone.id == (row.id if kind == "Zone" else row.zone_id)).with_for_update())
    held = list(tx.scalars(hosts.with_for_update()))
    what = f"{kind.lower()} {row.name}"
    if of(tx, kind, row.id) is not None:
        raise InvalidValue(f"the {what} is already dedicated: release it first (releaseDedicated{kind})")
    _above(tx, kind, row, holder, what)
    within = _below(tx, kind, row, holder, what)
    _machines(tx, held, holder, what)
    for one in within:
        tx.delete(one)
    if kind == "Zone":
        row.domain_id = holder.domain.id
    group = groups.of_holder(tx, holder) or groups.make(tx, holder)
    made = Dedication(kind=kind, resource_id=row.id, domain_id=holder.domain.id, group_id=group.id)
    made.account_id = holder.account.id if holder.account else None
    tx.add(made)
    tx.flush()
    return made


def release(tx: Session, kind: str, row: Any) -> None:
    """Raises InvalidValue for one that is not dedicated."""
    if not forget(tx, kind, row.id):
        raise InvalidValue(f"the {kind.lower()} {row.name} is not dedicated: there is nothing to release")
    if kind == "Zone":
        row.domain_id = None


def of(tx: Session, kind: str, number: int) -> Dedication | None:
    return tx.scalar(select(Dedication).where(Dedication.kind == kind, Dedication.resource_id == number))


def forget(tx: Session, kind: str, number: int) -> bool:
    """What is taken away is dedicated no more; False when it was not."""
    found = of(tx, kind, number)
    if found is not None:
        tx.delete(found)
        tx.flush()
        groups.drop_unused(tx, [found.group_id])
    return found is not None


def release_all(
    tx: Session, *, account_id: int | None = None, domain_id: int | None = None, group_id: int | None = None
) -> int:
    """Release what an account, a domain or an affinity group has, before it goes: how many."""
    for column, number in (
        (Dedication.account_id, account_id), (Dedication.domain_id, domain_id), (Dedication.group_id, group_id),
    ):  # fmt: skip
        if number is not None:
            mine = column == number
    found = list(tx.scalars(select(Dedication).where(mine)))
    for one in found:
        if one.kind == "Zone":
            tx.get_one(Zone, one.resource_id).domain_id = None
        tx.delete(one)
    tx.flush()
    groups.drop_unused(tx, [one.group_id for one in found])
    return len(found)


def _column(table: Any, kind: str) -> Any:
    return table.id if table is TABLES[kind] else getattr(table, f"{kind.lower()}_id")


def _above(tx: Session, kind: str, row: Any, holder: Holder, what: str) -> None:
    """What the row stands in may be dedicated to a domain that the holder is in, to nobody else."""
    for upper in KINDS[: KINDS.index(kind)]:
        number = getattr(row, f"{upper.lower()}_id")
        found = of(tx, upper, number)
        if found is None:
            continue
        theirs = tx.get_one(Domain, found.domain_id)
        if found.account_id is not None or not holder.domain.path.startswith(theirs.path):
            name = tx.get_one(TABLES[upper], number).name
            raise Failed(
                f"the {what} cannot be dedicated to {holder.spoken}: its {upper.lower()} {name} is dedicated to "
                f"{_spoken(tx, found)}"
            )


def _below(tx: Session, kind: str, row: Any, holder: Holder, what: str) -> list[Dedication]:
    """Dedications of what stands in the row that say the same from now on. Raises Failed for those of others."""
    same = []
    for lower in KINDS[KINDS.index(kind) + 1 :]:
        table = TABLES[lower]
        rows = (
            select(Dedication, table.name, Domain.path)
            .join(table, table.id == Dedication.resource_id)
            .join(Domain, Domain.id == Dedication.domain_id)
            .where(Dedication.kind == lower, _column(table, kind) == row.id, table.removed.is_(None))
        )
        for found, name, path in tx.execute(rows):
            mine = holder.account.id if holder.account else None
            if (found.domain_id, found.account_id) == (holder.domain.id, mine):
                same.append(found)
            elif holder.account is not None or not path.startswith(holder.domain.path):
                raise Failed(
                    f"the {what} cannot be dedicated to {holder.spoken}: the {lower.lower()} {name} in it is "
                    f"dedicated to {_spoken(tx, found)}"
                )
    return same


def _machines(tx: Session, hosts: list[int], holder: Holder, what: str) -> None:
    """Refuse while machines of others are on the hosts. System VMs of zones do not count: they serve everybody."""
    rows = (
        select(Vm.name, Account.name, Domain.path)
        .join(Account, Account.id == Vm.account_id)
        .join(Domain, Domain.id == Vm.domain_id)
        .where(Vm.host_id.in_(hosts), Vm.kind.in_(("User", "DomainRouter")), Vm.removed.is_(None))
    )
    if holder.account is not None:
        rows = rows.where(Vm.account_id != holder.account.id)
    else:
        rows = rows.where(~Domain.path.startswith(holder.domain.path, autoescape=True))
    found = tx.execute(rows.order_by(Vm.id).limit(200)).all() if hosts else []
    if found:
        names = ", ".join(f"{vm} of {account} in {path}" for vm, account, path in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise Failed(
            f"the {what} cannot be dedicated to {holder.spoken}: machines of others run there ({names}{more}). "
            "Stop them or have them run elsewhere first"
        )


def _spoken(tx: Session, found: Dedication) -> str:
    if found.account_id is not None:
        return f"account {tx.get_one(Account, found.account_id).name}"
    return f"domain {tx.get_one(Domain, found.domain_id).path}"
