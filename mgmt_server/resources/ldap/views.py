"""Directories and the people in them as clients see them."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.view import View
from mgmt_server.drivers.ldap import Directory, Person
from mgmt_server.model.account import Domain, LdapServer

ldap_server_view = View(
    "LdapConfiguration",
    LdapServer,
    response="LdapConfigurationResponse",
    keyword=(LdapServer.hostname,),
    joins=((Domain, Domain.id == LdapServer.domain_id),),
    id=LdapServer.uuid,
    hostname=LdapServer.hostname,
    port=LdapServer.port,
    domainid=Domain.uuid,
)


def shown(directory: Directory, who: Person, source: str = "") -> dict[str, Any]:
    told = {
        "username": who.username,
        "email": who.email,
        "firstname": who.firstname,
        "lastname": who.lastname,
        "principal": who.dn,
        "domain": _unit(directory, who),
        "conflictingusersource": source,
    }
    return {name: value for name, value in told.items() if value}


def _unit(directory: Directory, who: Person) -> str:
    """Where the entry is, below the base: ou=people of uid=ann,ou=people,dc=example,dc=org is told as people."""
    above = who.dn.partition(",")[2]
    if above.lower().endswith(directory.base.lower()):
        above = above[: len(above) - len(directory.base)]
    return ",".join(part.partition("=")[2] for part in above.strip(",").split(",") if part)
