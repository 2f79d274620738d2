"""Certificates for direct download as root administrators see them, and which hosts use each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.view import PerPage, View
from mgmt_server.model.host import Host
from mgmt_server.model.template import DownloadCertificate
from mgmt_server.model.tenancy import Caller
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template.stored import uses

TOLD = ("version", "subject", "issuer", "serialnum", "validity")


def _content(session: Session, caller: Caller, numbers: list[int]) -> dict[int, dict[str, str]]:
    rows = select(DownloadCertificate.id, DownloadCertificate.certificate).where(DownloadCertificate.id.in_(numbers))
    return {number: _told(x509.load_pem_x509_certificate(pem.encode())) for number, pem in session.execute(rows)}


def _told(found: x509.Certificate) -> dict[str, str]:
    first, last = (f"{t:%Y-%m-%dT%H:%M:%S}+0000" for t in (found.not_valid_before_utc, found.not_valid_after_utc))
    return {
        "version": str(found.version.value + 1),
        "subject": found.subject.rfc4514_string(),
        "issuer": found.issuer.rfc4514_string(),
        "serialnum": str(found.serial_number),
        "validity": f"From: [{first}] - To: [{last}]",
    }


def statuses(session: Session, row: DownloadCertificate, hosts: Iterable[Host]) -> list[dict[str, Any]]:
    """Which hosts use a certificate: UPLOADED, REVOKED, or SKIPPED where it is for others."""
    return [{"hostid": h.uuid, "hostname": h.name, **_status(row, h)} for h in hosts]


def _status(row: DownloadCertificate, host: Host) -> dict[str, str]:
    if row.removed is not None or host.uuid in row.revoked:
        return {"status": "REVOKED", "details": "it does not trust it"}
    if uses(row, host):
        return {"status": "UPLOADED", "details": "it is told of it with each image that it fetches"}
    return {"status": "SKIPPED", "details": "it was uploaded for other hosts"}


def hosts_of(session: Session, row: DownloadCertificate) -> list[Host]:
    """Those that could use it."""
    mine = Host.zone_id == row.zone_id, Host.hypervisor == row.hypervisor, Host.removed.is_(None)
    return list(session.scalars(select(Host).where(*mine).order_by(Host.id)))


def _hosts(session: Session, caller: Caller, numbers: list[int]) -> dict[int, dict[str, Any]]:
    rows = session.scalars(select(DownloadCertificate).where(DownloadCertificate.id.in_(numbers)))
    return {row.id: {"hostsmap": statuses(session, row, hosts_of(session, row))} for row in rows}


certificate_view = View(
    "directdownloadcertificate",
    DownloadCertificate,
    response="DirectDownloadCertificateResponse",
    keyword=(DownloadCertificate.name,),
    more=(PerPage(TOLD, _content),),
    id=DownloadCertificate.uuid,
    alias=DownloadCertificate.name,
    hypervisor=DownloadCertificate.hypervisor,
    zoneid=Zone.uuid,
    zonename=Zone.name,
)
with_hosts_view = certificate_view.extended(more=(PerPage(("hostsmap",), _hosts),))
