"""Invitations to projects, for who sent them and for who got them."""

from __future__ import annotations

from sqlalchemy import or_, select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import AccountError, InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project, ProjectInvitation, User
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.resources.account.rights import check_account, check_rank
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.project import flows
from mgmt_server.resources.project.rows import check_runs, is_member, join, run
from mgmt_server.resources.projectinvitation.rows import STATES, digest, is_open, oldest
from mgmt_server.resources.projectinvitation.views import invitation_view


@command("listProjectInvitations", roles=EVERYONE, answers=invitation_view)
def list_invitations(
    ctx: Context,
    id: Use[ProjectInvitation] | None = None,
    projectid: Use[Project] | None = None,
    userid: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    isrecursive: bool = False,
    listall: bool = False,
    state: str | None = None,
    activeonly: bool = False,
) -> Rows:
    """List invitations: the caller's own, or those of a project that the caller administers.

    id: this one alone
    projectid: those of this project
    userid: those to this user by itself
    account: those to this account; with domainid
    domainid: those of projects of this domain
    isrecursive: those of the domains below domainid too
    listall: all that the caller may see, as one who was invited or who administers projects
    state: Pending, Completed, Expired or Declined
    activeonly: those that can still be accepted
    """
    row, caller = ProjectInvitation, ctx.caller
    found = Rows(invitation_view, narrow=False).where(id=id, state=one_of("state", state, STATES))
    if projectid is not None:
        check_runs(ctx, projectid)
        found = found.where(project_id=projectid)
    if userid is not None:  # among what the caller may see, whoever's user it is
        found = found.where(row.user_id.in_(select(User.id).where(User.uuid == userid)))
    if account is not None:
        where = domainid.id if domainid is not None else caller.domain_id
        mine = select(Account.id).where(Account.name == account, Account.domain_id == where, Account.usable_by(caller))
        found = found.where(row.account_id.in_(mine))
    elif domainid is not None:
        below = select(Domain.id).where(Domain.path.startswith(domainid.path, autoescape=True))
        found = found.where(row.domain_id.in_(below) if isrecursive else row.domain_id == domainid.id)
    elif not (listall or id is not None or projectid is not None or userid is not None):
        found = found.where(row.invited(caller.account_id, caller.user_id))
    return found.where(is_open()) if activeonly else found


@command("updateProjectInvitation", roles=EVERYONE, event="PROJECT.INVITATION.UPDATE")
def answer(
    ctx: Context,
    projectid: str,
    accept: bool = True,
    account: str | None = None,
    userid: Use[User] | None = None,
    token: str | None = None,
) -> Accepted:
    """Accept an invitation to a project, or decline it.

    projectid: the project
    accept: false declines it
    account: the account that was invited, or that uses the token; the caller's own by default
    userid: the user that was invited by itself
    token: the token of an invitation by mail
    """
    whose = _answering(ctx, account, userid)
    found = _find(ctx, projectid, whose, userid, token)
    if found is None:
        raise InvalidValue(
            "There is no open invitation to this project for you: check projectid and token, or ask an administrator "
            "of the project for another one"
        )
    invitation, project = found
    ctx.session.refresh(project, with_for_update=True)
    ctx.session.refresh(invitation)
    _check_open(invitation, project)
    if accept:
        user = invitation.user_id or (userid.id if userid is not None else None)
        if is_member(ctx.session, project, whose.id, user) is None:
            join(ctx.session, project, whose.id, user, invitation.role, invitation.project_role_id)
        invitation.account_id = whose.id
    invitation.state, invitation.token_hash = ("Completed" if accept else "Declined"), None
    ctx.describe(f"{'accepting' if accept else 'declining'} the invitation to project {project.name}")
    return ctx.start(flows.told, project, owner=ctx.caller)


def _answering(ctx: Context, account: str | None, user: User | None) -> Account:
    """The account for which the caller may answer."""
    if user is None:
        whose = owner(ctx, account) if account is not None else ctx.session.get_one(Account, ctx.caller.account_id)
        check_account(ctx.session, ctx.caller, whose)
        return whose
    if user.id != ctx.caller.user_id:
        if ctx.caller.role not in ADMINS:
            raise AccountError("An invitation to one user is answered by that user, or by an administrator")
        check_rank(ctx.session, ctx.caller, user)
    whose = ctx.session.get_one(Account, user.account_id)
    if account is not None and account != whose.name:
        raise InvalidValue(f"the user {user.username} is not of the account {account[:100]}")
    return whose


def _find(
    ctx: Context, project: str, whose: Account, user: User | None, token: str | None
) -> tuple[ProjectInvitation, Project] | None:
    """The invitation that is meant. The answer is the same for a project that does not exist."""
    row = ProjectInvitation
    rows = select(row, Project).join(Project, Project.id == row.project_id)
    rows = rows.where(Project.uuid == project, Project.removed.is_(None), row.state.in_(("Pending", "Expired")))
    me = ctx.caller.user_id if whose.id == ctx.caller.account_id else -1
    mine = row.user_id.is_(None) | (row.user_id == (user.id if user is not None else me))
    if token is not None:
        addressed = (row.account_id == whose.id) & mine
        anybody = row.account_id.is_(None) & (row.domain_id == whose.domain_id)
        rows = rows.where(row.token_hash == digest(token), or_(addressed, anybody))
    else:
        rows = rows.where(row.account_id == whose.id, row.user_id == user.id if user is not None else mine)
    found = ctx.session.execute(rows.order_by(row.state.desc(), row.id.desc()).limit(1)).first()
    return (found[0], found[1]) if found is not None else None


def _check_open(invitation: ProjectInvitation, project: Project) -> None:
    if invitation.state != "Pending" or invitation.created <= oldest():
        raise InvalidValue(
            f"The invitation to the project {project.name} has expired: ask an administrator of the project for another"
        )
    if project.removed is not None or project.state != "Active":
        raise AccountError(f"The project {project.name} is {project.state.lower()}: nobody can join it")


@command("deleteProjectInvitation", roles=EVERYONE, event="PROJECT.INVITATION.REMOVE")
def delete(ctx: Context, id: Operate[ProjectInvitation]) -> Accepted:
    """Take back an invitation.

    id: the invitation; of a project that the caller administers
    """
    project = ctx.session.get_one(Project, id.project_id)
    run(ctx, project)
    ctx.session.delete(id)
    ctx.describe(f"deleting an invitation to project {project.name}")
    return ctx.start(flows.told, project)
