"""Members of projects and who runs one: what the folders about projects share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.api import callers
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import no_entity
from mgmt_server.db import after_commit
from mgmt_server.errors import AccountError, InvalidValue
from mgmt_server.model.account import (
    ACCOUNT_TYPES,
    SYSTEM_ACCOUNT,
    Account,
    Project,
    ProjectMember,
    ProjectRole,
    User,
)
from mgmt_server.resources.checks import one_of

ADMIN, REGULAR = "Admin", "Regular"


def run(ctx: Context, project: Project, *, active: bool = False) -> Project:
    """Hold the project's row, so that changes of its members come one after the other, for one of those who run it.

    `active`: refuse one that is suspended or being deleted.
    """
    ctx.session.refresh(project, with_for_update=True)
    check_runs(ctx, project)
    if project.removed is not None or project.state == "Disabled":
        raise InvalidValue(f"the project {project.name} is being deleted")
    if active and project.state != "Active":
        raise AccountError(f"the project {project.name} is {project.state.lower()}: activate it first")
    return project


def check_runs(ctx: Context, project: Project) -> None:
    """Refuse who is a member alone."""
    mine = select(Project.id).where(Project.id == project.id, Project.operable_by(ctx.caller))
    if ctx.session.scalar(mine) is None:
        raise AccountError(f"This is for administrators of the project {project.name}: ask one of them")


def role_type(text: str | None) -> str | None:
    return one_of("roletype", text, (ADMIN, REGULAR))


def role_of(project: Project, role: ProjectRole | None) -> int | None:
    if role is not None and role.project_id != project.id:
        raise no_entity("projectroleid", role.uuid)
    return role.id if role is not None else None


def account_named(ctx: Context, project: Project, name: str) -> Account:
    """The account of this name that may be a member: one of the project's own domain."""
    rows = select(Account).where(Account.name == name, Account.domain_id == project.domain_id)
    own = rows.where(Account.type != ACCOUNT_TYPES["Project"], Account.id != SYSTEM_ACCOUNT)
    found = ctx.session.scalar(own.where(Account.removed.is_(None)))
    if found is None:
        raise InvalidValue(f"There is no account {name[:100]} in the domain of the project {project.name}")
    return found


def user_named(ctx: Context, project: Project, username: str) -> User:
    """The user of this name that may be a member: one of the project's own domain."""
    rows = select(User).join(Account, Account.id == User.account_id)
    own = rows.where(User.username == username, Account.domain_id == project.domain_id, Account.id != SYSTEM_ACCOUNT)
    found = ctx.session.scalar(own.where(User.removed.is_(None), Account.removed.is_(None)))
    if found is None:
        raise InvalidValue(f"There is no user {username[:100]} in the domain of the project {project.name}")
    return found


def member(ctx: Context, project: Project, account: str | None, userid: str | None) -> ProjectMember:
    """The member that is meant: a user by id, or an account by name."""
    rows = select(ProjectMember).where(ProjectMember.project_id == project.id)
    if userid is not None:
        named = rows.join(User, User.id == ProjectMember.user_id).where(User.uuid == userid)
        found = ctx.session.scalar(named)
        if found is None:  # whether it is somebody else's user is not told
            raise no_entity("userid", userid)
        return found
    named = rows.join(Account, Account.id == ProjectMember.account_id).where(Account.name == account)
    found = ctx.session.scalar(named.where(ProjectMember.user_id.is_(None)))
    if found is None:
        raise InvalidValue(
            f"The account {(account or '')[:100]} is no member of the project {project.name}: add it first "
            "(addAccountToProject)"
        )
    return found


def owners(tx: Session, project_id: int) -> set[int]:
    """The accounts for which the project counts: those of its administrators."""
    rows = select(ProjectMember.account_id).where(ProjectMember.project_id == project_id, ProjectMember.role == ADMIN)
    return set(tx.scalars(rows))


def check_others_administer(tx: Session, account: Account) -> None:
    """Refuse to delete an account that projects need: they are others' too, and would go with it.

    The projects' rows are the lock, as for `members_change`. Who is being deleted is no other administrator any more.
    """
    mine = select(ProjectMember.project_id).where(ProjectMember.account_id == account.id, ProjectMember.role == ADMIN)
    rows = select(Project).where(Project.id.in_(mine), Project.removed.is_(None)).order_by(Project.id)
    managed = list(tx.scalars(rows.with_for_update()))
    stay = select(ProjectMember.project_id).join(Account, Account.id == ProjectMember.account_id)
    stay = stay.where(ProjectMember.project_id.in_([p.id for p in managed]), ProjectMember.role == ADMIN)
    others = set(tx.scalars(stay.where(Account.id != account.id, Account.state != "removed")))
    alone = [p for p in managed if p.id not in others]
    if alone:
        named = ", ".join(f"{p.name} ({p.uuid})" for p in alone[:5]) + (", ..." if len(alone) > 5 else "")
        raise InvalidValue(
            f"The account {account.name} manages project(s) with ids {named} and can't be removed: delete them "
            "(deleteProject), or make another member their administrator (updateProject)",
            uuids=tuple((p.uuid, "projectid") for p in alone),
        )


@contextmanager
def members_change(tx: Session, project: Project) -> Iterator[None]:
    """Change members inside: the project counts for whom it is then, and has an administrator.

    The project's row is the lock: of two administrators who take each other out, one stays.
    """
    tx.scalar(select(Project.id).where(Project.id == project.id).with_for_update())
    before = owners(tx, project.id)
    yield
    tx.flush()
    after = owners(tx, project.id)
    if not after:
        raise InvalidValue(
            f"The project {project.name} would have no administrator: make another member one first (updateProject)"
        )
    for account in sorted(after - before):
        limits.take(tx, account, project=1)
    for account in sorted(before - after):
        limits.give(tx, account, project=1)
    after_commit(callers.forget)


def is_member(tx: Session, project: Project, account_id: int, user_id: int | None) -> ProjectMember | None:
    """The row by which an account, or a user, is in the project already."""
    rows = select(ProjectMember).where(ProjectMember.project_id == project.id, ProjectMember.account_id == account_id)
    mine = ProjectMember.user_id.is_(None)
    return tx.scalar(rows.where(mine if user_id is None else mine | (ProjectMember.user_id == user_id)))


def join(
    tx: Session, project: Project, account_id: int, user_id: int | None, role: str, project_role_id: int | None
) -> None:
    """Make a member. An account takes the place of those of its users that are members each for itself."""
    with members_change(tx, project):
        if user_id is None:
            rows = select(ProjectMember).where(ProjectMember.project_id == project.id)
            for row in tx.scalars(rows.where(ProjectMember.account_id == account_id)):
                tx.delete(row)
            tx.flush()
        tx.add(
            ProjectMember(
                project_id=project.id, account_id=account_id, user_id=user_id, role=role,
                project_role_id=project_role_id,
            )
        )  # fmt: skip
