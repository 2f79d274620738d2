"""Directories (LDAP): who is in them, in which groups, and whether a password is theirs. Kept by ldap3.

Every text of a caller is escaped before it stands in a filter. Referrals are not followed: they would hand a password
to a server that nobody configured.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ldap3
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from ldap3.core.exceptions import LDAPBindError, LDAPException, LDAPInvalidCredentialsResult
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import parse_dn

from mgmt_server.errors import InvalidValue, Unavailable

IN_CHAIN = "1.2.840.113556.1.4.1941"  # Active Directory's rule that follows groups in groups
DISABLED = 2  # bit of userAccountControl
CONNECT = 5  # seconds
MOST_GROUPS = 1000  # that are followed upwards from a user
WRONG = (49, 53, 19, 50)  # results of a bind: the password, or the account's state, does not let in


@dataclass(frozen=True)
class Directory:
    """Servers that hold the same entries, how to ask them, and what their attributes are called."""

    servers: tuple[tuple[str, int], ...]
    base: str
    bind_dn: str = ""
    bind_password: str = ""
    provider: str = "openldap"  # microsoftad
    timeout: float = 1.0  # seconds for an answer
    page: int = 1000
    truststore: str = ""  # a PEM or PKCS #12 file; where there is one, the link is TLS from the first byte
    truststore_password: str = ""
    username: str = "uid"
    email: str = "mail"
    firstname: str = "givenname"
    lastname: str = "sn"
    user_object: str = "inetOrgPerson"
    group_object: str = "groupOfUniqueNames"
    member: str = "uniquemember"
    member_of: str = "memberof"
    nested: bool = True
    only_group: str = ""  # users have to be in it


@dataclass(frozen=True)
class Person:
    dn: str
    username: str
    email: str
    firstname: str
    lastname: str
    groups: tuple[str, ...] = ()  # as far as the entry itself names them
    disabled: bool = False


def check(directory: Directory) -> None:
    """Raises Unavailable that says which server answered what."""
    with _bound(directory):
        return


def person(directory: Directory, username: str, under: str = "") -> Person | None:
    """The one user of that name, below `under` (all by default). None where there is no or more than one."""
    if not username:
        return None
    with _bound(directory) as link:
        found = list(_people(link, directory, f"({directory.username}={_safe(username)})", under))
        kept = [p for p in found if not directory.only_group or _is_in(link, directory, p, directory.only_group)]
    return kept[0] if len(kept) == 1 else None


def people(directory: Directory, part: str = "", group: str = "", under: str = "") -> list[Person]:
    """Users whose name, mail or surname holds `part`; those of one group. Sorted by name."""
    names = (directory.username, directory.email, directory.lastname, directory.firstname)
    wanted = f"(|{''.join(f'({n}=*{_safe(part)}*)' for n in names)})" if part else ""
    with _bound(directory) as link:
        found = [p for p in _people(link, directory, wanted, under) if not p.disabled and p.username]
        for limit in filter(None, (group, directory.only_group)):
            within = _members(link, directory, _group_dn(link, directory, limit))
            found = [p for p in found if _plain(p.dn) in within or _names(p.groups, limit)]
    return sorted(found, key=lambda p: p.username)


def is_in(directory: Directory, who: Person, group: str) -> bool:
    """Whether a user is in a group, through others too where that is on."""
    with _bound(directory) as link:
        return _is_in(link, directory, who, group)


def is_under(who: Person, unit: str) -> bool:
    """Whether a user's entry is below an organisational unit."""
    dn, above = _plain(who.dn), _plain(unit)
    return bool(above) and len(dn) > len(above) and dn[-len(above) :] == above


def knows(directory: Directory, dn: str, password: str) -> bool:
    """Whether a bind with that name and password is let in. An empty password would bind as nobody: it is none."""
    if not dn or not password or "\0" in password:
        return False
    return bool(_try_each(directory, lambda server: _bind(directory, server, dn, password)))


def check_dn(name: str, text: str) -> str:
    try:
        if parse_dn(text):
            return text
    except LDAPException:
        pass
    raise InvalidValue(f"{name}={text[:100]} is no distinguished name: write it as ou=people,dc=example,dc=org")


# --- links ---


def _try_each(directory: Directory, work: Callable[[ldap3.Server], Any]) -> Any:
    """Run `work` with the first server that answers."""
    told = []
    for host, port in directory.servers:
        try:
            return work(_server(directory, host, port))
        except LDAPException as error:
            told.append(f"{host}:{port}: {_spoken(error)}")
        except (OSError, ssl.SSLError) as error:
            told.append(f"{host}:{port}: {error}")
    raise Unavailable(f"LDAP: {'; '.join(told) or 'there is no server: addLdapConfiguration adds one'}")


def _spoken(error: LDAPException) -> str:
    return str(error).replace("\n", " ")[:300] or type(error).__name__


def _server(directory: Directory, host: str, port: int) -> ldap3.Server:
    tls = _tls(directory) if directory.truststore else None
    return ldap3.Server(host, port, use_ssl=tls is not None, tls=tls, get_info=ldap3.NONE, connect_timeout=CONNECT)


def _tls(directory: Directory) -> ldap3.Tls:
    path = Path(directory.truststore)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unavailable(f"Invalid truststore {path}: {error.strerror}") from None
    if b"-----BEGIN" not in data:
        try:
            key, own, more = pkcs12.load_key_and_certificates(data, directory.truststore_password.encode())
        except ValueError:
            raise Unavailable(
                f"Invalid truststore or truststore password: {path} is neither PEM nor PKCS #12 with that password"
            ) from None
        data = b"".join(c.public_bytes(Encoding.PEM) for c in [*([own] if own else []), *more])
    return ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_data=data.decode("ascii", "replace"))


def _connection(directory: Directory, server: ldap3.Server, dn: str, password: str) -> ldap3.Connection:
    return ldap3.Connection(
        server,
        user=dn or None,
        password=password or None,
        authentication=ldap3.SIMPLE if dn else ldap3.ANONYMOUS,
        client_strategy=ldap3.SAFE_SYNC,
        auto_referrals=False,
        read_only=True,
        check_names=False,
        raise_exceptions=False,
        receive_timeout=max(1, math.ceil(directory.timeout)),
    )


def _bind(directory: Directory, server: ldap3.Server, dn: str, password: str) -> bool:
    link = _connection(directory, server, dn, password)
    try:
        link.open()
        done, result, _, _ = link.bind()
        if not done and result["result"] not in WRONG:
            raise LDAPBindError(f"{result['description']} {result['message']}")
        return bool(done)
    except LDAPInvalidCredentialsResult:
        return False
    finally:
        link.unbind()


@contextmanager
def _bound(directory: Directory) -> Iterator[ldap3.Connection]:
    """A link that is bound as the configured principal, or as nobody."""

    def opened(server: ldap3.Server) -> ldap3.Connection:
        link = _connection(directory, server, directory.bind_dn, directory.bind_password)
        link.open()
        done, result, _, _ = link.bind()
        if not done:
            link.unbind()
            raise LDAPBindError(f"the bind as {directory.bind_dn or 'nobody'} is refused: {result['description']}")
        return link

    link = _try_each(directory, opened)
    try:
        yield link
    except LDAPException as error:
        raise Unavailable(f"LDAP: {_spoken(error)}") from None
    finally:
        link.unbind()


# --- searches ---


def _search(link: ldap3.Connection, directory: Directory, base: str, wanted: str, names: Iterable[str]) -> list[Any]:
    if not base:
        raise InvalidValue("the setting ldap.basedn is empty: set where in the directory users are looked for")
    found = []
    cookie: bytes | None = None
    while True:
        done, result, entries, _ = link.search(
            base, wanted, attributes=list(names), paged_size=directory.page, paged_cookie=cookie
        )
        if not done and result["result"] not in (0, 32):  # 32: there is no such base
            raise LDAPException(f"the search below {base} is refused: {result['description']}")
        found += [e for e in entries or [] if e.get("type") == "searchResEntry"]
        paging = (result.get("controls") or {}).get("1.2.840.113556.1.4.319", {}).get("value", {})
        cookie = paging.get("cookie")
        if not cookie:
            return found


def _people(link: ldap3.Connection, directory: Directory, wanted: str, under: str) -> Iterator[Person]:
    names = (directory.username, directory.email, directory.firstname, directory.lastname, directory.member_of)
    more = ("userAccountControl",) if directory.provider == "microsoftad" else ()
    filter_ = f"(&(objectClass={_safe(directory.user_object)}){wanted})"
    for entry in _search(link, directory, under or directory.base, filter_, (*names, *more)):
        texts = {name.lower(): _texts(values) for name, values in entry["raw_attributes"].items()}

        def first(name: str, texts: dict[str, list[str]] = texts) -> str:
            return (texts.get(name.lower()) or [""])[0]

        control = first("userAccountControl")
        yield Person(
            dn=entry["dn"],
            username=first(directory.username),
            email=first(directory.email),
            firstname=first(directory.firstname),
            lastname=first(directory.lastname),
            groups=tuple(texts.get(directory.member_of.lower(), [])),
            disabled=control.isdecimal() and bool(int(control) & DISABLED),
        )


def _texts(values: Iterable[bytes]) -> list[str]:
    return [v.decode("utf-8", "replace") for v in values]


def _group_dn(link: ldap3.Connection, directory: Directory, group: str) -> str:
    """A group is named by its distinguished name, or by its common name where that is one group's."""
    try:
        if parse_dn(group):
            return group
    except LDAPException:
        pass
    wanted = f"(&(objectClass={_safe(directory.group_object)})(cn={_safe(group)}))"
    found = _search(link, directory, directory.base, wanted, ("cn",))
    if len(found) != 1:
        raise InvalidValue(f"there are {len(found)} groups {group[:100]} below {directory.base}: name one by its DN")
    return str(found[0]["dn"])


def _is_in(link: ldap3.Connection, directory: Directory, who: Person, group: str) -> bool:
    group = _group_dn(link, directory, group)
    if _names(who.groups, group):
        return True
    if directory.provider == "microsoftad" and directory.nested:
        rule = f"({directory.member_of}:{IN_CHAIN}:={_safe(group)})"
        return bool(_search(link, directory, who.dn, f"(&(objectClass=*){rule})", (directory.username,)))
    wanted, seen, ask = _plain(group), set[Any](), [who.dn, *(who.groups if directory.nested else ())]
    while ask and len(seen) < MOST_GROUPS:
        dn = ask.pop()
        if _plain(dn) in seen:
            continue
        seen.add(_plain(dn))
        filter_ = f"(&(objectClass={_safe(directory.group_object)})({directory.member}={_safe(dn)}))"
        above = [str(e["dn"]) for e in _search(link, directory, directory.base, filter_, ("cn",))]
        if any(_plain(a) == wanted for a in above):
            return True
        ask += above if directory.nested else []
    return False


def _members(link: ldap3.Connection, directory: Directory, group: str) -> set[Any]:
    """The names of all who are in a group, through others too where that is on. All groups are read once."""
    groups = {}
    for entry in _search(
        link, directory, directory.base, f"(objectClass={_safe(directory.group_object)})", (directory.member,)
    ):
        groups[_plain(entry["dn"])] = [_plain(m) for v in entry["raw_attributes"].values() for m in _texts(v)]
    found, ask, seen = set[Any](), [_plain(group)], set[Any]()
    while ask:
        name = ask.pop()
        if name in seen:
            continue
        seen.add(name)
        found.update(groups.get(name, []))
        ask += [m for m in groups.get(name, []) if m in groups] if directory.nested else []
    return found


def _names(groups: Iterable[str], group: str) -> bool:
    wanted = _plain(group)
    return bool(wanted) and any(_plain(g) == wanted for g in groups)


def _plain(dn: str) -> tuple[tuple[str, str], ...]:
    """A distinguished name as it is compared: by parts, in any case. Empty for what is none."""
    try:
        return tuple((name.strip().lower(), value.strip().casefold()) for name, value, _ in parse_dn(dn, strip=True))
    except LDAPException:
        return ()


def _safe(text: str) -> str:
    return str(escape_filter_chars(text))
