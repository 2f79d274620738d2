"""Accounts: what may be asked."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.allocation import limits
from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, narrowed
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import ACCOUNT_TYPES, SYSTEM_ACCOUNT, Account, Domain, Role
from mgmt_server.model.scopes import of_account
from mgmt_server.model.tenancy import ADMIN, ADMINS, DOMAIN_ADMIN, EVERYONE, ROOT
from mgmt_server.model.zone import Zone
from mgmt_server.resources.account import flows, states  # noqa: F401  states: the commands that shut out and let in
from mgmt_server.resources.account.flows import LEAVING
from mgmt_server.resources.account.neighbours import WithNeighbours, are_seen, in_domain
from mgmt_server.resources.account.rights import OfAccounts, check_account
from mgmt_server.resources.account.rows import of_people, the_account
from mgmt_server.resources.account.totals import rows
from mgmt_server.resources.account.views import account_view, brief_view
from mgmt_server.resources.checks import domain_name
from mgmt_server.resources.offering.scope import MAY_TAG
from mgmt_server.resources.physicalnetwork.flows import done
from mgmt_server.resources.project.rows import check_others_administer
from mgmt_server.resources.role.rights import check_grants
from mgmt_server.resources.user import rows as users

TYPE_OF_ROLE = {"User": 0, "Admin": 1, "DomainAdmin": 2, "ResourceAdmin": 3}


@command("listAccounts", roles=EVERYONE, answers=account_view)
def list_accounts(
    ctx: Context,
    id: Use[Account] | None = None,
    name: str | None = None,
    accounttype: int | None = None,
    state: str | None = None,
    iscleanuprequired: bool | None = None,
    apikeyaccess: str | None = None,
    details: list[str] | None = None,
    tag: str | None = None,
    showicon: bool = False,
) -> Rows:
    """List accounts.

    id: this one alone
    name: those of this name
    accounttype: 0 user, 1 root administrator, 2 domain administrator, 3 resource administrator
    state: enabled, disabled or locked
    iscleanuprequired: those whose deletion has begun and is not finished, or the others
    apikeyaccess: those whose own say on the use of API keys is Enabled, Disabled or Inherit
    details: all, resource or min; min leaves out what an account has and may have
    tag: of what is counted apart by tags of hosts and storage, tell this tag alone
    showicon: accepted; there are no icons
    """
    leaving = None
    if iscleanuprequired is not None:
        leaving = Account.state == LEAVING if iscleanuprequired else Account.state != LEAVING
    found, narrow = rows(account_view, brief_view, details, tag), narrowed(ctx, ctx.session, OfAccounts)
    if are_seen(ctx):
        found = WithNeighbours(found.view, scope=in_domain(ctx.caller))
        narrow = narrow if any(ctx.sent.get(name) for name in ("account", "domainid", "projectid")) else []
    return found.where(id=id and id.id, name=name, type=accounttype, state=state and state.lower()).where(
        Account.id != SYSTEM_ACCOUNT,
        Account.type != ACCOUNT_TYPES["Project"],
        leaving,
        Account.api_key_access.is_(users.access(apikeyaccess)) if apikeyaccess is not None else None,
        *narrow,
    )


@command("createAccount", roles=ADMINS, answers=account_view, event="ACCOUNT.CREATE")
def create(
    ctx: Context,
    username: str,
    password: str,
    firstname: str,
    lastname: str,
    email: str,
    accounttype: int | None = None,
    roleid: Use[Role] | None = None,
    account: str | None = None,
    domainid: Operate[Domain] | None = None,
    networkdomain: str | None = None,
    accountdetails: dict[str, str] | None = None,
    timezone: str | None = None,
    accountid: str | None = None,
    userid: str | None = None,
) -> Account:
    """Make an account with a first user.

    username: the user's name to log in with, of which there is one in a domain
    password: the user's password to begin with
    firstname: first name
    lastname: last name
    email: address
    accounttype: 0 user, 1 root administrator, 2 domain administrator; or send roleid
    roleid: the role of the account
    account: the account's name, of which there is one in a domain; the user's by default
    domainid: the domain; the caller's own by default
    networkdomain: network domain of the account's networks
    accountdetails: free key-value pairs
    timezone: the user's, such as Europe/Zurich
    accountid: a UUID for the account, as a directory knows it
    userid: a UUID for the user
    """
    role = _role(ctx, roleid, accounttype)
    check_grants(ctx.session, ctx.caller, role)
    place = users.hold_domain(ctx.session, domainid.id if domainid is not None else ctx.caller.domain_id)
    made = Account(
        name=_free_name(ctx, place, account or username),
        type=TYPE_OF_ROLE[role.type],
        role_id=role.id,
        domain_id=place.id,
        network_domain=domain_name("networkdomain", networkdomain),
        details=accountdetails or {},
    )
    if accountid is not None:
        made.uuid = users.given_uuid(ctx.session, Account, "accountid", accountid)
    ctx.session.add(made)
    ctx.session.flush()
    user = users.make(
        ctx.session, made, username=username, password=password, firstname=firstname, lastname=lastname, email=email,
        timezone=timezone, uuid=userid,
    )  # fmt: skip
    ctx.event("USER.CREATE", user, text=f"creating user {username} of account {made.name}")
    ctx.describe(f"creating account {made.name} in domain {place.name}")
    return made


def _role(ctx: Context, role: Role | None, kind: int | None) -> Role:
    if role is not None:
        if kind is not None and kind != TYPE_OF_ROLE[role.type]:
            raise InvalidValue(f"the role {role.name} is of type {role.type}, not accounttype={kind}: send one of both")
        return role
    if kind is None:
        raise InvalidValue("Neither roleid nor accounttype was sent: send one of them")
    types = {number: name for name, number in TYPE_OF_ROLE.items()}
    if kind not in types:
        raise InvalidValue(f"accounttype={kind} is none of 0 (user), 1 (root), 2 (domain), 3 (resource administrator)")
    came = select(Role).where(Role.type == types[kind], Role.is_default, Role.removed.is_(None))
    found = ctx.session.scalar(came.order_by(Role.id).limit(1))
    if found is None:
        raise InvalidValue(f"there is no default role for accounttype={kind}: send roleid")
    return found


def _free_name(ctx: Context, domain: Domain, name: str) -> str:
    same = select(Account.id).where(Account.name == name, Account.domain_id == domain.id, Account.removed.is_(None))
    if ctx.session.scalar(same.limit(1)) is not None:
        raise InvalidValue(f"The account {name} already exists in domain {domain.name}: choose another name")
    return name


@command("updateAccount", roles=ADMINS, answers=account_view, event="ACCOUNT.UPDATE")
def update(
    ctx: Context,
    id: Operate[Account] | None = None,
    account: str | None = None,
    domainid: Operate[Domain] | None = None,
    newname: str | None = None,
    roleid: Use[Role] | None = None,
    networkdomain: str | None = None,
    accountdetails: dict[str, str] | None = None,
    apikeyaccess: str | None = None,
) -> Account:
    """Change an account.

    id: the account
    account: its name, instead of id; with domainid
    domainid: its domain
    newname: the new name
    roleid: the role that its users have from now on
    networkdomain: network domain of networks that it makes from now on; empty: that of its domain
    accountdetails: free key-value pairs, which replace those that are there
    apikeyaccess: whether calls with its users' keys are answered: Enabled, Disabled, or Inherit (the domain says)
    """
    row = the_account(ctx, id, account, domainid)
    check_account(ctx.session, ctx.caller, row)
    if newname is not None and newname != row.name:
        row.name = _free_name(ctx, users.hold_domain(ctx.session, row.domain_id), newname)
    if roleid is not None and roleid.id != row.role_id:
        _give_role(ctx, row, roleid)
    if networkdomain is not None or ctx.emptied("networkdomain"):
        row.network_domain = domain_name("networkdomain", networkdomain)
    if accountdetails is not None:
        row.details = accountdetails
    if apikeyaccess is not None:
        users.set_access(ctx, row, apikeyaccess)
    after_commit(callers.forget)
    after_commit(limits.forget)
    ctx.describe(f"changing account {row.name}")
    return row


def _give_role(ctx: Context, row: Account, role: Role) -> None:
    if row.id in (SYSTEM_ACCOUNT, ctx.caller.account_id):
        raise InvalidValue(f"the account {row.name} is your own: ask another administrator to change its role")
    check_grants(ctx.session, ctx.caller, role)
    row.role_id, row.type = role.id, TYPE_OF_ROLE[role.type]


@command("deleteAccount", roles=ADMINS, event="ACCOUNT.DELETE")
def delete(ctx: Context, id: Operate[Account]) -> Accepted:
    """Delete an account with its users and all that it owns: machines, disks, networks, addresses, templates and so on.

    Refused while it is the only administrator of a project.

    id: the account
    """
    states.check_may_go(ctx, of_people(id), "delete")
    check_others_administer(ctx.session, id)
    ctx.describe(f"deleting account {id.name}")
    flows.shut(ctx.session, id)
    return ctx.start(flows.delete, id)


@command("markDefaultZoneForAccount", roles=ROOT, answers=account_view, event="ACCOUNT.MARK.DEFAULT.ZONE")
def mark_default_zone(ctx: Context, account: str, domainid: Operate[Domain], zoneid: Use[Zone]) -> Accepted:
    """Note which zone is an account's default, for clients that offer it to its users.

    account: the account
    domainid: its domain
    zoneid: the zone
    """
    row = the_account(ctx, None, account, domainid)
    ctx.describe(f"marking zone {zoneid.name} as the default of account {row.name}")
    row.default_zone_id = zoneid.id
    return ctx.start(done, row)


@command("isAccountAllowedToCreateOfferingsWithTags", roles=(ADMIN, DOMAIN_ADMIN), key="isallowed", reads=True)
def may_tag(ctx: Context, id: Use[Account]) -> dict[str, Any]:
    """Tell whether an account may make offerings that ask for tags of hosts or storage.

    id: the account
    """
    below = id.type == ACCOUNT_TYPES["DomainAdmin"] and MAY_TAG.flag(*of_account(ctx.session, id.id))
    return {"isallowed": id.type == ACCOUNT_TYPES["Admin"] or below}
