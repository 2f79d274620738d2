"""Projects: people of one domain who own things together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, or_, select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Use
from mgmt_server.errors import AccountError, InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import ACCOUNT_TYPES, Account, Domain, Project, ProjectMember, User
from mgmt_server.model.network import Network
from mgmt_server.model.settings import Setting
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.checks import one_of, unused
from mgmt_server.resources.project import flows
from mgmt_server.resources.project.rows import (
    ADMIN,
    REGULAR,
    check_runs,
    member,
    members_change,
    role_type,
    run,
)
from mgmt_server.resources.project.views import brief_view, project_view

USERS_CREATE = Setting("allow.user.create.projects", "Whether users may create projects, not administrators alone")
STATES = ("Active", "Suspended", "Disabled")
DETAILS = ("all", "resource", "min")
LONGEST = 200  # characters of a name: the project's account is called after it


@command("createProject", roles=EVERYONE, answers=project_view, event="PROJECT.CREATE")
def create(
    ctx: Context,
    name: str,
    displaytext: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    accountid: Use[Account] | None = None,
    userid: Use[User] | None = None,
) -> Accepted:
    """Create a project. Who shall own it is its first administrator.

    name: its name, which no other project of the domain has
    displaytext: a description
    account: the account that shall administer it; with domainid. The caller's own by default
    domainid: that account's domain
    accountid: the account, by its id
    userid: a user that shall administer it, instead of all users of the account
    """
    if ctx.caller.role not in ADMINS and not USERS_CREATE.flag():
        raise AccountError(f"Users may not create projects here (setting {USERS_CREATE.name}): ask an administrator")
    whose = _first_owner(ctx, account, domainid, accountid, userid)
    _free_name(ctx, whose.domain_id, name)
    domain = whose.domain_id
    kept = Account(name=f"PrjAcct-{name}-{domain}", type=ACCOUNT_TYPES["Project"], domain_id=domain)
    ctx.session.add(kept)
    ctx.session.flush()
    project = Project(name=name, display_text=displaytext or name, account_id=kept.id, domain_id=domain)
    ctx.session.add(project)
    ctx.session.flush()
    with members_change(ctx.session, project):
        user = userid.id if userid is not None else None
        ctx.session.add(ProjectMember(project_id=project.id, account_id=whose.id, user_id=user, role=ADMIN))
    ctx.describe(f"creating project {name}")
    return ctx.start(flows.told, project, owner=ctx.caller)


def _first_owner(
    ctx: Context, account: str | None, domainid: Domain | None, accountid: Account | None, userid: User | None
) -> Account:
    if account is not None and accountid is not None:
        raise InvalidValue("account and accountid exclude each other: send one of them")
    found = accountid
    if accountid is None and account is None and userid is not None:
        found = ctx.session.get_one(Account, userid.account_id)
    if found is None:
        found = owner(ctx, account, domainid)
    elif domainid is not None and domainid.id != found.domain_id:
        raise InvalidValue(f"the account {found.name} is in another domain than domainid: leave domainid out")
    if userid is not None and userid.account_id != found.id:
        raise InvalidValue(f"the user {userid.username} is not of the account {found.name}")
    if found.type == ACCOUNT_TYPES["Project"]:
        raise InvalidValue("a project cannot own a project: name an account with users")
    if found.state != "enabled":
        raise AccountError(f"the account {found.name} is {found.state}: enable it first")
    return found


def _free_name(ctx: Context, domain_id: int, name: str) -> None:
    """Names of projects are unique in a domain. The domain's row is the lock."""
    if not name.strip() or len(name) > LONGEST:
        raise InvalidValue(f"name has {len(name)} characters: 1 to {LONGEST} are possible")
    ctx.session.scalar(select(Domain.id).where(Domain.id == domain_id).with_for_update())
    same = select(Project.id).where(Project.domain_id == domain_id, Project.name == name, Project.removed.is_(None))
    if ctx.session.scalar(same.limit(1)) is not None:
        raise InvalidValue(f"There is a project {name} in this domain already: choose another name")


@command("updateProject", roles=EVERYONE, answers=project_view, event="PROJECT.UPDATE")
def update(
    ctx: Context,
    id: Use[Project],
    name: str | None = None,
    displaytext: str | None = None,
    account: str | None = None,
    userid: str | None = None,
    roletype: str | None = None,
    swapowner: bool | None = None,
) -> Accepted:
    """Change a project, or who administers it.

    id: the project
    name: its new name
    displaytext: a description
    account: a member, whose part in the project is to change
    userid: a member that is a single user, instead of account
    roletype: what that member shall be: Admin or Regular
    swapowner: the member takes the place of the administrator, who stays as a regular one; the default without roletype
    """
    run(ctx, id)
    if name is not None and name != id.name:
        _free_name(ctx, id.domain_id, name)
        id.name = name
    if displaytext is not None:
        id.display_text = displaytext
    if account is None and userid is None:
        if roletype is not None or swapowner:
            raise InvalidValue("roletype and swapowner are about a member: name one with account or userid")
    else:
        _change_part(ctx, id, member(ctx, id, account, userid), role_type(roletype), swapowner)
    ctx.describe(f"changing project {id.name}")
    return ctx.start(flows.told, id)


def _change_part(ctx: Context, project: Project, who: ProjectMember, role: str | None, swap: bool | None) -> None:
    if swap is None:
        swap = role is None
    if swap and role is not None:
        raise InvalidValue("roletype and swapowner=true exclude each other: send one of them")
    if role is None and not swap:
        raise InvalidValue("swapowner=false needs roletype: say what the member shall be")
    with members_change(ctx.session, project):
        if role is not None:
            who.role = role
            return
        rows = select(ProjectMember).where(ProjectMember.project_id == project.id, ProjectMember.role == ADMIN)
        before = list(ctx.session.scalars(rows))
        if len(before) > 1 and who not in before:
            raise InvalidValue(
                f"The project {project.name} has {len(before)} administrators, so that it is not clear whose place is "
                "meant: send roletype=Admin, and roletype=Regular for who shall be none"
            )
        for one in before:
            one.role = REGULAR
        who.role = ADMIN


@command("suspendProject", roles=EVERYONE, answers=project_view, event="PROJECT.SUSPEND")
def suspend(ctx: Context, id: Use[Project]) -> Accepted:
    """Suspend a project: its machines are stopped, and nothing can be made or started in it.

    id: the project
    """
    run(ctx, id)
    ctx.describe(f"suspending project {id.name}")
    return ctx.start(flows.suspend, id)


@command("activateProject", roles=EVERYONE, answers=project_view, event="PROJECT.ACTIVATE")
def activate(ctx: Context, id: Use[Project]) -> Accepted:
    """Let a suspended project be used again. Its machines stay stopped.

    id: the project
    """
    run(ctx, id)
    ctx.describe(f"activating project {id.name}")
    return ctx.start(flows.activate, id)


@command("deleteProject", roles=EVERYONE, event="PROJECT.DELETE")
def delete(ctx: Context, id: Use[Project], cleanup: bool = False) -> Accepted:
    """Delete a project.

    id: the project
    cleanup: whether to delete all that it owns too; without, one that owns machines, disks, networks or templates stays
    """
    check_runs(ctx, id)
    ctx.session.refresh(id, with_for_update=True)
    if id.removed is not None:
        raise InvalidValue(f"the project {id.name} is deleted already")
    if not cleanup:
        tables: tuple[Any, ...] = (Vm, Volume, Network, Template)
        what = f"The project {id.name}, without cleanup=true,"
        unused(ctx, what, *((table, _owned(table, id)) for table in tables))
    ctx.describe(f"deleting project {id.name}")
    return ctx.start(flows.delete, id, owner=ctx.caller)


def _owned(table: Any, project: Project) -> ColumnElement[bool]:
    mine: ColumnElement[bool] = table.account_id == project.account_id
    return mine & (Vm.kind == "User") if table is Vm else mine


@command("listProjects", roles=EVERYONE, answers=project_view)
def list_projects(
    ctx: Context,
    id: Use[Project] | None = None,
    name: str | None = None,
    displaytext: str | None = None,
    state: str | None = None,
    username: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    isrecursive: bool = False,
    listall: bool = False,
    details: list[str] | None = None,
    showicon: bool = False,
) -> Rows:
    """List projects: those that the caller is a member of, and to administrators with listall those of their domains.

    id: this one alone
    name: those of this name
    displaytext: those with this description
    state: Active, Suspended or Disabled (being deleted)
    username: those that this user is a member of
    account: those that this account is a member of; with domainid
    domainid: those of this domain
    isrecursive: those of the domains below domainid too
    listall: all that the caller may see
    details: all, resource, or min for a list without totals and limits
    showicon: accepted; there are no icons
    """
    wrong = [d for d in details or () if d not in DETAILS]
    if wrong:
        raise InvalidValue(f"details={wrong[0][:100]} is none of {', '.join(DETAILS)}")
    found = Rows(brief_view if details == ["min"] else project_view).where(
        id=id, name=name, display_text=displaytext, state=one_of("state", state, STATES)
    )
    if domainid is not None and account is None:
        below = select(Domain.id).where(Domain.path.startswith(domainid.path, autoescape=True))
        found = found.where(Project.domain_id.in_(below) if isrecursive else Project.domain_id == domainid.id)
    elif account is not None:
        found = found.where(_of_account(ctx, account, domainid))
    elif id is None and username is None and not listall:
        found = found.where(_with(ProjectMember.means(ctx.caller.account_id, ctx.caller.user_id)))
    if username is not None:
        found = found.where(_of_user(ctx, username))
    return found


def _with(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return Project.id.in_(select(ProjectMember.project_id).where(condition))


def _of_account(ctx: Context, name: str, domain: Domain | None) -> ColumnElement[bool]:
    where = domain.id if domain is not None else ctx.caller.domain_id
    rows = select(Account.id).where(Account.name == name, Account.domain_id == where, Account.usable_by(ctx.caller))
    found = ctx.session.scalar(rows.where(Account.removed.is_(None), Account.type != ACCOUNT_TYPES["Project"]))
    if found is None:
        raise InvalidValue(f"Unable to find account {name[:100]} in the given domain: check account and domainid")
    return _with(ProjectMember.account_id == found)


def _of_user(ctx: Context, username: str) -> ColumnElement[bool]:
    rows = select(User.id, User.account_id).where(User.username == username, User.usable_by(ctx.caller))
    found = ctx.session.execute(rows.where(User.removed.is_(None))).all()
    return _with(or_(Project.id == -1, *(ProjectMember.means(account, user) for user, account in found)))
