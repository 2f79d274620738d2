"""Certificates that operators have the cloud's authority make for services of their own.

They name no role, so on the agents' link they open nothing; they are for servers, not for clients; and their subject is
none that libvirt on hosts lets in.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mgmt_server.agents.ca import BACKDATE, HOST_NAME, Authority
from mgmt_server.errors import InvalidValue

ORGANISATION = "Issued by Cloudwright"
LEAST_RSA = 2048  # bits


@dataclass(frozen=True)
class Issued:
    """PEM; `key` is empty where the request came with one of its own."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Wanted:
    """What somebody wants certified; names and addresses may be taken from the request, PEM of PKCS#10."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    days: int
    request: str = ""


def complete(wanted: Wanted) -> Wanted:
    """With the request's own names where none were given. Raises InvalidValue for what cannot be certified."""
    names, addresses = wanted.names, wanted.addresses
    if wanted.request:
        request = _request(wanted.request)
        if not names and not addresses:
            names, addresses = _named_in(request)
    for name in names:
        if len(name) > 253 or not HOST_NAME.fullmatch(name.removeprefix("*.")):
            raise InvalidValue(f"{name[:100]!r} is no name of a host: send names in domain and addresses in ipaddress")
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidValue(f"{address[:100]!r} is no IP address") from None
    if not names and not addresses:
        raise InvalidValue("Nothing says whose certificate it shall be: send domain, or a csr that names hosts")
    return Wanted(names, addresses, wanted.days, wanted.request)


def issue(authority: Authority, wanted: Wanted) -> Issued:
    """A certificate for what `complete` gave, with a new key unless the request has one."""
    key = None if wanted.request else ec.generate_private_key(ec.SECP256R1())
    public = key.public_key() if key is not None else _key_of(_request(wanted.request))
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName(n) for n in wanted.names]
    names += [x509.IPAddress(ipaddress.ip_address(a)) for a in wanted.addresses]
    common = (*wanted.names, *wanted.addresses)[0][:64]
    subject = [(NameOID.ORGANIZATION_NAME, ORGANISATION), (NameOID.COMMON_NAME, common)]
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, text) for oid, text in subject]))
        .issuer_name(authority.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now + timedelta(days=wanted.days), authority.certificate.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Issued(made.public_bytes(serialization.Encoding.PEM).decode(), _pem(key) if key is not None else "")


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    kept = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *kept).decode()


def _request(pem: str) -> x509.CertificateSigningRequest:
    try:
        found = x509.load_pem_x509_csr(pem.encode())
        signed = found.is_signature_valid
    except Exception:  # whatever the library says of bytes that somebody made up
        raise InvalidValue("csr is no PEM of PKCS#10 that could be read") from None
    if not signed:
        raise InvalidValue("csr is not signed by the key that it is for")
    _key_of(found)
    return found


def _key_of(request: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    key = request.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_RSA:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= 256:
        return key
    raise InvalidValue(f"csr is for no key of RSA with {LEAST_RSA} bits or more, nor of an elliptic curve with 256")


def _named_in(request: x509.CertificateSigningRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and addresses alone: of a request nothing else is taken, least of all a role."""
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        common = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(c.value) for c in common[:1]), ()
    addresses = tuple(str(a) for a in found.get_values_for_type(x509.IPAddress))
    return tuple(found.get_values_for_type(x509.DNSName)), addresses
