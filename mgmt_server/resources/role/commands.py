"""Roles: what those who have one may call."""

from __future__ import annotations

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use
from mgmt_server.model.account import Role
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.role.views import role_view

STATES = ("enabled", "disabled")


@command("listRoles", roles=ADMINS, answers=role_view)
def list_roles(
    ctx: Context,
    id: Use[Role] | None = None,
    name: str | None = None,
    type: str | None = None,
    state: str | None = None,
) -> Rows:
    """List roles. Others than root administrators see the public ones that are no root administrator's.

    id: this one alone
    name: those of this name
    type: Admin, ResourceAdmin, DomainAdmin or User
    state: enabled or disabled
    """
    return Rows(role_view).where(
        id=id, name=name, type=one_of("type", type, EVERYONE), state=one_of("state", state, STATES)
    )
