"""Whose limits and counts are meant, and how answers name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from mgmt_server.api.context import Context
from mgmt_server.api.parameters import no_entity
from mgmt_server.model.account import ROOT_DOMAIN, Account, Domain, Project
from mgmt_server.model.limit import ResourceCount
from mgmt_server.resources.limit.rows import account_key, domain_key, kind_of
from mgmt_server.resources.views import spoken_path


@dataclass(frozen=True)
class Of:
    """An account, a project by its account, or a domain."""

    key: str
    kind: str  # as limits.Owner.kind
    spoken: str
    path: str  # of its domain
    names: tuple[tuple[str, str], ...]
    account_id: int | None = None
    limited_domain: int | None = None  # of a domain
    depth: int = 0

    @classmethod
    def of(cls, session: Session, account: Account, project: Project | None = None) -> Of:
        domain = session.get_one(Domain, account.domain_id)
        if project is not None:
            names: tuple[tuple[str, str], ...] = (("projectid", project.uuid), ("project", project.name))
            spoken = f"the project {project.name}"
        else:
            names, spoken = (("account", account.name),), f"the account {account.name} in domain {domain.path}"
        kind = kind_of(account.id, account.type)
        return cls(account_key(account.id), kind, spoken, domain.path, (*names, *_named(domain)), account.id)

    def told(self) -> dict[str, Any]:
        return dict(self.names)

    def rows(self) -> ColumnElement[bool]:
        if self.limited_domain is not None:
            return ResourceCount.domain_id == self.limited_domain
        return ResourceCount.account_id == self.account_id


def _named(domain: Domain) -> tuple[tuple[str, str], ...]:
    return (("domainid", domain.uuid), ("domain", domain.name), ("domainpath", spoken_path(domain.path) or ""))


def of_caller(ctx: Context) -> Of:
    return Of.of(ctx.session, ctx.session.get_one(Account, ctx.caller.account_id))


def account_of(ctx: Context, name: str, domain: Domain | None) -> Of:
    """The account of that name, in the domain that was named or the caller's. Foreign and missing ones look alike."""
    where = domain.id if domain is not None else ctx.caller.domain_id
    rows = select(Account).where(Account.name == name, Account.domain_id == where, Account.removed.is_(None))
    found = ctx.session.scalar(rows.where(Account.operable_by(ctx.caller)))
    if found is None:
        raise no_entity("account", name)
    return Of.of(ctx.session, found)


def project_of(session: Session, project: Project) -> Of:
    return Of.of(session, session.get_one(Account, project.account_id), project)


def domain_of(domain: Domain) -> Of:
    return Of(
        key=domain_key(domain.id),
        kind="free" if domain.id == ROOT_DOMAIN else "domain",
        spoken=f"the domain {domain.path}",
        path=domain.path,
        names=_named(domain),
        limited_domain=domain.id,
        depth=domain.level,
    )
