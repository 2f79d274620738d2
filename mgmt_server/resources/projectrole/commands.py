"""Roles of projects: rules that narrow what members may do in a project."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select

from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use, no_entity
from mgmt_server.api.roles import RULE
from mgmt_server.db import after_commit, now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Project, ProjectInvitation, ProjectMember, ProjectRole, ProjectRolePermission
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.resources.checks import free_name, one_of, unused
from mgmt_server.resources.project.rows import role_of, run
from mgmt_server.resources.projectinvitation.rows import is_open
from mgmt_server.resources.projectrole.views import permission_view, role_view

WORDS = ("allow", "deny")


@command("createProjectRole", roles=EVERYONE, answers=role_view, event="PROJECT.ROLE.CREATE")
def create(ctx: Context, projectid: Use[Project], name: str, description: str | None = None) -> ProjectRole:
    """Create a role of a project. Without rules it denies nothing.

    projectid: the project
    name: its name
    description: a description
    """
    run(ctx, projectid)
    free_name(ctx, ProjectRole, name, ProjectRole.project_id == projectid.id)
    role = ProjectRole(project_id=projectid.id, name=name, description=description)
    ctx.session.add(role)
    ctx.describe(f"creating role {name} of project {projectid.name}")
    return role


@command("updateProjectRole", roles=EVERYONE, answers=role_view, event="PROJECT.ROLE.UPDATE")
def update(
    ctx: Context,
    id: Use[ProjectRole],
    projectid: Use[Project],
    name: str | None = None,
    description: str | None = None,
) -> ProjectRole:
    """Change the name or description of a project's role.

    id: the role
    projectid: the project
    name: its new name
    description: a description
    """
    run(ctx, projectid)
    role_of(projectid, id)
    if name is not None and name != id.name:
        id.name = free_name(ctx, ProjectRole, name, ProjectRole.project_id == projectid.id)
    if description is not None:
        id.description = description
    ctx.describe(f"changing role {id.name} of project {projectid.name}")
    return id


@command("deleteProjectRole", roles=EVERYONE, event="PROJECT.ROLE.DELETE")
def delete(ctx: Context, id: Use[ProjectRole], projectid: Use[Project]) -> None:
    """Delete a project's role that no member has.

    id: the role
    projectid: the project
    """
    run(ctx, projectid)
    role_of(projectid, id)
    invited = (ProjectInvitation.project_role_id == id.id) & is_open()
    unused(ctx, f"the role {id.name}", (ProjectMember, ProjectMember.project_role_id == id.id))
    unused(ctx, f"the role {id.name}", (ProjectInvitation, invited))
    ctx.session.execute(delete_rows(ProjectRolePermission).where(ProjectRolePermission.project_role_id == id.id))
    id.removed = now()
    ctx.describe(f"deleting role {id.name} of project {projectid.name}")


@command("listProjectRoles", roles=EVERYONE, answers=role_view)
def list_roles(
    ctx: Context, projectid: Use[Project], projectroleid: Use[ProjectRole] | None = None, name: str | None = None
) -> Rows:
    """List the roles of a project, to its members.

    projectid: the project
    projectroleid: this role alone
    name: those of this name
    """
    return Rows(role_view).where(project_id=projectid, id=projectroleid, name=name)


@command("createProjectRolePermission", roles=EVERYONE, answers=permission_view, event="PROJECT.ROLE.PERMISSION.CREATE")
def create_rule(
    ctx: Context,
    projectid: Use[Project],
    projectroleid: Use[ProjectRole],
    rule: str,
    permission: str,
    description: str | None = None,
) -> ProjectRolePermission:
    """Add a rule at the end of a project's role. The first rule that fits a command decides; none: it is allowed.

    projectid: the project
    projectroleid: the role
    rule: name of a command, in which stars stand for any letters, such as list*
    permission: allow or deny
    description: a description
    """
    run(ctx, projectid)
    role_of(projectid, projectroleid)
    if not RULE.fullmatch(rule):
        raise InvalidValue(f"rule={rule[:100]} is no name of a command: letters, digits and stars, such as list*")
    row = ProjectRolePermission
    mine = row.project_role_id == projectroleid.id
    if ctx.session.scalar(select(row.id).where(mine, row.rule == rule)) is not None:
        raise InvalidValue(f"The role {projectroleid.name} has a rule {rule} already: change that one")
    last = ctx.session.scalar(select(func.max(row.position)).where(mine))
    made = ProjectRolePermission(
        project_id=projectid.id,
        project_role_id=projectroleid.id,
        position=0 if last is None else last + 1,
        rule=rule,
        permission=one_of("permission", permission, WORDS),
        description=description,
    )
    ctx.session.add(made)
    after_commit(callers.forget)
    ctx.describe(f"adding rule {rule} to role {projectroleid.name} of project {projectid.name}")
    return made


@command("updateProjectRolePermission", roles=EVERYONE, event="PROJECT.ROLE.PERMISSION.UPDATE")
def update_rules(
    ctx: Context,
    projectid: Use[Project],
    projectroleid: Use[ProjectRole],
    ruleorder: list[Use[ProjectRolePermission]] | None = None,
    projectrolepermissionid: Use[ProjectRolePermission] | None = None,
    permission: str | None = None,
) -> None:
    """Change the order of the rules of a project's role, or what one of them says.

    projectid: the project
    projectroleid: the role
    ruleorder: all rules of the role, in their new order
    projectrolepermissionid: the rule that shall say something else; with permission
    permission: allow or deny
    """
    run(ctx, projectid)
    role_of(projectid, projectroleid)
    if ruleorder is not None and (projectrolepermissionid is not None or permission is not None):
        raise InvalidValue("ruleorder excludes projectrolepermissionid and permission: send one or the other")
    if ruleorder is not None:
        _reorder(ctx, projectroleid, ruleorder)
    elif projectrolepermissionid is None or permission is None:
        raise InvalidValue("send ruleorder, or projectrolepermissionid with permission")
    else:
        _rule_of(projectroleid, projectrolepermissionid)
        projectrolepermissionid.permission = one_of("permission", permission, WORDS) or ""
    after_commit(callers.forget)
    ctx.describe(f"changing rules of role {projectroleid.name} of project {projectid.name}")


def _reorder(ctx: Context, role: ProjectRole, wanted: list[ProjectRolePermission]) -> None:
    rows = select(ProjectRolePermission).where(ProjectRolePermission.project_role_id == role.id)
    have = {rule.id for rule in ctx.session.scalars(rows)}
    if {rule.id for rule in wanted} != have or len(wanted) != len(have):
        raise InvalidValue(f"ruleorder does not name each of the {len(have)} rules of the role {role.name} once")
    for position, rule in enumerate(wanted):
        rule.position = position


def _rule_of(role: ProjectRole, rule: ProjectRolePermission) -> None:
    if rule.project_role_id != role.id:
        raise no_entity("projectrolepermissionid", rule.uuid)


@command("deleteProjectRolePermission", roles=EVERYONE, event="PROJECT.ROLE.PERMISSION.DELETE")
def delete_rule(ctx: Context, id: Use[ProjectRolePermission], projectid: Use[Project]) -> None:
    """Remove a rule from a project's role.

    id: the rule
    projectid: the project
    """
    run(ctx, projectid)
    if id.project_id != projectid.id:
        raise no_entity("id", id.uuid)
    ctx.session.delete(id)
    after_commit(callers.forget)
    ctx.describe(f"removing rule {id.rule} from a role of project {projectid.name}")


@command("listProjectRolePermissions", roles=EVERYONE, answers=permission_view, reads=True)
def list_rules(
    ctx: Context, projectid: Use[Project], projectroleid: Use[ProjectRole] | None = None
) -> list[dict[str, Any]]:
    """List the rules of a project's roles in order, to its members.

    projectid: the project
    projectroleid: those of this role
    """
    rows = permission_view.select(ctx.caller.role).where(ProjectRolePermission.project_id == projectid.id)
    if projectroleid is not None:
        rows = rows.where(ProjectRolePermission.project_role_id == role_of(projectid, projectroleid))
    return permission_view.objects(
        ctx.session, ctx.caller, ctx.session.execute(rows.order_by(*permission_view.order)).all()
    )
