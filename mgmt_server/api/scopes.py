"""Whose value of a setting holds in a domain."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.account import Domain
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.tenancy import ancestors

INHERITED = Setting(
    "enable.domain.settings.for.child.domain",
    "Whether a domain without a value of its own has that of the nearest domain above it, instead of the global one",
)


def of_domain(session: Session, domain_id: int) -> tuple[Scope, ...]:
    """The scopes to read a setting with, nearest first: `SETTING.number(*of_domain(session, id))`."""
    own = Scope("Domain", domain_id)
    if not INHERITED.flag():
        return (own,)
    path = session.scalar(select(Domain.path).where(Domain.id == domain_id)) or "/"
    above = select(Domain.id).where(Domain.path.in_(ancestors(path)), Domain.removed.is_(None))
    nearest_first = session.scalars(above.order_by(Domain.level.desc()))
    return tuple(Scope("Domain", number) for number in nearest_first) or (own,)
