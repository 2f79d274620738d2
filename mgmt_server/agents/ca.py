"""The cloud's own certificate authority: who is who on port 8250.

The role stands in the certificate, as the SAN `urn:cloudwright:<role>:<uuid>`. Whoever checks a certificate on the link
checks the role too, so none can act as another: a host's may serve libvirt to other hosts, and is none of a server.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server import db
from mgmt_server.errors import Failed, NotPermitted, ParameterError
from mgmt_server.model.agent import CertificateAuthority
from mgmt_server.model.settings import Setting
from mgmt_server.protocol.identity import ROLES, role_of, uri_of

PERIOD = Setting(
    "ca.framework.cert.validity.period",
    "Days for which certificates of hosts, system VMs and servers are good; they are renewed at two thirds of it",
    least=1,
    most=3650,
)
AUTOMATIC = Setting(
    "ca.framework.cert.automatic.renewal",
    "Whether hosts get a new certificate when two thirds of its life are over; else their agents are enrolled anew",
)
SAN = Setting(
    "ca.framework.cert.management.custom.san",
    "Further names, with commas, that certificates of servers are good for: those of port 8250 when a server starts",
)
ROOT_VALIDITY = timedelta(days=3650)
BACKDATE = timedelta(minutes=5)  # clocks of hosts are not ours
NAME = "cloudwright"
NO_ROOT = "This cloud has no certificate authority yet: run `cloudwright setup`"
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


@dataclass(frozen=True)
class Identity:
    uuid: str
    role: str
    name: str
    serial: str  # hex
    not_before: datetime
    not_after: datetime

    def renewable(self, now: datetime) -> bool:
        """Whether two thirds of its life are over."""
        return now >= renewal_of(self.not_before, self.not_after)


def renewal_of(begin: datetime, end: datetime) -> datetime:
    """When a certificate is to be renewed."""
    return begin + (end - begin) * 2 / 3


@dataclass(frozen=True)
class Authority:
    """The root certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root certificate, hex: what an agent is told before it has any certificate."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def sign(
        self,
        csr_pem: str,
        role: str,
        uuid: str,
        name: str,
        validity: timedelta | None = None,
        addresses: tuple[str, ...] = (),
    ) -> tuple[str, str]:
        """A certificate for the key of `csr_pem`, and its serial in hex. Nothing else is taken from the request.

        `addresses`: names and IP addresses under which others reach the holder.
        """
        try:
            csr = x509.load_pem_x509_csr(csr_pem.encode())
        except ValueError:
            raise ParameterError("The certificate request is not PEM of PKCS#10") from None
        public = csr.public_key()
        if not csr.is_signature_valid or not isinstance(public, ec.EllipticCurvePublicKey):
            raise ParameterError("The certificate request must be signed by an elliptic-curve key of its own")
        certificate = self._issue(public, role, uuid, name, validity or timedelta(days=PERIOD.number()), addresses)
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), f"{certificate.serial_number:x}"

    def _issue(
        self,
        public: ec.EllipticCurvePublicKey,
        role: str,
        uuid: str,
        name: str,
        validity: timedelta,
        addresses: tuple[str, ...],
    ) -> x509.Certificate:
        if role not in ROLES:
            raise ParameterError(f"No role {role!r}: one of {', '.join(ROLES)}")
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if role != "systemvm":  # hosts serve each other's libvirt and QEMU: migrations
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        now = datetime.now(UTC)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri_of(role, str(UUID(uuid))))]
        names += [g for a in addresses if (g := _general_name(a)) is not None]
        return (
            x509.CertificateBuilder()
            .subject_name(_subject(name))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(min(now + validity, self.certificate.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def identify(self, der: bytes, now: datetime | None = None) -> Identity:
        """Who presents this certificate. Raises NotPermitted when it is not ours, is expired, or names no role."""
        try:
            certificate = x509.load_der_x509_certificate(der)
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            raise NotPermitted("The certificate was not issued by this cloud") from None
        moment = now or datetime.now(UTC)
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise NotPermitted(
                f"The certificate was valid until {certificate.not_valid_after_utc:%Y-%m-%d}: enrol the agent again"
            )
        found = role_of(certificate)
        if found is None:
            raise NotPermitted("The certificate names no role")
        role, uuid = found
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return Identity(
            uuid,
            role,
            str(common[0].value) if common else "",
            f"{certificate.serial_number:x}",
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )

    def server_context(self, node: str, addresses: tuple[str, ...] = ()) -> ssl.SSLContext:
        """TLS 1.3 as a server of this cloud, with a certificate made now; the other side may present one of ours."""
        key = ec.generate_private_key(ec.SECP256R1())
        # its key is in memory alone, and nobody renews it while the server runs
        certificate = self._issue(key.public_key(), "server", str(uuid4()), node, ROOT_VALIDITY, addresses)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0  # a resumed session would spare the check of a certificate that was withdrawn since
        context.load_verify_locations(cadata=self.pem)
        chain = certificate.public_bytes(serialization.Encoding.PEM).decode() + self.pem
        _load_chain(context, chain, key)
        return context


def _load_chain(context: ssl.SSLContext, chain: str, key: ec.EllipticCurvePrivateKey) -> None:
    # ssl takes certificates and keys from files only
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chain")
        path.touch(mode=0o600)
        path.write_bytes(_private(key) + chain.encode())
        context.load_cert_chain(path)


def generate() -> Authority:
    """A new root."""
    subject = _subject(f"Cloudwright {uuid4().hex[:8]}")
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + ROOT_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_ROOT_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(certificate.sign(key, hashes.SHA256()), key)


_ROOT_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def create() -> bool:
    """Make the root where there is none yet; whether there was none."""

    try:
        return db.write(_create)
    except IntegrityError:
        return False  # another node was quicker


def _create(tx: Session) -> bool:
    if tx.scalar(select(CertificateAuthority.id).where(CertificateAuthority.name == NAME)) is not None:
        return False
    authority = generate()
    tx.add(CertificateAuthority(name=NAME, certificate=authority.pem, key=_private(authority.key).decode()))
    return True


def certificate(session: Session) -> str:
    """That of the root, PEM; its key is left alone. Raises Failed when it was never made."""
    columns = select(CertificateAuthority.certificate).where(CertificateAuthority.name == NAME)
    found: str | None = session.scalar(columns)
    if found is None:
        raise Failed(NO_ROOT)
    return found


def load() -> Authority:
    """The root of this cloud. Raises Failed when it was never made."""
    with db.reading() as session:
        row = session.scalar(select(CertificateAuthority).where(CertificateAuthority.name == NAME))
    if row is None:
        raise Failed(NO_ROOT)
    key = serialization.load_pem_private_key(row.key.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Failed("The stored key of the certificate authority is of a kind that we never make")
    return Authority(x509.load_pem_x509_certificate(row.certificate.encode()), key)


def life_of(pem: str) -> dict[str, datetime]:
    """From when and until when a certificate is good, as the columns of its agent."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return {"certified": begin.replace(tzinfo=None), "expires": end.replace(tzinfo=None)}


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate's DER, hex."""
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    return hashlib.sha256(der).hexdigest()


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _general_name(address: str) -> x509.GeneralName | None:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address) if HOST_NAME.fullmatch(address) else None
