"""How the directory of a domain is asked, as the settings say."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.scopes import of_domain
from mgmt_server.drivers.ldap import Directory
from mgmt_server.model.account import LdapServer
from mgmt_server.model.settings import Scope, Setting

PROVIDER = Setting("ldap.provider", "What kind of directory it is", options=("openldap", "microsoftad"))
BASE = Setting("ldap.basedn", "Where in the directory users and groups are looked for, as dc=example,dc=org")
BIND = Setting("ldap.bind.principal", "The name that searches are made as; empty: nobody's")
BIND_PASSWORD = Setting("ldap.bind.password", "That name's password", secret=True)
TIMEOUT = Setting("ldap.read.timeout", "Milliseconds that the directory may take for an answer", least=100)
PAGE = Setting("ldap.request.page.size", "Entries that are asked for at once", least=1)
STORE = Setting(
    "ldap.truststore",
    "File (PEM or PKCS #12) on the management servers with the certificates that the directory is trusted by. "
    "Where it is set, links are TLS (ldaps)",
)
STORE_PASSWORD = Setting("ldap.truststore.password", "Password of that file", secret=True)
USERNAME = Setting("ldap.username.attribute", "Attribute that holds the name to log in with")
EMAIL = Setting("ldap.email.attribute", "Attribute that holds the mail address")
FIRSTNAME = Setting("ldap.firstname.attribute", "Attribute that holds the first name")
LASTNAME = Setting("ldap.lastname.attribute", "Attribute that holds the last name")
USER_OBJECT = Setting("ldap.user.object", "Object class of users")
GROUP_OBJECT = Setting("ldap.group.object", "Object class of groups")
MEMBER = Setting("ldap.group.user.uniquemember", "Attribute of groups that names their members")
MEMBER_OF = Setting("ldap.user.memberof.attribute", "Attribute of users that names their groups, where there is one")
NESTED = Setting("ldap.nested.groups.enable", "Whether who is in a group of a group is in the group")
GROUP = Setting("ldap.search.group.principle", "Group that users have to be in; empty: none")


def directory(session: Session, domain_id: int | None) -> Directory | None:
    """The directory of a domain: its own servers, else those for all. None where there are none."""
    rows = select(LdapServer).where(LdapServer.removed.is_(None)).order_by(LdapServer.id)
    servers = list(session.scalars(rows.where(LdapServer.domain_id == domain_id))) if domain_id is not None else []
    servers = servers or list(session.scalars(rows.where(LdapServer.domain_id.is_(None))))
    if not servers:
        return None
    return asked(session, domain_id, tuple((s.hostname, s.port) for s in servers))


def asked(session: Session, domain_id: int | None, servers: tuple[tuple[str, int], ...]) -> Directory:
    """The settings of a domain, for these servers."""
    scopes: tuple[Scope, ...] = of_domain(session, domain_id) if domain_id is not None else ()
    return Directory(
        servers=servers,
        base=BASE.text(*scopes).strip(),
        bind_dn=BIND.text(*scopes),
        bind_password=BIND_PASSWORD.text(*scopes),
        provider=PROVIDER.text(*scopes).lower(),
        timeout=TIMEOUT.number(*scopes) / 1000,
        page=PAGE.number(*scopes),
        truststore=STORE.text(*scopes).strip(),
        truststore_password=STORE_PASSWORD.text(*scopes),
        username=USERNAME.text(*scopes),
        email=EMAIL.text(*scopes),
        firstname=FIRSTNAME.text(*scopes),
        lastname=LASTNAME.text(*scopes),
        user_object=USER_OBJECT.text(*scopes),
        group_object=GROUP_OBJECT.text(*scopes),
        member=MEMBER.text(*scopes),
        member_of=MEMBER_OF.text(*scopes),
        nested=NESTED.flag(*scopes),
        only_group=GROUP.text(*scopes).strip(),
    )
