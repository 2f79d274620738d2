"""The tree of domains: paths, names, what is inherited along them."""

from __future__ import annotations

from sqlalchemy import String, func, literal, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.errors import InUse, InvalidValue, ParameterError
from mgmt_server.model.account import Domain
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.tenancy import ancestors
from mgmt_server.model.vm import Vm

LONGEST = 600  # characters of a path; the column has room for what is written of those that are gone


def free_name(session: Session, above: Domain, name: str, *, but: Domain | None = None) -> str:
    """Refuse a name that a domain below `above` has, in whatever case: some databases compare paths without it."""
    if "/" in name or not name.strip():
        raise ParameterError(
            "Domain name contains one or more invalid characters: choose a name without '/' that is not blank"
        )
    same = select(Domain.id).where(
        # SQLite knows lower case of ASCII alone
        Domain.parent_id == above.id, (Domain.name == name) | (func.lower(Domain.name) == name.lower()),
        Domain.removed.is_(None),
    )  # fmt: skip
    found = session.scalar(same.where(Domain.id != but.id) if but is not None else same)
    if found is not None:
        raise InvalidValue(f"Domain with name [{name}] already exists below {above.name}: choose another name")
    return name


def checked_path(path: str, longest: int = LONGEST) -> str:
    if len(path) > longest:
        raise InvalidValue(f"the domain's path would have {len(path)} characters, {longest} at most: shorten names")
    return path


def below(path: str) -> object:
    """A domain and all below it, those that are gone too."""
    return Domain.path.startswith(path, autoescape=True)


def carry(session: Session, domain: Domain, path: str, level: int) -> None:
    """Give a domain another path; those of all below it follow, in one statement."""
    live = session.scalars(select(Domain.path).where(below(domain.path), Domain.removed.is_(None)))
    checked_path(path, LONGEST - max(len(p) - len(domain.path) for p in (domain.path, *live)))
    _carry(session, domain, path, level)


def _carry(session: Session, domain: Domain, path: str, level: int) -> None:
    session.flush()
    before, deeper = domain.path, level - domain.level
    rest = func.substr(Domain.path, len(before) + 1, type_=String)
    moved = update(Domain).where(below(before)).values(path=literal(path).concat(rest), level=Domain.level + deeper)
    session.execute(moved.execution_options(synchronize_session=False))
    session.refresh(domain)


def bury(session: Session, domain: Domain, above: Domain) -> None:
    """A domain is gone. Its path is still below the one it was in, where events are told of it, and can never be that
    of another: no name is empty."""
    _carry(session, domain, f"{above.path}/{domain.id}/", domain.level)
    domain.removed = now()
    session.flush()


def chain(session: Session, path: str) -> list[Domain]:
    """A domain and those above it, the nearest first."""
    rows = select(Domain).where(Domain.path.in_(ancestors(path)), Domain.removed.is_(None))
    return list(session.scalars(rows.order_by(Domain.level.desc())))


def network_domain_of(session: Session, domain_id: int) -> str | None:
    """What the domain says that networks in it are called, or the nearest one above that says so."""
    found = chain(session, session.get_one(Domain, domain_id).path)
    return next((d.network_domain for d in found if d.network_domain), None)


def check_networks(session: Session, domain: Domain, above: Domain) -> None:
    """Refuse a move that would leave machines in networks of domains that are no longer above them."""
    lost = set(ancestors(domain.path)) - set(ancestors(above.path)) - {domain.path}
    inside = select(Domain.id).where(below(domain.path))
    used = (
        select(Network.name)
        .join(Nic, Nic.network_id == Network.id)
        .join(Vm, Vm.id == Nic.vm_id)
        .where(Network.acl_type == "Domain", Network.removed.is_(None), Nic.removed.is_(None))
        .where(Network.domain_id.in_(select(Domain.id).where(Domain.path.in_(lost))), Vm.domain_id.in_(inside))
    )
    names = list(session.scalars(used.distinct().limit(3)))
    if names:
        raise InUse(f"machines in {domain.name} use networks of domains above it ({', '.join(names)}): take them out")
