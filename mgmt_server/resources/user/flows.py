"""What is left of a user who is gone."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mgmt_server.api import callers
from mgmt_server.db import after_commit, now
from mgmt_server.model.account import Project, ProjectInvitation, ProjectMember, User
from mgmt_server.resources.project.rows import members_change
from mgmt_server.resources.user.rows import forget_secrets


def gone(tx: Session, user: User) -> None:
    """A user is gone: nothing opens a door any more. The row stays, for what the user did is told under its name."""
    forget_secrets(user)
    user.removed = now()
    leave_projects(tx, user.id)
    after_commit(callers.forget)


def leave_projects(tx: Session, user_id: int) -> None:
    """End what the user has in projects of its own right; what its account has there stays.

    Raises InvalidValue for the only administrator of one.
    """
    projects = select(Project).join(ProjectMember, ProjectMember.project_id == Project.id)
    for project in list(tx.scalars(projects.where(ProjectMember.user_id == user_id))):
        with members_change(tx, project):
            mine = (ProjectMember.project_id == project.id, ProjectMember.user_id == user_id)
            tx.execute(delete(ProjectMember).where(*mine).execution_options(synchronize_session=False))
    tx.execute(
        delete(ProjectInvitation)
        .where(ProjectInvitation.user_id == user_id)
        .execution_options(synchronize_session=False)
    )
