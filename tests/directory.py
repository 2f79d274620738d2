"""A directory: slapd on loopback, with people and groups, started once for a run of tests and ended by its number."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ldap3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ldap3.core.exceptions import LDAPCommunicationError

BASE = "dc=example,dc=org"
ADMIN = f"cn=admin,{BASE}"
ADMIN_PASSWORD = "directory-admin"
PEOPLE, STAFF, GROUPS = f"ou=people,{BASE}", f"ou=staff,ou=people,{BASE}", f"ou=groups,{BASE}"
CLOUD, OPS, OUTER = (f"cn={name},{GROUPS}" for name in ("cloud", "ops", "outer"))
STAR = "star*(x)\\"  # a name that means something in a filter
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {folder}/certificate.pem
TLSCertificateKeyFile {folder}/key.pem
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {folder}/data
dbnosync
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
"""


@dataclass
class Slapd:
    folder: Path
    port: int
    tls_port: int
    certificate: Path
    process: subprocess.Popen[bytes] | None = None
    link: ldap3.Connection | None = field(default=None)

    def person(self, uid: str, unit: str = PEOPLE, password: str = "") -> str:
        from ldap3.utils.dn import escape_rdn

        dn = f"uid={escape_rdn(uid)},{unit}"
        names = {"cn": uid, "sn": uid.title() or "x", "givenName": "Given", "mail": f"{uid.strip('*()')}@example.org"}
        self.link.add(dn, "inetOrgPerson", {"uid": uid, **names, "userPassword": password or f"{uid}-password"})
        return dn

    def members(self, group: str, *dns: str) -> None:
        self.link.delete(group)
        self.link.add(group, "groupOfUniqueNames", {"uniqueMember": list(dns) or [ADMIN]})

    def reset(self) -> None:
        """The people and groups that tests begin with."""
        self.link.search(BASE, "(|(objectClass=inetOrgPerson)(objectClass=groupOfUniqueNames))")
        for entry in [e.entry_dn for e in self.link.entries]:
            self.link.delete(entry)
        people = {uid: self.person(uid) for uid in ("ann", "bob", "eve", STAR)}
        self.person("dan", STAFF)
        self.members(CLOUD, people["ann"], people[STAR])
        self.members(OPS, people["bob"])
        self.members(OUTER, CLOUD)


def asked_by(cloud: Any, server: Slapd) -> None:
    """Have a cloud ask the directory."""
    server.reset()
    values = {"ldap.basedn": BASE, "ldap.bind.principal": ADMIN, "ldap.bind.password": ADMIN_PASSWORD}
    for name, value in values.items():
        cloud.ask("updateConfiguration", name=name, value=value)
    cloud.ask("addLdapConfiguration", hostname="127.0.0.1", port=server.port)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )


@contextmanager
def slapd(folder: Path) -> Iterator[Slapd]:
    (folder / "data").mkdir(parents=True)
    certificate(folder)
    found = Slapd(folder, _free(), _free(), folder / "certificate.pem")
    conf = folder / "slapd.conf"
    conf.write_text(CONFIGURATION.format(folder=folder, base=BASE, admin=ADMIN, password=ADMIN_PASSWORD))
    urls = f"ldap://127.0.0.1:{found.port}/ ldaps://127.0.0.1:{found.tls_port}/"
    log = open(folder / "log", "wb")  # noqa: SIM115  as long as the process
    found.process = subprocess.Popen(
        ["/usr/sbin/slapd", "-d", "none", "-h", urls, "-f", str(conf)], stdout=log, stderr=log
    )
    try:
        found.link = _linked(found)
        parts = {"objectClass": ["dcObject", "organization"], "o": "Example"}
        found.link.add(BASE, attributes=parts | {"dc": "example"})
        for unit in (PEOPLE, STAFF, GROUPS):
            found.link.add(unit, "organizationalUnit")
        yield found
    finally:
        with suppress(ProcessLookupError):
            os.kill(found.process.pid, 15)
        found.process.wait(20)
        log.close()


def _linked(found: Slapd) -> ldap3.Connection:
    """A link to it once it answers: it takes connections before, and ends them."""
    server = ldap3.Server("127.0.0.1", found.port, get_info=ldap3.NONE)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if found.process.poll() is not None:
            raise RuntimeError((found.folder / "log").read_text())
        with suppress(LDAPCommunicationError):
            return ldap3.Connection(server, ADMIN, ADMIN_PASSWORD, auto_bind=True)
        time.sleep(0.02)
    raise TimeoutError((found.folder / "log").read_text())
