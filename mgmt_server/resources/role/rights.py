"""Who may give which role: nobody gives what they may not do themselves."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mgmt_server.api.command import registry
from mgmt_server.api.roles import follows, read_rules
from mgmt_server.errors import InvalidValue, NotPermitted
from mgmt_server.model.account import Role
from mgmt_server.model.tenancy import ADMIN, DOMAIN_ADMIN, RESOURCE_ADMIN, USER, Caller

RANKS = {USER: 0, DOMAIN_ADMIN: 1, RESOURCE_ADMIN: 2, ADMIN: 3}


def check_grants(session: Session, caller: Caller, role: Role) -> None:
    """Refuse to give an account a role that is disabled, reaches further than the caller's, or allows more commands."""
    if role.state != "enabled":
        raise InvalidValue(f"the role {role.name} is disabled: enable it first, or choose another")
    check_reach(session, caller, role)


def check_reach(session: Session, caller: Caller, role: Role) -> None:
    """Refuse when a role, as it is in this transaction, allows what the caller may not do."""
    if RANKS[role.type] > RANKS[caller.role]:
        raise NotPermitted(f"the role {role.name} reaches further than yours: ask an administrator of that rank")
    if caller.is_root and caller.may is None:
        return
    session.flush()
    given = None if follows(role) else read_rules(session, role)
    more = [
        c.name
        for c in registry.values()
        if role.type in c.roles and (given is None or given(c.name)) and not caller.may_call(c.name, c.roles)
    ]
    if more:
        named = ", ".join(sorted(more)[:5])
        raise NotPermitted(f"the role {role.name} allows {len(more)} commands that yours does not ({named})")
