"""Certificates that hosts trust where they fetch templates straight from their URLs.

Nothing is installed on a host: each order to fetch an image carries those that hold. So hosts that join later have
them, and one that is revoked is gone with the next order.
"""

from __future__ import annotations

from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.template import DownloadCertificate
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import alone
from mgmt_server.resources.downloadcertificate.views import certificate_view, hosts_of, statuses, with_hosts_view
from mgmt_server.resources.template.rules import hypervisor_of


@command(
    "uploadTemplateDirectDownloadCertificate",
    roles=ROOT,
    answers=with_hosts_view,
    key="uploadtemplatedirectdownloadcertificate",
)
def upload(
    ctx: Context,
    certificate: Annotated[str, Length(65535)],
    hypervisor: str,
    name: str,
    zoneid: Operate[Zone],
    hostid: Operate[Host] | None = None,
) -> DownloadCertificate:
    """Have the hosts of a zone trust a certificate where they fetch templates from their URLs.

    certificate: PEM, of the authority that signed the web server's, or the web server's own that signed itself
    hypervisor: that of the hosts: KVM
    name: how to call it, once in a zone
    zoneid: the zone of the hosts
    hostid: this host alone, instead of all that are there and come
    """
    alone(ctx, zoneid)
    kind = hypervisor_of(hypervisor)
    if _named(ctx, zoneid, name, kind) is not None:
        raise InvalidValue(
            f"The zone {zoneid.name} has a certificate {name} already: revoke it, or choose another name"
        )
    row = DownloadCertificate(name=name, certificate=_pem(certificate), hypervisor=kind, zone_id=zoneid.id)
    if hostid is not None:
        _check_host(row, hostid)
        row.only = [hostid.uuid]
    ctx.session.add(row)
    ctx.session.flush()
    return row


def _pem(text: str) -> str:
    """The one certificate of a PEM text, written anew."""
    try:
        found = x509.load_pem_x509_certificates(text.strip().encode())
    except ValueError:
        found = []
    if len(found) != 1:
        raise InvalidValue(
            "certificate is not one certificate in PEM: send -----BEGIN CERTIFICATE-----, its lines, and "
            "-----END CERTIFICATE-----"
        )
    if found[0].not_valid_after_utc.replace(tzinfo=None) <= now().replace(tzinfo=None):
        raise InvalidValue(f"the certificate has expired on {found[0].not_valid_after_utc:%Y-%m-%d}: send a valid one")
    return found[0].public_bytes(Encoding.PEM).decode()


def _named(ctx: Context, zone: Zone, name: str, hypervisor: str) -> DownloadCertificate | None:
    rows = select(DownloadCertificate).where(
        DownloadCertificate.zone_id == zone.id,
        DownloadCertificate.name == name,
        DownloadCertificate.hypervisor == hypervisor,
        DownloadCertificate.removed.is_(None),
    )
    return ctx.session.scalar(rows)


def _check_host(row: DownloadCertificate, host: Host) -> None:
    if host.zone_id != row.zone_id or host.hypervisor != row.hypervisor:
        raise InvalidValue(f"The host {host.name} is not in the certificate's zone, or has no {row.hypervisor}")


@command("listTemplateDirectDownloadCertificates", roles=ROOT, answers=certificate_view)
def list_certificates(
    ctx: Context, id: Use[DownloadCertificate] | None = None, zoneid: Use[Zone] | None = None, listhosts: bool = False
) -> Rows:
    """List the certificates that hosts trust where they fetch templates from their URLs.

    id: this one alone
    zoneid: those of this zone
    listhosts: tell also which hosts use each
    """
    rows = Rows(with_hosts_view if listhosts else certificate_view)
    return rows.where(id=id and id.id, zone_id=zoneid and zoneid.id)


@command("provisionTemplateDirectDownloadCertificate", roles=ROOT, event="CA.CERTIFICATE.PROVISION")
def provision(ctx: Context, id: Operate[DownloadCertificate], hostid: Operate[Host]) -> dict[str, Any]:
    """Have a host use a certificate that was uploaded for others, or revoked from it.

    id: the certificate
    hostid: the host
    """
    alone(ctx, id)
    _check_host(id, hostid)
    id.revoked = [h for h in id.revoked if h != hostid.uuid]
    if id.only and hostid.uuid not in id.only:
        id.only = [*id.only, hostid.uuid]
    ctx.describe(f"having host {hostid.name} use certificate {id.name}")
    return statuses(ctx.session, id, [hostid])[0]


@command("revokeTemplateDirectDownloadCertificate", roles=ROOT, event="CA.CERTIFICATE.REVOKE")
def revoke(
    ctx: Context,
    zoneid: Operate[Zone],
    id: Operate[DownloadCertificate] | None = None,
    name: str | None = None,
    hypervisor: str | None = None,
    hostid: Operate[Host] | None = None,
) -> list[dict[str, Any]]:
    """Have hosts trust a certificate no more. Without a host it is deleted.

    zoneid: its zone
    id: the certificate
    name: its name, with hypervisor, in place of id
    hypervisor: that of its hosts
    hostid: this host alone
    """
    row = id
    if row is None:
        if not name or not hypervisor:
            raise InvalidValue("id is missing: name the certificate by it, or by name and hypervisor")
        row = _named(ctx, zoneid, name, hypervisor_of(hypervisor))
    if row is None or row.zone_id != zoneid.id:
        raise InvalidValue(
            f"The zone {zoneid.name} has no such certificate: see listTemplateDirectDownloadCertificates"
        )
    alone(ctx, row)
    hosts = hosts_of(ctx.session, row)
    if hostid is not None:
        _check_host(row, hostid)
        row.revoked = [*(h for h in row.revoked if h != hostid.uuid), hostid.uuid]
        hosts = [hostid]
    else:
        row.removed = now()
    ctx.describe(f"revoking certificate {row.name}")
    return statuses(ctx.session, row, hosts)
