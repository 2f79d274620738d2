"""What domains count when one of them is moved."""

from __future__ import annotations

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.allocation.limits import Owner, key_of
from mgmt_server.db import changed
from mgmt_server.errors import LimitExceeded
from mgmt_server.model.account import ROOT_DOMAIN, Domain
from mgmt_server.model.limit import MOST, SOME_USED, TYPES, UNLIMITED, USED, ResourceCount, used_of
from mgmt_server.resources.domain.tree import chain


def follow(tx: Session, domain: Domain, above: Domain) -> None:
    """Take what a domain has from those above it, and add it to those that will be, as far as their limits let."""
    before = {d.id: d for d in chain(tx, domain.path) if d.id not in (domain.id, ROOT_DOMAIN)}
    after = {d.id: d for d in chain(tx, above.path) if d.id != ROOT_DOMAIN}
    left = [number for number in before if number not in after]
    joined = [one for number, one in after.items() if number not in before]
    has = select(ResourceCount).where(ResourceCount.domain_id == domain.id, SOME_USED).order_by(ResourceCount.tag)
    for tag, used in [(row.tag, used_of(row)) for row in tx.scalars(has)]:
        keys = [key_of(f"domain:{number}", tag) for number in left]
        less = update(ResourceCount).where(ResourceCount.key.in_(keys))
        less = less.values({USED[type]: USED[type] - amount for type, amount in used.items()})
        tx.execute(less.execution_options(synchronize_session=False))
        for one in joined:
            _add(tx, one, tag, used)


def _add(tx: Session, domain: Domain, tag: str, used: dict[str, int]) -> None:
    owner = Owner(f"domain:{domain.id}", "domain", domain_id=domain.id)
    limits.make_rows(tx, [(owner, tag)])
    inherited = limits.inherited(domain.path)
    for type, amount in used.items():
        above = inherited.get((type, tag))
        most = limits.kept(UNLIMITED if tag else limits.default("domain", type), type) if above is None else above
        column = USED[type]
        fits = or_(column + amount <= func.coalesce(MOST[type], most), amount <= 0)
        more = update(ResourceCount).where(ResourceCount.key == key_of(owner.key, tag), fits)
        more = more.values({column: column + amount}).execution_options(synchronize_session=False)
        if changed(tx.execute(more)) != 1:
            what = f"{amount // limits.unit_of(type)} more {TYPES[type][1]}"
            raise LimitExceeded(
                f"the domain {domain.path} may not have so much: {what} would be over its limit. Raise it "
                "(updateResourceLimit), or free some"
            )
