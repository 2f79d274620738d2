"""For whom a range of public addresses is kept."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.errors import InUse, InvalidValue
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.zone import Address, VlanRange

Holder = tuple[Domain, Account | None]


def holder(ctx: Context, domain: Domain | None, account: str | None, project: Project | None) -> Holder:
    """The domain, and the account of it or the project's, that a call names."""
    if project is not None or account:
        named = owner(ctx, account, domain, project)
        return ctx.session.get_one(Domain, named.domain_id), named
    if domain is None:
        raise InvalidValue("domainid is missing: say which domain gets the range, and with account which account")
    return domain, None


def give(tx: Session, found: VlanRange, to: Holder) -> None:
    """Have a public range be somebody's. Raises InvalidValue, InUse when others have addresses of it."""
    domain, account = to
    if found.type != "VirtualNetwork":
        raise InvalidValue("this range belongs to a shared network: only public ranges are dedicated")
    if found.for_system_vms:
        raise InvalidValue("this range is kept for system VMs: call updateVlanIpRange with forsystemvms=false first")
    if found.domain_id is not None:
        raise InvalidValue("this range is already dedicated: call releasePublicIpRange first")
    if found.id is not None:
        _no_others(tx, found, domain, account)
    found.domain_id, found.account_id = domain.id, account.id if account else None


def _no_others(tx: Session, found: VlanRange, domain: Domain, account: Account | None) -> None:
    tx.execute(select(Address.id).where(Address.range_id == found.id).with_for_update())
    rows = (
        select(Address.address, Account.name)
        .join(Account, Account.id == Address.account_id)
        .join(Domain, Domain.id == Account.domain_id)
        .where(Address.range_id == found.id, Address.state != "Free")
    )
    if account is not None:
        rows = rows.where(Account.id != account.id)
    else:
        rows = rows.where(~Domain.path.startswith(domain.path, autoescape=True))
    others = tx.execute(rows.order_by(Address.id).limit(4)).all()
    if others:
        names = ", ".join(f"{address} of {name}" for address, name in others[:3]) + (" ..." if others[3:] else "")
        raise InUse(f"others have addresses of this range ({names}): have them release those first")
