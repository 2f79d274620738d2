"""The certificate of the API's TLS port: the operator's own, or one from the cloud's CA, kept beside the data."""

from __future__ import annotations

import ipaddress
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mgmt_server import config as bootstrap
from mgmt_server.agents import ca
from mgmt_server.config import Config, ConfigurationError


def files(config: Config) -> tuple[Path, Path]:
    """Certificate and key, whether they are there or not."""
    if bool(config.tls_certificate) != bool(config.tls_key):
        raise ConfigurationError("tls_certificate and tls_key go together: set both, or neither for one of the cloud's")
    if config.tls_certificate:
        return Path(config.tls_certificate), Path(config.tls_key)
    return config.data / "tls" / "certificate.pem", config.data / "tls" / "key.pem"


def names(config: Config) -> tuple[str, ...]:
    """Names and addresses under which clients reach this server."""
    host, _ = bootstrap.address(config.tls_listen)
    found = [config.advertise, config.node, host, "localhost", "127.0.0.1", *ca.SAN.words()]
    return tuple(dict.fromkeys(n for n in found if n and n not in ("0.0.0.0", "::")))  # noqa: S104  compared, not bound


def prepare(config: Config) -> bool:
    """Make a certificate where the operator gave none and there is none that still serves; whether one was made."""
    certificate, key = files(config)
    if not config.tls_listen or config.tls_certificate or _serves(certificate, key, names(config)):
        return False
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, config.node[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, hashes.SHA256())
    authority = ca.load()
    signed, _ = authority.sign(
        request.public_bytes(serialization.Encoding.PEM).decode(), "server", str(uuid4()), config.node,
        addresses=names(config),
    )  # fmt: skip
    certificate.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _put(key, pem, 0o600)
    _put(certificate, (signed + authority.pem).encode(), 0o644)
    return True


def _put(path: Path, content: bytes, mode: int) -> None:
    staged = path.with_name(path.name + ".new")
    staged.unlink(missing_ok=True)
    with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    staged.rename(path)


def _serves(path: Path, key: Path, wanted: tuple[str, ...]) -> bool:
    """Whether a certificate of ours is of this CA, names all, and has more than a third of its life before it."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        if found.issuer != ca.load().certificate.subject or not key.exists():
            return False
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    have = set(alternatives.get_values_for_type(x509.DNSName))
    have |= {str(a) for a in alternatives.get_values_for_type(x509.IPAddress)}
    whole = found.not_valid_after_utc - found.not_valid_before_utc
    young = datetime.now(UTC) < found.not_valid_before_utc + whole * 2 / 3
    return young and {w for w in wanted if _is_address(w) or ca.HOST_NAME.fullmatch(w)} <= have


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def expires(path: Path) -> datetime:
    """Raises ValueError and OSError."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def load(context: ssl.SSLContext, config: Config) -> None:
    """Have new connections use what the files hold now. Raises ConfigurationError."""
    certificate, key = files(config)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"the certificate {certificate} with the key {key} cannot be used: {error}. Both are PEM, the key has no "
            "passphrase, and the server's user may read them"
        ) from None
