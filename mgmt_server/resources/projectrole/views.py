"""Roles of projects and their rules as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View, always
from mgmt_server.model.account import Project, ProjectRole, ProjectRolePermission

role_view = View(
    "projectrole",
    ProjectRole,
    response="ProjectRoleResponse",
    keyword=(ProjectRole.name, ProjectRole.description),
    joins=((Project, Project.id == ProjectRole.project_id),),
    id=ProjectRole.uuid,
    name=ProjectRole.name,
    description=ProjectRole.description,
    projectid=Project.uuid,
    ispublic=always(True),
)

permission_view = View(
    "projectrolepermission",
    ProjectRolePermission,
    response="ProjectRolePermissionResponse",
    order=(ProjectRolePermission.project_role_id, ProjectRolePermission.position, ProjectRolePermission.id),
    joins=(
        (Project, Project.id == ProjectRolePermission.project_id),
        (ProjectRole, ProjectRole.id == ProjectRolePermission.project_role_id),
    ),
    id=ProjectRolePermission.uuid,
    projectid=Project.uuid,
    projectroleid=ProjectRole.uuid,
    projectrolename=ProjectRole.name,
    rule=ProjectRolePermission.rule,
    permission=ProjectRolePermission.permission,
    description=ProjectRolePermission.description,
)
