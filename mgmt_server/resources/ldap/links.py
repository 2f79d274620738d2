"""Groups and units of a directory whose people are users of a domain or an account."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import changed, now, write
from mgmt_server.drivers import ldap
from mgmt_server.drivers.ldap import Directory
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain, LdapLink, LdapServer, Role
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import ADMIN, DOMAIN_ADMIN, RESOURCE_ADMIN, ROOT
from mgmt_server.resources.account.rights import check_account
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.ldap import login, rows, settings
from mgmt_server.resources.role.rights import check_grants
from mgmt_server.resources.setting.values import keep

KINDS = ("GROUP", "OU")


def _checked(ctx: Context, domain: Domain, kind: str, name: str | None) -> tuple[Directory | None, str, str]:
    if not settings.asked(ctx.session, domain.id, ()).base:
        raise InvalidValue(f"the setting {settings.BASE.name} is empty for this domain: set it first")
    if not name:
        raise InvalidValue("which group or unit? Send ldapdomain, its distinguished name")
    chosen = str(one_of("type", kind.upper(), KINDS))
    return settings.directory(ctx.session, domain.id), chosen, ldap.check_dn("ldapdomain", name)


@command("linkDomainToLdap", roles=(ADMIN, RESOURCE_ADMIN), key="LinkDomainToLdap", outside=True)
def link_domain(
    ctx: Context,
    domainid: Operate[Domain],
    type: str,
    accounttype: int,
    ldapdomain: str | None = None,
    name: str | None = None,
    admin: str | None = None,
) -> dict[str, Any]:
    """Let those in a group or unit of the directory be users of a domain: each with an account from the first log-in.

    domainid: the domain
    type: GROUP or OU
    accounttype: what they are: 0 user, 2 domain administrator
    ldapdomain: the distinguished name of the group or unit
    name: the same; an older name of the parameter
    admin: somebody of it who becomes domain administrator at once
    """
    directory, kind, dn = _checked(ctx, domainid, type, ldapdomain or name)
    check_grants(ctx.session, ctx.caller, rows.default_role(ctx.session, accounttype))
    domain_id = domainid.id

    def keep_link(tx: Any) -> None:
        same = select(LdapLink.id).where(LdapLink.domain_id == domain_id, LdapLink.name == dn)
        if tx.scalar(same.where(LdapLink.removed.is_(None), LdapLink.account_id.is_(None))) is not None:
            raise InvalidValue(f"{dn} is linked to this domain already")
        tx.add(LdapLink(domain_id=domain_id, kind=kind, name=dn, account_type=accounttype))

    write(keep_link)
    told = {"domainid": domainid.uuid, "type": kind, "name": dn, "ldapdomain": dn, "accounttype": accounttype}
    made = _admin(ctx, directory, domainid, kind, dn, admin, None)
    return told | ({"accountid": made} if made else {})


def _admin(
    ctx: Context, directory: Directory | None, domain: Domain, kind: str, dn: str, name: str | None, into: int | None
) -> str:
    """Make somebody of the group or unit a user at once, in an own account of a domain administrator or in one that
    is there: the account's uuid. Nothing for whom the directory does not know there."""
    who = ldap.person(directory, name) if name and directory is not None else None
    asked = LdapLink(domain_id=domain.id, kind=kind, name=dn)
    if who is None or directory is None or who.disabled or not login.belongs(directory, who, asked):
        return ""
    if into is None:
        check_grants(ctx.session, ctx.caller, rows.default_role(ctx.session, 2))

    def make(tx: Any) -> str:
        if into is None:
            user = rows.make_both(tx, domain.id, who, 2)
            return str(tx.get_one(Account, user.account_id).uuid)
        rows.make_user(tx, tx.get_one(Account, into), who)
        return str(tx.get_one(Account, into).uuid)

    return write(make)


@command("linkAccountToLdap", roles=(ADMIN, DOMAIN_ADMIN), key="linkAccountToLdap", outside=True)
def link_account(
    ctx: Context,
    domainid: Operate[Domain],
    account: str,
    ldapdomain: str,
    type: str = "GROUP",
    accounttype: int | None = None,
    roleid: Use[Role] | None = None,
    admin: str | None = None,
) -> dict[str, Any]:
    """Let those in a group or unit of the directory be users of an account, which is made where it is missing.

    domainid: the account's domain
    account: the account's name
    ldapdomain: the distinguished name of the group or unit
    type: GROUP or OU
    accounttype: of an account that is made: 0 user, 2 domain administrator
    roleid: its role
    admin: somebody of it who becomes a user of the account at once
    """
    directory, kind, dn = _checked(ctx, domainid, type, ldapdomain)
    role = roleid or rows.default_role(ctx.session, accounttype or 0)
    check_grants(ctx.session, ctx.caller, role)
    types = {"User": 0, ADMIN: 1, DOMAIN_ADMIN: 2, RESOURCE_ADMIN: 3}
    if types[role.type] not in rows.ROLE_OF_LINK:
        raise InvalidValue(f"the role {role.name} is of type {role.type}: a link makes users and domain administrators")
    domain_id = domainid.id

    def keep_link(tx: Any) -> tuple[int, str, int]:
        found = rows.account_named(tx, domain_id, account)
        if found is None:
            found = rows.make_account(tx, domain_id, account, role, types[role.type])
        check_account(tx, ctx.caller, found)  # whoever is in the group gets the rights of the account
        if found.type not in rows.ROLE_OF_LINK:
            raise InvalidValue(
                f"the account {account} is neither a user's nor a domain administrator's: choose another"
            )
        same = select(LdapLink.id).where(LdapLink.domain_id == domain_id, LdapLink.name == dn)
        if tx.scalar(same.where(LdapLink.removed.is_(None), LdapLink.account_id.is_not(None))) is not None:
            raise InvalidValue(f"{dn} is linked to an account of this domain already")
        before = LdapLink.account_id == found.id
        tx.execute(delete(LdapLink).where(before))  # an account is linked to one
        tx.add(LdapLink(domain_id=domain_id, account_id=found.id, kind=kind, name=dn, account_type=found.type))
        return found.id, found.uuid, found.type

    number, uuid, made_type = write(keep_link)
    _admin(ctx, directory, domainid, kind, dn, admin, number)
    return {
        "domainid": domainid.uuid,
        "type": kind,
        "name": dn,
        "ldapdomain": dn,
        "accounttype": made_type,
        "accountid": uuid,
        "account": account,
    }


@command("listLdapLinks", roles=(ADMIN, DOMAIN_ADMIN), key="ldaplink", reads=True, own=True)
def list_links(ctx: Context, domainid: Operate[Domain] | None = None) -> list[dict[str, Any]]:
    """List the groups and units of directories that are linked to domains and accounts.

    domainid: those of this domain; without it, of all that the caller may change
    """
    found = select(LdapLink, Domain.uuid, Account.uuid, Account.name).join(Domain, Domain.id == LdapLink.domain_id)
    found = found.outerjoin(Account, Account.id == LdapLink.account_id).where(LdapLink.removed.is_(None))
    found = found.where(Domain.operable_by(ctx.caller), Domain.removed.is_(None), Account.removed.is_(None))
    found = found.order_by(LdapLink.id)
    if domainid is not None:
        found = found.where(LdapLink.domain_id == domainid.id)
    told = []
    for link, domain, account, name in ctx.session.execute(found):
        one = {"domainid": domain, "type": link.kind, "ldapdomain": link.name, "accounttype": link.account_type}
        told.append(one | ({"accountid": account, "account": name} if account else {}))
    return told


@command("unlinkDomainFromLdap", roles=(ADMIN, RESOURCE_ADMIN), own=True)
def unlink(ctx: Context, domainid: Operate[Domain], ldapdomain: str | None = None) -> None:
    """Take the links of a domain and its accounts to a directory away. Users stay.

    domainid: the domain
    ldapdomain: the link to this group or unit alone; refused where there is none
    """
    if "ldapdomain" in ctx.sent and not (ldapdomain or "").strip():
        raise InvalidValue("ldapdomain is empty: name a link, or leave it out to take all links of the domain away")
    mine = LdapLink.domain_id == domainid.id
    gone = mine & (LdapLink.name == ldapdomain) if ldapdomain is not None else mine
    taken = changed(ctx.session.execute(delete(LdapLink).where(gone).execution_options(synchronize_session=False)))
    if ldapdomain is not None and taken == 0:  # whoever mistypes a name must not think that its people are out
        raise InvalidValue(
            f"{ldapdomain[:200]} is not linked to the domain {domainid.name}: listLdapLinks names what is"
        )


# --- the commands of old ---


@command("ldapConfig", roles=ROOT, key="ldapconfig", unsupported=("queryfilter",), outside=True)
def old_config(
    ctx: Context,
    hostname: str | None = None,
    port: int = 389,
    searchbase: str | None = None,
    binddn: str | None = None,
    bindpass: str | None = None,
    ssl: bool = False,
    truststore: str | None = None,
    truststorepass: str | None = None,
    listall: bool = False,
) -> list[dict[str, Any]]:
    """Set up a directory for the whole installation in one call, as clients of old do; or tell what is set up.

    hostname: name or address of the server
    port: its port
    searchbase: where users are looked for
    binddn: the name that searches are made as
    bindpass: that name's password
    ssl: whether the link is TLS; needs truststore
    truststore: file with the certificates that the directory is trusted by
    truststorepass: password of that file
    listall: true tells what is set up
    """
    if not listall:
        if not hostname or not searchbase:
            raise InvalidValue("hostname and searchbase are needed, or listall=true")
        if ssl and not truststore:
            raise InvalidValue("ssl needs truststore: the file with the certificates that the directory is trusted by")
        given: dict[Setting, str | None] = {
            settings.BASE: searchbase, settings.BIND: binddn, settings.BIND_PASSWORD: bindpass,
            settings.STORE: truststore, settings.STORE_PASSWORD: truststorepass,
        }  # fmt: skip

        def change(tx: Any) -> None:
            for setting, value in given.items():
                if value is not None:
                    keep(tx, setting, None, value)
            tx.add(LdapServer(hostname=hostname, port=port))

        write(change)
        ldap.check(settings.asked(ctx.session, None, ((hostname, port),)))
    found = settings.directory(ctx.session, None)
    servers = found.servers if found is not None else ()
    secure = "true" if found is not None and found.truststore else "false"
    told = {"searchbase": settings.BASE.text(), "binddn": settings.BIND.text()}
    return [{"hostname": h, "port": str(p), "ssl": secure} | {k: v for k, v in told.items() if v} for h, p in servers]


@command("ldapRemove", roles=ROOT, key="ldapremove")
def old_remove(ctx: Context) -> dict[str, Any]:
    """Take all servers of the directory for the whole installation out, as clients of old do."""
    for row in ctx.session.scalars(
        select(LdapServer).where(LdapServer.domain_id.is_(None), LdapServer.removed.is_(None))
    ):
        row.removed = now()
    return {}
