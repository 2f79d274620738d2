"""Whose value of a setting holds in a domain, and for an account."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.account import Account, Domain
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.tenancy import ancestors

INHERITED = Setting(
    "enable.domain.settings.for.child.domain",
    "Whether a domain without a value of its own has that of the nearest domain above it, instead of the global one",
)
FOR_DOMAINS = Setting(
    "enable.account.settings.for.domain",
    "Whether what an account may have of its own may be set for a domain too, and holds for its accounts",
)


def of_account(session: Session, account_id: int) -> tuple[Scope, ...]:
    """The scopes to read an account's setting with, nearest first."""
    own = Scope("Account", account_id)
    if not FOR_DOMAINS.flag():
        return (own,)
    domain = session.scalar(select(Account.domain_id).where(Account.id == account_id))
    return (own, *of_domain(session, domain)) if domain is not None else (own,)


def of_domain(session: Session, domain_id: int) -> tuple[Scope, ...]:
    """The scopes to read a setting with, nearest first: `SETTING.number(*of_domain(session, id))`."""
    own = Scope("Domain", domain_id)
    if not INHERITED.flag():
        return (own,)
    path = session.scalar(select(Domain.path).where(Domain.id == domain_id)) or "/"
    above = select(Domain.id).where(Domain.path.in_(ancestors(path)), Domain.removed.is_(None))
    nearest_first = session.scalars(above.order_by(Domain.level.desc()))
    return tuple(Scope("Domain", number) for number in nearest_first) or (own,)
