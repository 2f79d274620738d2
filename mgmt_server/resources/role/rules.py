"""The rules of roles: kept in order for roles that somebody made, computed for those that follow the declarations."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mgmt_server.api.command import registry
from mgmt_server.api.roles import RULE, follows
from mgmt_server.errors import AccountError, InvalidValue
from mgmt_server.model.account import Account, Role, RolePermission
from mgmt_server.model.tenancy import ADMIN
from mgmt_server.resources.checks import one_of

MOST = 1000  # rules of a role
Written = tuple[str, str, str | None]  # rule, permission, description


def check_rule(rule: str) -> str:
    rule = rule.strip()
    if not RULE.fullmatch(rule):
        raise InvalidValue(
            f"Only API names and wildcards are allowed, invalid rule provided: {rule[:100]}. Write a command's "
            "name, or a part of one with *"
        )
    return rule


def check_permission(word: str) -> str:
    return one_of("permission", word, ("allow", "deny")) or ""


def declared(role: Role) -> list[str]:
    """The rules of a role that follows the declarations."""
    if role.type == ADMIN:
        return ["*"]
    return sorted(c.name for c in registry.values() if role.type in c.roles and not c.simulator_only)


def rows_of(session: Session, role: Role, *, lock: bool = False) -> list[RolePermission]:
    rows = select(RolePermission).where(RolePermission.role_id == role.id).order_by(RolePermission.position)
    return list(session.scalars(rows.with_for_update() if lock else rows))


def written(session: Session, role: Role) -> list[Written]:
    """The rules of any role, in order."""
    if follows(role):
        return [(rule, "allow", None) for rule in declared(role)]
    return [(r.rule, r.permission, r.description) for r in rows_of(session, role)]


def told(session: Session, role: Role) -> list[dict[str, Any]]:
    """The rules of any role as clients see them. Those that are computed have the same id each time."""
    common = {"roleid": role.uuid, "rolename": role.name}
    if follows(role):
        space = uuid.UUID(role.uuid)
        return [
            {"id": str(uuid.uuid5(space, rule)), **common, "rule": rule, "permission": "allow"}
            for rule in declared(role)
        ]
    return [one(row, role) for row in rows_of(session, role)]


def one(row: RolePermission, role: Role) -> dict[str, Any]:
    found = {
        "id": row.uuid,
        "roleid": role.uuid,
        "rolename": role.name,
        "rule": row.rule,
        "permission": row.permission,
        "description": row.description,
    }
    return {name: value for name, value in found.items() if value is not None}


def own_rules(role: Role) -> Role:
    """Refuse to change the rules of a role that came with the installation."""
    if role.is_default:
        raise AccountError(
            f"the rules of the default role {role.name} cannot be changed: make a role of your own from it with "
            f"createRole and its roleid"
        )
    return role


def append(session: Session, role: Role, rule: str, permission: str, description: str | None) -> RolePermission:
    """A rule after all others."""
    there = rows_of(session, role, lock=True)
    if any(r.rule.lower() == rule.lower() for r in there):
        raise AccountError(f"Rule already exists for the role: {role.name}. Change it with updateRolePermission")
    if len(there) >= MOST:
        raise InvalidValue(f"the role {role.name} has {MOST} rules, which is the most: use wildcards")
    row = RolePermission(
        role_id=role.id,
        position=max((r.position for r in there), default=-1) + 1,
        rule=rule,
        permission=permission,
        description=description,
    )
    session.add(row)
    session.flush()
    return row


def replace(session: Session, role: Role, rules: Iterable[Written]) -> None:
    """Give a role these rules instead of those it has."""
    session.execute(delete(RolePermission).where(RolePermission.role_id == role.id))
    session.flush()
    for position, (rule, permission, description) in enumerate(rules):
        session.add(
            RolePermission(
                role_id=role.id, position=position, rule=rule, permission=permission, description=description
            )
        )
    session.flush()


def order(session: Session, role: Role, wanted: Sequence[RolePermission]) -> None:
    """Put the rules of a role in a new order, which names each of them once."""
    there = {r.id: r for r in rows_of(session, role, lock=True)}
    if set(there) != {r.id for r in wanted} or len(there) != len(wanted):
        raise InvalidValue(
            f"ruleorder must name each rule of the role {role.name} once, and no other: it has {len(there)} now, see "
            "listRolePermissions"
        )
    for position, row in enumerate(wanted):
        row.position = position


def read(sent: Sequence[dict[str, str]]) -> list[Written]:
    """Rules as importRole takes them: rules[0].rule, rules[0].permission and rules[0].description."""
    if len(sent) > MOST:
        raise InvalidValue(f"rules names {len(sent)} rules: a role has {MOST} at most; use wildcards")
    found: list[Written] = []
    seen: set[str] = set()
    for number, entry in enumerate(sent):
        fields = {name.lower(): value for name, value in entry.items()}
        unknown = fields.keys() - {"rule", "permission", "description"}
        if unknown or not fields.get("rule") or not fields.get("permission"):
            raise InvalidValue(
                f"rules[{number}] takes rule, permission and description, of which the first two it needs"
            )
        rule = check_rule(fields["rule"])
        if rule.lower() in seen:
            raise InvalidValue(f"rules names {rule} twice: leave one of them out")
        seen.add(rule.lower())
        description = fields.get("description") or None
        if description and len(description) > 255:
            raise InvalidValue(f"the description of the rule {rule} is longer than 255 characters")
        found.append((rule, check_permission(fields["permission"]), description))
    return found


def users_of(session: Session, role: Role) -> int:
    """How many accounts have the role."""
    rows = select(func.count()).select_from(Account).where(Account.role_id == role.id, Account.removed.is_(None))
    return session.scalar(rows) or 0
