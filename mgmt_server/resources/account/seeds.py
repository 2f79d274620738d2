"""The root domain, the roles, the system account and the administrator."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.account import Account, Domain, Role, User
from mgmt_server.model.tenancy import ADMIN, DOMAIN_ADMIN, RESOURCE_ADMIN, USER

ORDER = 1
ROLES = (("Root Admin", ADMIN), ("Resource Admin", RESOURCE_ADMIN), ("Domain Admin", DOMAIN_ADMIN), ("User", USER))


def seed(tx: Session) -> None:
    """Does nothing where there is a domain already. The administrator has no password and no key until `setup`."""
    if tx.scalar(select(Domain.id)) is not None:
        return
    tx.add(Domain(id=1, name="ROOT", path="/", level=0, parent_id=None))
    for number, (name, kind) in enumerate(ROLES, 1):
        tx.add(Role(id=number, name=name, type=kind, description=f"Default role of type {kind}", is_default=True))
    tx.flush()
    tx.add(Account(id=1, name="system", type=1, domain_id=1, role_id=1))
    tx.add(Account(id=2, name="admin", type=1, domain_id=1, role_id=1))
    tx.flush()
    tx.add(User(id=1, username="system", account_id=1, firstname="system", lastname="cloud", email=None))
    tx.add(User(id=2, username="admin", account_id=2, firstname="admin", lastname="cloud", email=None))
    tx.flush()
