"""What projects mean for a call: of which the user is a member, what its project roles deny, which are active.

Whose a new thing shall be is in owner.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.roles import Rules
from mgmt_server.errors import AccountError, NotPermitted
from mgmt_server.model.account import Project, ProjectMember, ProjectRolePermission

if TYPE_CHECKING:
    from mgmt_server.api.context import Context

Allows = Callable[[str], bool]


def memberships(session: Session, account_id: int, user_id: int) -> tuple[tuple[int, ...], dict[int, Allows]]:
    """The accounts of the user's projects, and the rules of its project roles by those accounts.

    Administrators of a project have no role in it that narrows; nor has a member without one.
    """
    columns = (Project.account_id, ProjectMember.role, ProjectMember.project_role_id)
    rows = select(*columns).join(ProjectMember, ProjectMember.project_id == Project.id)
    mine = rows.where(ProjectMember.means(account_id, user_id), Project.removed.is_(None))
    found = session.execute(mine).all()
    narrowed = {account: role for account, kind, role in found if role is not None and kind != "Admin"}
    rules = _rules(session, set(narrowed.values())) if narrowed else {}
    return tuple(sorted({row[0] for row in found})), {a: rules[role] for a, role in narrowed.items()}


def _rules(session: Session, roles: set[int]) -> dict[int, Allows]:
    """What no rule of a project role speaks of is allowed: the user's own role has decided already."""
    row = ProjectRolePermission
    told = select(row.project_role_id, row.rule, row.permission).where(row.project_role_id.in_(roles))
    found: dict[int, list[tuple[str, bool]]] = {role: [] for role in roles}
    for role, rule, permission in session.execute(told.order_by(row.position, row.id)):
        found[role].append((rule, permission == "allow"))
    return {role: Rules([*rules, ("*", True)]) for role, rules in found.items()}


def check_allowed(ctx: Context, value: Any) -> None:
    """Refuse a command about a project, or what belongs to it, that the caller's role in the project denies."""
    for row in value if isinstance(value, list) else (value,):
        allows = ctx.caller.project_rules.get(getattr(row, "account_id", None))  # type: ignore[arg-type]
        if allows is not None and not allows(ctx.command.name):
            raise NotPermitted(
                f"Your role in this project does not allow {ctx.command.name}: ask an administrator of the project"
            )


def active(session: Session, project: Project) -> Project:
    """Refuse a project in which nothing may be made or started. It stays as it is until the transaction ends."""
    session.refresh(project, with_for_update={"read": True})
    if project.state != "Active" or project.removed is not None:
        raise AccountError(
            f"The project {project.name} is {project.state.lower()}: nothing can be made or started in it; "
            "activateProject makes a suspended one active"
        )
    return project


def check_active(session: Session, row: Any) -> None:
    """Refuse to start or make something of what belongs to a project that is not active. `row`: has an account_id."""
    project = session.scalar(select(Project).where(Project.account_id == row.account_id))
    if project is not None:
        active(session, project)
