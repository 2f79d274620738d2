"""The life of a project."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as delete_rows
from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.db import now
from mgmt_server.jobs import Job
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.account import (
    PROJECT_STATES,
    Project,
    ProjectInvitation,
    ProjectMember,
    ProjectRole,
    ProjectRolePermission,
)
from mgmt_server.model.vm import Vm
from mgmt_server.resources.project.rows import owners
from mgmt_server.resources.vm import flows as vm_flows

LIVES = ("Running", "Starting", "Migrating")


def told(job: Job, project_id: int) -> None:
    """The call's own transaction did it all: the job tells its end."""


def suspend(job: Job, project_id: int) -> None:
    """Let nothing be made or started any more, then stop what runs."""
    for vm in job.write(suspended, project_id):
        job.wait(vm_flows.stop, vm, False, lock=f"vm:{vm}")


def suspended(tx: Session, project_id: int) -> list[int]:
    """The machines that run, or that a job may be about to start."""
    PROJECT_STATES.move(tx, project_id, ("Active", "Suspended"), "Suspended")
    account = select(Project.account_id).where(Project.id == project_id).scalar_subquery()
    rows = select(Vm.id).where(Vm.account_id == account, Vm.kind == "User", Vm.removed.is_(None))
    numbers = list(tx.scalars(rows))
    locks = [f"vm:{n}" for n in numbers]
    busy = set(tx.scalars(select(JobRow.lock).where(JobRow.lock.in_(locks), JobRow.state.in_(OPEN))))
    running = set(tx.scalars(rows.where(Vm.state.in_(LIVES))))
    return [n for n in numbers if n in running or f"vm:{n}" in busy]


def activate(job: Job, project_id: int) -> None:
    job.write(activated, project_id)


def activated(tx: Session, project_id: int) -> None:
    PROJECT_STATES.move(tx, project_id, ("Suspended", "Active"), "Active")


def delete(job: Job, project_id: int) -> None:
    """Remove all that the project owns, then the project."""
    _of_accounts().clean_up(job, job.write(closed, project_id))
    job.write(gone, project_id)


def _of_accounts() -> Any:
    """Accounts that are deleted take their projects along, and projects their account: each needs the other."""
    from mgmt_server.resources.account import flows

    return flows


def closed(tx: Session, project_id: int) -> int:
    """The account through which the project owns."""
    PROJECT_STATES.move(tx, project_id, ("Active", "Suspended", "Disabled"), "Disabled")
    return tx.get_one(Project, project_id).account_id


def gone(tx: Session, project_id: int) -> None:
    project = tx.get_one(Project, project_id)
    for account in sorted(owners(tx, project_id)):
        limits.give(tx, account, project=1)
    for table in (ProjectMember, ProjectInvitation, ProjectRolePermission):
        tx.execute(delete_rows(table).where(table.project_id == project_id))
    roles = select(ProjectRole).where(ProjectRole.project_id == project_id, ProjectRole.removed.is_(None))
    for row in (*tx.scalars(roles), project):
        row.removed = now()
    _of_accounts().gone(tx, project.account_id)
