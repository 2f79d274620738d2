"""The agent's certificate: a new one is asked for with its key, and put in the place of the old one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mgmt_server.agent.config import Config, replace
from mgmt_server.agent.work import Command
from mgmt_server.errors import Failed
from mgmt_server.protocol.codec import build


def key_of(config: Config) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(config.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101  enrol made it
    return key


def held(config: Config) -> x509.Certificate:
    """The one that the next link is made with."""
    return x509.load_pem_x509_certificate(config.certificate.read_bytes())


def make_csr(key: ec.EllipticCurvePrivateKey, name: str) -> str:
    """PEM. The server takes the key from it and nothing else."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def request_of(config: Config) -> str:
    return make_csr(key_of(config), "agent")


def take(config: Config, pem: str) -> str:
    """Have it in the place of the old one: until when it is good. Raises Failed where it is for another key."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    if certificate.public_key() != key_of(config).public_key():
        raise Failed("the new certificate is for another key")
    replace(config.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate.not_valid_after_utc.isoformat()


def commands(config: Config, relink: Callable[[], None]) -> dict[str, Command]:
    """What a server may have done with it. `relink`: dial anew, with the one that is there now."""

    def put(body: Any) -> str:
        until = take(config, build(str, body["certificate"], "certificate"))
        if body.get("relink"):
            relink()
        return until

    return {
        "certificate_request": Command(
            lambda body: {"csr": request_of(config), "serial": f"{held(config).serial_number:x}"}
        ),
        "take_certificate": Command(put, lambda body: "certificate", changes=True),
    }
