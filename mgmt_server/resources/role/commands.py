"""Roles: what those who have one may call."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import after_commit, now
from mgmt_server.errors import AccountError, InvalidValue
from mgmt_server.model.account import Role, RolePermission
from mgmt_server.model.tenancy import ADMINS, EVERYONE, ROOT
from mgmt_server.resources.checks import alone, free_name, one_of
from mgmt_server.resources.role import rules as kept
from mgmt_server.resources.role.rights import check_reach
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


@command("createRole", roles=ROOT, answers=role_view, event="ROLE.CREATE")
def create(
    ctx: Context,
    name: str,
    type: str | None = None,
    roleid: Use[Role] | None = None,
    description: str | None = None,
    ispublic: bool = True,
) -> Role:
    """Make a role: without rules, which allows nothing, or with those of another role.

    name: its name
    type: Admin, ResourceAdmin, DomainAdmin or User: how far it reaches, and which commands its rules can allow
    roleid: the role whose type and rules it gets
    description: what it is for
    ispublic: whether others than root administrators see it
    """
    kind = one_of("type", type, EVERYONE)
    if kind is None and roleid is None:
        raise InvalidValue("Neither role type nor role ID is provided: send one of them")
    if roleid is not None and kind not in (None, roleid.type):
        raise InvalidValue(f"the role {roleid.name} is of type {roleid.type}, not {kind}: leave type out")
    role = Role(
        name=_name(ctx, name), type=kind or (roleid.type if roleid else ""), description=description, public=ispublic
    )
    ctx.session.add(role)
    ctx.session.flush()
    if roleid is not None:
        kept.replace(ctx.session, role, kept.written(ctx.session, roleid))
    ctx.describe(f"creating role {name} of type {role.type}")
    return _changed(ctx, role)


@command("importRole", roles=ROOT, answers=role_view, event="ROLE.IMPORT")
def import_(
    ctx: Context,
    name: str,
    rules: list[dict[str, str]],
    type: str | None = None,
    description: str | None = None,
    forced: bool = False,
    ispublic: bool = True,
) -> Role:
    """Make a role with all its rules, or give one that is there others.

    name: its name
    rules: the rules in order: rules[0].rule, rules[0].permission (allow or deny), rules[0].description
    type: Admin, ResourceAdmin, DomainAdmin or User
    description: what it is for
    forced: whether a role of that name gets these rules; without it that is refused
    ispublic: whether others than root administrators see it
    """
    read = kept.read(rules)
    kind = one_of("type", type, EVERYONE)
    role = ctx.session.scalar(select(Role).where(Role.name == name, Role.removed.is_(None)).with_for_update())
    if role is None:
        if kind is None:
            raise InvalidValue("type is missing: Admin, ResourceAdmin, DomainAdmin or User")
        role = Role(name=_name(ctx, name), type=kind, description=description, public=ispublic)
        ctx.session.add(role)
        ctx.session.flush()
    else:
        if not forced:
            raise InvalidValue(f"there is a role {name} already: send forced=true to give it these rules")
        _own(role)
        _set_type(ctx, role, kind)
        role.description, role.public = description if description is not None else role.description, ispublic
    kept.replace(ctx.session, role, read)
    ctx.describe(f"importing role {name} with {len(read)} rules")
    return _changed(ctx, role)


@command("updateRole", roles=ROOT, answers=role_view, event="ROLE.UPDATE")
def update(
    ctx: Context,
    id: Operate[Role],
    name: str | None = None,
    description: str | None = None,
    type: str | None = None,
    ispublic: bool | None = None,
) -> Role:
    """Change a role. Of one that came with the installation, only whether it is public.

    id: the role
    name: the new name
    description: what it is for
    type: Admin, ResourceAdmin, DomainAdmin or User; only while no account has the role
    ispublic: whether others than root administrators see it
    """
    alone(ctx, id)
    if id.is_default and (name is not None or description is not None or type is not None):
        raise AccountError(
            "Default roles cannot be updated (with the exception of making it private/public): make a role of your own "
            "from it with createRole and its roleid"
        )
    if name is not None and name != id.name:
        id.name = _name(ctx, name)
    if description is not None:
        id.description = description
    _set_type(ctx, id, one_of("type", type, EVERYONE))
    if ispublic is not None:
        id.public = ispublic
    ctx.describe(f"changing role {id.name}")
    return _changed(ctx, id)


@command("deleteRole", roles=ROOT, event="ROLE.DELETE")
def delete(ctx: Context, id: Operate[Role]) -> None:
    """Delete a role that no account has.

    id: the role
    """
    alone(ctx, id)
    if id.is_default:
        raise AccountError("Default roles cannot be deleted: disableRole keeps one from being used")
    users = kept.users_of(ctx.session, id)
    if users:
        raise AccountError(
            f"Found accounts that have role in use, won't allow to delete role: give those {users} another first"
        )
    kept.replace(ctx.session, id, ())
    id.removed = now()
    ctx.describe(f"deleting role {id.name}")
    after_commit(callers.forget)


@command("enableRole", roles=ROOT, event="ROLE.ENABLE")
def enable(ctx: Context, id: Operate[Role]) -> None:
    """Let those who have a role call again.

    id: the role
    """
    id.state = "enabled"
    ctx.describe(f"enabling role {id.name}")
    _changed(ctx, id)


@command("disableRole", roles=ROOT, event="ROLE.DISABLE")
def disable(ctx: Context, id: Operate[Role]) -> None:
    """Let those who have a role call nothing, and let nobody be given it.

    id: the role
    """
    if id.id == ctx.caller.role_id or id.name == "Root Admin" and id.is_default:
        raise AccountError(f"the role {id.name} is yours, or the administrator's: disabling it would lock you out")
    id.state = "disabled"
    ctx.describe(f"disabling role {id.name}")
    after_commit(callers.forget)


@command("createRolePermission", roles=ROOT, key="rolepermission", event="ROLE.PERMISSION.CREATE")
def create_permission(
    ctx: Context, roleid: Operate[Role], rule: str, permission: str, description: str | None = None
) -> dict[str, Any]:
    """Add a rule to a role, after those that are there. The first that fits a command decides.

    roleid: the role
    rule: a command's name, or a part of one with *
    permission: allow or deny
    description: why
    """
    alone(ctx, kept.own_rules(roleid))
    row = kept.append(
        ctx.session, roleid, kept.check_rule(rule), kept.check_permission(permission), description or None
    )
    ctx.describe(f"adding rule {row.rule} ({row.permission}) to role {roleid.name}")
    _changed(ctx, roleid)
    return kept.one(row, roleid)


@command("updateRolePermission", roles=ROOT, event="ROLE.PERMISSION.UPDATE")
def update_permission(
    ctx: Context,
    roleid: Operate[Role],
    ruleorder: list[Operate[RolePermission]] | None = None,
    ruleid: Operate[RolePermission] | None = None,
    permission: str | None = None,
) -> None:
    """Put the rules of a role in another order, or make one allow or deny.

    roleid: the role
    ruleorder: all its rules in the new order
    ruleid: the rule to change, with permission
    permission: allow or deny
    """
    alone(ctx, kept.own_rules(roleid))
    if (ruleorder is None) == (ruleid is None and permission is None):
        raise InvalidValue("send either ruleorder, or ruleid with permission")
    if ruleorder is not None:
        kept.order(ctx.session, roleid, ruleorder)
        ctx.describe(f"ordering the rules of role {roleid.name}")
    elif ruleid is None or permission is None:
        raise InvalidValue("ruleid and permission go together: send both")
    elif ruleid.role_id != roleid.id:
        raise InvalidValue(f"this rule is not one of the role {roleid.name}: see listRolePermissions")
    else:
        ruleid.permission = kept.check_permission(permission)
        ctx.describe(f"rule {ruleid.rule} of role {roleid.name}: {ruleid.permission}")
    _changed(ctx, roleid)


@command("deleteRolePermission", roles=ROOT, event="ROLE.PERMISSION.DELETE")
def delete_permission(ctx: Context, id: Operate[RolePermission]) -> None:
    """Take a rule out of a role.

    id: the rule
    """
    role = ctx.session.get_one(Role, id.role_id)
    alone(ctx, kept.own_rules(role))
    ctx.session.delete(id)
    ctx.describe(f"taking rule {id.rule} out of role {role.name}")
    _changed(ctx, role)


@command("listRolePermissions", roles=ROOT, key="rolepermission", reads=True)
def list_permissions(ctx: Context, roleid: Use[Role] | None = None) -> list[dict[str, Any]]:
    """List the rules of roles, in order.

    roleid: the role; all of them by default
    """
    some = select(Role).where(Role.removed.is_(None)).order_by(Role.id)
    roles = [roleid] if roleid is not None else ctx.session.scalars(some)
    return [rule for role in roles for rule in kept.told(ctx.session, role)]


def _name(ctx: Context, name: str) -> str:
    """The first role's row is the lock: two that are made at once cannot get one name."""
    ctx.session.scalar(select(Role.id).where(Role.id == 1).with_for_update())
    return free_name(ctx, Role, name)


def _own(role: Role) -> None:
    if role.is_default:
        raise AccountError(f"{role.name} is a default role, which cannot be changed: choose another name")


def _set_type(ctx: Context, role: Role, kind: str | None) -> None:
    if kind is None or kind == role.type:
        return
    users = kept.users_of(ctx.session, role)
    if users:
        raise AccountError(f"{users} accounts have the role {role.name}: its type cannot be changed while they do")
    role.type = kind


def _changed(ctx: Context, role: Role) -> Role:
    """What every change of a role ends with: it may not allow more than the caller may do, and holds at once."""
    check_reach(ctx.session, ctx.caller, role)
    after_commit(callers.forget)
    return role
