"""Members of projects: accounts with all their users, or single users."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Project, ProjectMember, ProjectRole, User
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.project import flows
from mgmt_server.resources.project.rows import (
    ADMIN,
    REGULAR,
    account_named,
    is_member,
    join,
    member,
    members_change,
    role_of,
    role_type,
    run,
    user_named,
)
from mgmt_server.resources.projectinvitation import flows as invitations
from mgmt_server.resources.projectinvitation.rows import REQUIRED, Offer, invite
from mgmt_server.resources.projectmember.views import member_view


@command("addAccountToProject", roles=EVERYONE, event="PROJECT.ACCOUNT.ADD")
def add_account(
    ctx: Context,
    projectid: Use[Project],
    account: str | None = None,
    email: str | None = None,
    projectroleid: Use[ProjectRole] | None = None,
    roletype: str | None = None,
) -> Accepted:
    """Make an account of the project's domain a member, or invite it where invitations are required.

    projectid: the project
    account: the account, all of whose users become members
    email: an address to which an invitation goes; without account, for whoever of the domain has it
    projectroleid: a role of the project, whose rules narrow what the member may do in it
    roletype: Admin or Regular, the default
    """
    run(ctx, projectid, active=True)
    if account is None and email is None:
        raise InvalidValue("send account, or email for an invitation by mail")
    whom = account_named(ctx, projectid, account) if account is not None else None
    ctx.describe(f"adding {account or 'an invited account'} to project {projectid.name}")
    return _add(ctx, projectid, whom, None, email, projectroleid, roletype)


@command("addUserToProject", roles=EVERYONE, event="PROJECT.USER.ADD")
def add_user(
    ctx: Context,
    projectid: Use[Project],
    username: str,
    email: str | None = None,
    projectroleid: Use[ProjectRole] | None = None,
    roletype: str | None = None,
) -> Accepted:
    """Make one user of the project's domain a member, or invite it where invitations are required.

    projectid: the project
    username: the user; others of the same account are not meant
    email: an address to which an invitation goes
    projectroleid: a role of the project, whose rules narrow what the member may do in it
    roletype: Admin or Regular, the default
    """
    run(ctx, projectid, active=True)
    user = user_named(ctx, projectid, username)
    ctx.describe(f"adding user {username} to project {projectid.name}")
    return _add(ctx, projectid, ctx.session.get_one(Account, user.account_id), user, email, projectroleid, roletype)


def _add(
    ctx: Context,
    project: Project,
    account: Account | None,
    user: User | None,
    email: str | None,
    project_role: ProjectRole | None,
    role: str | None,
) -> Accepted:
    offer = Offer(
        account=account,
        user=user,
        email=email,
        role=role_type(role) or REGULAR,
        project_role_id=role_of(project, project_role),
    )
    user_id = user.id if user is not None else None
    if account is not None:
        known = is_member(ctx.session, project, account.id, user_id)
        if known is not None:
            if (known.role, known.project_role_id) == (offer.role, offer.project_role_id):
                return ctx.start(flows.told, project)
            raise InvalidValue(
                f"{user.username if user else account.name} is a member of the project {project.name} already, as "
                f"{known.role}: change that with updateProject, or remove the member first"
            )
    if REQUIRED.flag():
        invitation = invite(ctx, project, offer)
        return ctx.start(invitations.deliver if email else invitations.keep, project, invitation.id)
    if account is None:
        raise InvalidValue(f"account is missing: invitations by mail are off (setting {REQUIRED.name})")
    join(ctx.session, project, account.id, user_id, offer.role, offer.project_role_id)
    return ctx.start(flows.told, project)


@command("deleteAccountFromProject", roles=EVERYONE, event="PROJECT.ACCOUNT.REMOVE")
def remove_account(ctx: Context, projectid: Use[Project], account: str) -> Accepted:
    """Take an account out of a project. What it made there stays the project's.

    projectid: the project
    account: the account; its last administrator cannot go
    """
    run(ctx, projectid)
    return _remove(ctx, projectid, member(ctx, projectid, account, None), f"account {account}")


@command("deleteUserFromProject", roles=EVERYONE, event="PROJECT.USER.REMOVE")
def remove_user(ctx: Context, projectid: Use[Project], userid: str) -> Accepted:
    """Take out of a project a user that is a member by itself.

    projectid: the project
    userid: the user; its last administrator cannot go
    """
    run(ctx, projectid)
    return _remove(ctx, projectid, member(ctx, projectid, None, userid), "a user")


def _remove(ctx: Context, project: Project, who: ProjectMember, spoken: str) -> Accepted:
    with members_change(ctx.session, project):
        ctx.session.delete(who)
    ctx.describe(f"removing {spoken} from project {project.name}")
    return ctx.start(flows.told, project, owner=ctx.caller)  # it may be the caller's own membership that ended


@command("listProjectAccounts", roles=EVERYONE, answers=member_view)
def list_members(
    ctx: Context,
    projectid: Use[Project],
    account: str | None = None,
    userid: str | None = None,
    role: str | None = None,
    projectroleid: Use[ProjectRole] | None = None,
) -> Rows:
    """List the members of a project, to its members.

    projectid: the project
    account: those of the account of this name
    userid: the one that is this user by itself
    role: Admin or Regular
    projectroleid: those with this role of the project
    """
    rows = Rows(member_view).where(
        project_id=projectid, role=one_of("role", role, (ADMIN, REGULAR)), project_role_id=projectroleid
    )
    single = ProjectMember.user_id.in_(select(User.id).where(User.uuid == userid)) if userid is not None else None
    return rows.where(Account.name == account if account is not None else None, single)
