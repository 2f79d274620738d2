"""The affinity groups of dedications: one for each account or domain that has something, for all of it.

Machines are placed in a dedicated pod, cluster or host by being in its group. It goes with the last thing released.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.model.account import ROOT_DOMAIN, SYSTEM_ACCOUNT, Account, Domain
from mgmt_server.model.affinity import EXPLICIT, AffinityGroup, AffinityMember
from mgmt_server.model.zone import Dedication

WHAT_FOR = "dedicated resources group"


@dataclass(frozen=True)
class Holder:
    """For whom: a domain with those below it, or one account of it."""

    domain: Domain
    account: Account | None = None

    @property
    def spoken(self) -> str:
        return f"account {self.account.name}" if self.account else f"domain {self.domain.path}"

    @property
    def group_name(self) -> str:
        return f"DedicatedGrp-{self.account.name}" if self.account else f"DedicatedGrp-domain-{self.domain.name}"


def of_holder(tx: Session, holder: Holder) -> AffinityGroup | None:
    """The group of what an account or a domain has, or will have. Nobody else makes one until the transaction ends."""
    tx.scalar(select(Domain.id).where(Domain.id == ROOT_DOMAIN).with_for_update())
    account = holder.account.id if holder.account else SYSTEM_ACCOUNT
    rows = select(AffinityGroup).where(AffinityGroup.type == EXPLICIT, AffinityGroup.removed.is_(None))
    mine = rows.where(AffinityGroup.account_id == account, AffinityGroup.domain_id == holder.domain.id)
    return tx.scalar(mine.order_by(AffinityGroup.id).limit(1))


def make(tx: Session, holder: Holder, name: str = "", description: str | None = WHAT_FOR) -> AffinityGroup:
    account = holder.account.id if holder.account else SYSTEM_ACCOUNT
    taken = select(AffinityGroup.name).where(AffinityGroup.account_id == account, AffinityGroup.removed.is_(None))
    names = set(tx.scalars(taken))
    name = name or next(n for n in (holder.group_name, *_numbered(holder.group_name, len(names))) if n not in names)
    group = AffinityGroup(
        name=name, type=EXPLICIT, description=description, account_id=account, domain_id=holder.domain.id, details={}
    )
    tx.add(group)
    tx.flush()
    return group


def _numbered(name: str, most: int) -> Iterable[str]:
    """A user may have a group of that name, a domain of the same name elsewhere too."""
    return (f"{name}-{n}" for n in range(2, most + 3))


def drop_unused(tx: Session, groups: Iterable[int]) -> None:
    """Groups with which nothing is dedicated any more go; their machines stay, and may run wherever others may."""
    for number in dict.fromkeys(groups):
        if tx.scalar(select(Dedication.id).where(Dedication.group_id == number).limit(1)) is None:
            tx.execute(delete(AffinityMember).where(AffinityMember.group_id == number))
            group = tx.get_one(AffinityGroup, number, with_for_update=True)
            group.removed = group.removed or now()
    tx.flush()
