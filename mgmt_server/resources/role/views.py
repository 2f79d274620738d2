"""Roles and their rules as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.account import Role

role_view = View(
    "role",
    Role,
    response="RoleResponse",
    keyword=(Role.name, Role.description),
    id=Role.uuid,
    name=Role.name,
    type=Role.type,
    description=Role.description,
    isdefault=Role.is_default,
    ispublic=Role.public,
    state=Role.state,
)
