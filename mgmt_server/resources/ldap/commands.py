"""Directories (LDAP): their servers, the people in them, and who of them becomes a user."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, page_of
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now, write
from mgmt_server.drivers import ldap
from mgmt_server.drivers.ldap import Directory, Person
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain, LdapServer, Role, User
from mgmt_server.model.tenancy import ADMIN, DOMAIN_ADMIN, EVERYONE, RESOURCE_ADMIN, ROOT
from mgmt_server.resources.account.rights import check_account
from mgmt_server.resources.account.views import account_view
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.ldap import links, rows, settings  # noqa: F401  links: the commands about them
from mgmt_server.resources.ldap.views import ldap_server_view, shown
from mgmt_server.resources.role.rights import check_grants


@command("addLdapConfiguration", roles=ROOT, answers=ldap_server_view, key="LdapAddConfiguration", outside=True)
def add_server(ctx: Context, hostname: str, port: int, domainid: Use[Domain] | None = None) -> LdapServer:
    """Add a server of a directory, after a bind with the settings as they are. Servers of one domain hold the same.

    hostname: name or address
    port: 389, or 636 where ldap.truststore is set
    domainid: the domain that it is for; all by default
    """
    place = domainid.id if domainid is not None else None
    if not 0 < port < 65536 or not hostname.strip() or any(c in hostname for c in " /\n"):
        raise InvalidValue(f"{hostname[:100]}:{port} is no server: send a name or address, and a port from 1 to 65535")
    if _server(ctx, hostname, port, place) is not None:
        raise InvalidValue(f"Duplicate configuration: {hostname}:{port} is there already")
    ldap.check(settings.asked(ctx.session, place, ((hostname, port),)))

    def keep(tx: Any) -> int:
        made = LdapServer(hostname=hostname, port=port, domain_id=place)
        tx.add(made)
        tx.flush()
        return int(made.id)

    return ctx.session.get_one(LdapServer, write(keep))


def _server(ctx: Context, hostname: str, port: int, domain_id: int | None) -> LdapServer | None:
    same = select(LdapServer).where(LdapServer.hostname == hostname, LdapServer.port == port)
    same = same.where(LdapServer.domain_id == domain_id, LdapServer.removed.is_(None))
    return ctx.session.scalar(same.limit(1))


@command("listLdapConfigurations", roles=EVERYONE, answers=ldap_server_view)
def list_servers(
    ctx: Context,
    id: Use[LdapServer] | None = None,
    hostname: str | None = None,
    port: int | None = None,
    domainid: Use[Domain] | None = None,
    listall: bool = True,
) -> Rows:
    """List the servers of directories: those for all, and those of domains of the caller's.

    id: this one alone
    hostname: those of this name
    port: those at this port
    domainid: those for this domain
    listall: false leaves those out that are for one domain
    """
    found = Rows(ldap_server_view).where(id=id and id.id, hostname=hostname, port=port)
    place = LdapServer.domain_id == domainid.id if domainid is not None else None
    return found.where(place, LdapServer.domain_id.is_(None) if not listall and domainid is None else None)


@command("deleteLdapConfiguration", roles=ROOT, key="LdapDeleteConfiguration")
def delete_server(
    ctx: Context,
    id: Operate[LdapServer] | None = None,
    hostname: str | None = None,
    port: int = 389,
    domainid: Use[Domain] | None = None,
) -> dict[str, Any]:
    """Take a server of a directory out. Users whom it knows cannot log in while there is none.

    id: the server
    hostname: its name, instead of id
    port: its port, with hostname
    domainid: its domain, with hostname
    """
    if id is None and not hostname:
        raise InvalidValue("which server? Send its id, or hostname and port")
    found = id or _server(ctx, hostname or "", port, domainid.id if domainid is not None else None)
    if found is None:
        raise InvalidValue(f"there is no server {hostname}:{port}: listLdapConfigurations tells those that are there")
    told = ldap_server_view.one(ctx.session, ctx.caller, found.id)
    found.removed = now()
    return told


def directory_of(ctx: Context, domain: Domain | None) -> Directory:
    found = settings.directory(ctx.session, domain.id if domain is not None else ctx.caller.domain_id)
    if found is None:
        raise InvalidValue("there is no directory for this domain: addLdapConfiguration adds a server")
    return found


def _page(ctx: Context, found: list[dict[str, Any]]) -> dict[str, Any]:
    number, size = page_of(ctx.sent)
    part = found if size < 0 else found[(max(number, 1) - 1) * size :][:size]
    if not found:
        return {}
    return {"count": len(found), "LdapUser": part} if part else {"count": len(found)}


def sources(ctx: Context, domain_id: int | None) -> dict[str, str]:
    """Names by which people log in already, with who keeps their passwords."""
    users = select(User.username, User.source).join(Account, Account.id == User.account_id)
    users = users.where(User.removed.is_(None))
    if domain_id is not None:
        users = users.where(Account.domain_id == domain_id)
    else:
        users = users.where(User.operable_by(ctx.caller))
    return {found.username: found.source for found in ctx.session.execute(users)}


@command("listLdapUsers", roles=(ADMIN, RESOURCE_ADMIN, DOMAIN_ADMIN), key="", outside=True)
def list_people(
    ctx: Context,
    keyword: str | None = None,
    domainid: Operate[Domain] | None = None,
    listtype: str = "all",
    userfilter: str | None = None,
) -> dict[str, Any]:
    """List the people in the directory of a domain.

    keyword: those with this in their name or mail address
    domainid: the domain; the caller's own by default
    listtype: all, or new for those who are no users yet
    userfilter: NoFilter; LocalDomain or AnyDomain without users of the domain, or of any; PotentialImport
    """
    directory = directory_of(ctx, domainid)
    place = domainid.id if domainid is not None else ctx.caller.domain_id
    here, anywhere = sources(ctx, place), sources(ctx, None)
    mode = one_of("userfilter", userfilter, ("NoFilter", "LocalDomain", "AnyDomain", "PotentialImport")) or "NoFilter"
    if one_of("listtype", listtype, ("all", "new")) == "new":
        mode = "AnyDomain"
    out = {"NoFilter": {}, "LocalDomain": here, "AnyDomain": anywhere}.get(mode)
    if out is None:  # whom an import would touch: all but those whom the directory keeps here already
        out = {name: source for name, source in here.items() if source == "ldap"}
    found = ldap.people(directory, keyword or "")
    return _page(ctx, [shown(directory, p, here.get(p.username, "")) for p in found if p.username not in out])


@command("searchLdap", roles=ROOT, key="", outside=True)
def search(ctx: Context, query: str) -> dict[str, Any]:
    """List the people in the directory whose name or mail address holds a text.

    query: the text
    """
    directory = directory_of(ctx, None)
    return _page(ctx, [shown(directory, p) for p in ldap.people(directory, query)])


def _role(ctx: Context, role: Role | None, kind: int | None) -> tuple[Role, int]:
    """The role of a new account, which reaches no further than the caller's, and its type."""
    chosen = role or rows.default_role(ctx.session, kind or 0)
    types = {"User": 0, ADMIN: 1, DOMAIN_ADMIN: 2, RESOURCE_ADMIN: 3}
    if kind is not None and role is not None and kind != types[role.type]:
        raise InvalidValue(f"the role {role.name} is of type {role.type}, not accounttype={kind}: send one of both")
    check_grants(ctx.session, ctx.caller, chosen)
    return chosen, types[chosen.type]


@command("ldapCreateAccount", roles=(ADMIN, RESOURCE_ADMIN), answers=account_view, outside=True)
def create_account(
    ctx: Context,
    username: str,
    account: str | None = None,
    accounttype: int | None = None,
    roleid: Use[Role] | None = None,
    domainid: Operate[Domain] | None = None,
    networkdomain: str | None = None,
    accountdetails: dict[str, str] | None = None,
    timezone: str | None = None,
    accountid: str | None = None,
    userid: str | None = None,
) -> Account:
    """Make somebody in the directory a user, in an account that is made where it is missing.

    username: the name in the directory
    account: the account's name; the user's by default
    accounttype: 0 user, 2 domain administrator; or send roleid
    roleid: the role of the account
    domainid: the domain; the caller's own by default
    networkdomain: network domain of the account's networks
    accountdetails: free key-value pairs
    timezone: the user's, such as Europe/Zurich
    accountid: a UUID for the account
    userid: a UUID for the user
    """
    place = domainid.id if domainid is not None else ctx.caller.domain_id
    who = ldap.person(directory_of(ctx, domainid), username)
    if who is None or who.disabled:
        raise InvalidValue(f"No LDAP user exists with the username of {username}: listLdapUsers tells who is there")
    role, kind = _role(ctx, roleid, accounttype)

    def make(tx: Any) -> int:
        owner = _owner(ctx, tx, place, account or who.username, role, kind)
        owner.network_domain = networkdomain or owner.network_domain
        owner.details = {**owner.details, **(accountdetails or {})}
        if accountid is not None and accountid != owner.uuid:
            owner.uuid = rows.given_uuid(tx, Account, "accountid", accountid)
        user = rows.make_user(tx, owner, who, timezone)
        if userid is not None:
            user.uuid = rows.given_uuid(tx, User, "userid", userid)
        return int(owner.id)

    return ctx.session.get_one(Account, write(make))


def _owner(ctx: Context, tx: Any, domain_id: int, name: str, role: Role, kind: int) -> Account:
    """The account of that name, which the caller may add users to, or a new one."""
    found = rows.account_named(tx, domain_id, name)
    if found is None:
        return rows.make_account(tx, domain_id, name, role, kind)
    check_account(tx, ctx.caller, found)
    return found


@command("importLdapUsers", roles=(ADMIN, RESOURCE_ADMIN), key="", outside=True)
def import_people(
    ctx: Context,
    account: str | None = None,
    accounttype: int | None = None,
    roleid: Use[Role] | None = None,
    domainid: Operate[Domain] | None = None,
    group: str | None = None,
    keyword: str | None = None,
    timezone: str | None = None,
    accountdetails: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Make the people of the directory users, each in an account of the same name, or all in one.

    account: one account for all
    accounttype: 0 user, 2 domain administrator; or send roleid
    roleid: the role of the accounts that are made
    domainid: the domain; the caller's own by default
    group: those in this group
    keyword: those with this in their name or mail address
    timezone: such as Europe/Zurich
    accountdetails: free key-value pairs of the accounts
    """
    place = domainid or ctx.session.get_one(Domain, ctx.caller.domain_id)
    directory = directory_of(ctx, place)
    role, kind = _role(ctx, roleid, accounttype)
    there = sources(ctx, place.id)
    found = [p for p in ldap.people(directory, keyword or "", group or "") if p.username not in there]
    made = []
    for who in found:

        def make(tx: Any, who: Person = who) -> None:
            owner = _owner(ctx, tx, place.id, account or who.username, role, kind)
            owner.details = {**owner.details, **(accountdetails or {})}
            rows.make_user(tx, owner, who, timezone)

        write(make)
        made.append(shown(directory, who))
    return _page(ctx, made)
