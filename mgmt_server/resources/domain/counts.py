"""What domains count when one of them is moved."""

from __future__ import annotations

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.allocation.limits import Owner, key_of
from mgmt_server.db import changed
from mgmt_server.errors import LimitExceeded
from mgmt_server.model.account import ROOT_DOMAIN, Domain
from mgmt_server.model.limit import TYPES, UNLIMITED, ResourceCount
from mgmt_server.resources.domain.tree import chain


def follow(tx: Session, domain: Domain, above: Domain) -> None:
    """Take what a domain has from those above it, and add it to those that will be, as far as their limits let."""
    before = {d.id: d for d in chain(tx, domain.path) if d.id not in (domain.id, ROOT_DOMAIN)}
    after = {d.id: d for d in chain(tx, above.path) if d.id != ROOT_DOMAIN}
    left = [number for number in before if number not in after]
    joined = [one for number, one in after.items() if number not in before]
    row = ResourceCount
    has = select(row.type, row.tag, row.used).where(row.domain_id == domain.id, row.used != 0)
    for type, tag, used in tx.execute(has.order_by(row.type, row.tag)).all():
        keys = [key_of(f"domain:{number}", type, tag) for number in left]
        less = update(row).where(row.key.in_(keys)).values(used=row.used - used)
        tx.execute(less.execution_options(synchronize_session=False))
        for one in joined:
            _add(tx, one, type, tag, used)


def _add(tx: Session, domain: Domain, type: str, tag: str, used: int) -> None:
    owner = Owner(f"domain:{domain.id}", "domain", domain_id=domain.id)
    limits.make_rows(tx, [(owner, type, tag)])
    row = ResourceCount
    above = limits.inherited(domain.path).get((type, tag))
    most = limits.kept(UNLIMITED if tag else limits.default("domain", type), type) if above is None else above
    more = update(row).where(
        row.key == key_of(owner.key, type, tag), or_(row.used + used <= func.coalesce(row.most, most), used <= 0)
    )
    if changed(tx.execute(more.values(used=row.used + used).execution_options(synchronize_session=False))) != 1:
        amount = f"{used // limits.unit_of(type)} more {TYPES[type][1]}"
        raise LimitExceeded(
            f"the domain {domain.path} may not have so much: {amount} would be over its limit. Raise it "
            "(updateResourceLimit), or free some"
        )
