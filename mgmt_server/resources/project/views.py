"""Projects as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.facts import fields_of
from mgmt_server.api.view import PerPage, View
from mgmt_server.model.account import Account, Domain, Project, ProjectMember, User
from mgmt_server.model.tenancy import Caller
from mgmt_server.resources.account.totals import of_accounts
from mgmt_server.resources.project.rows import ADMIN


def _owners(session: Session, _: Caller, projects: list[int]) -> dict[int, dict[str, Any]]:
    """The administrators of each project, by account; of one that is a single user, the user too."""
    columns = (ProjectMember.project_id, Account.name, User.uuid, User.username)
    rows = select(*columns).join(Account, Account.id == ProjectMember.account_id)
    rows = rows.outerjoin(User, User.id == ProjectMember.user_id).where(ProjectMember.role == ADMIN)
    found: dict[int, list[dict[str, str]]] = {number: [] for number in projects}
    for project, account, uuid, user in session.execute(
        rows.where(ProjectMember.project_id.in_(projects)).order_by(ProjectMember.id)
    ):
        found[project].append({"account": account} | ({"userid": uuid, "user": user} if uuid else {}))
    return {number: {"owner": names} for number, names in found.items()}


_TOTALS = tuple(name for name in of_accounts.names if name in fields_of("ProjectResponse"))


def _totals(session: Session, caller: Caller, projects: list[int]) -> dict[int, dict[str, Any]]:
    """What the project's account has and may have."""
    rows = session.execute(select(Project.id, Project.account_id).where(Project.id.in_(projects)))
    accounts = {account: project for project, account in rows}
    have = of_accounts.work(session, caller, sorted(accounts))
    return {accounts[a]: {n: v for n, v in said.items() if n in _TOTALS} for a, said in have.items()}


def _view(*more: PerPage) -> View:
    return View(
        "project",
        Project,
        response="ProjectResponse",
        keyword=(Project.name, Project.display_text),
        joins=((Account, Account.id == Project.account_id), (Domain, Domain.id == Project.domain_id)),
        tagged="Project",
        more=(PerPage(("owner",), _owners), *more),
        id=Project.uuid,
        name=Project.name,
        displaytext=Project.display_text,
        state=Project.state,
        domainid=Domain.uuid,
        domain=Domain.name,
        projectaccountname=Account.name,
        created=Project.created,
    )


project_view = _view(PerPage(_TOTALS, _totals))
brief_view = _view()  # without what costs more: details=min
