"""Who a certificate says its holder is: the SAN `urn:cloudwright:<role>:<uuid>`. Both ends of a link read it."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

ROLES = ("host", "systemvm", "server")


@dataclass(frozen=True)
class CertificateRequest:
    """What an agent wants signed, and the serial (hex) of the certificate that it has."""

    csr: str
    serial: str


def uri_of(role: str, uuid: str) -> str:
    return f"urn:cloudwright:{role}:{uuid}"


def role_of(certificate: x509.Certificate) -> tuple[str, str] | None:
    """(role, uuid), or None when it names none of ours."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        parts = uri.split(":")
        if len(parts) == 4 and parts[:2] == ["urn", "cloudwright"] and parts[2] in ROLES:
            return parts[2], parts[3]
    return None
