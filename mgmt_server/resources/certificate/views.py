"""Certificates as operators are told them, once."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.agent import CertificateAuthority

# the job adds what it made: certificate, and privatekey where it made one
issued_view = View(
    "certificates",
    CertificateAuthority,
    response="CertificateResponse",
    cacertificates=CertificateAuthority.certificate,
)
