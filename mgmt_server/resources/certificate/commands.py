"""The cloud's certificate authority: who it is, and certificates for hosts' agents and for operators' own services."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from mgmt_server.agents import ca, directory
from mgmt_server.agents.issued import Wanted, complete
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.agent import CertificateAuthority
from mgmt_server.model.host import Host
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.resources.certificate import flows
from mgmt_server.resources.certificate.views import issued_view
from mgmt_server.resources.checks import one_of

MOST_DAYS = 3650
SERIAL = re.compile(r"(?:0x)?0*([0-9a-f]{1,40})")
PROVIDER = "root"
PROVIDERS = ({"name": PROVIDER, "description": "The cloud's own certificate authority, made when it was installed"},)


@command("listCAProviders", roles=ROOT, key="caprovider", reads=True)
def list_providers(ctx: Context, name: str | None = None) -> list[dict[str, Any]]:
    """List certificate authorities that the cloud can use.

    name: the one of this name
    """
    return [dict(p) for p in PROVIDERS if name in (None, p["name"])]


@command("listCaCertificate", roles=EVERYONE, key="cacertificates", reads=True)
def list_certificate(ctx: Context, provider: str | None = None) -> dict[str, Any]:
    """Tell the certificate of the cloud's authority, which hosts and servers are checked against.

    provider: root
    """
    one_of("provider", provider, (PROVIDER,))
    return {"certificate": ca.certificate(ctx.session)}


@command("provisionCertificate", roles=ROOT, event="CA.CERTIFICATE.PROVISION")
def provision(ctx: Context, hostid: Operate[Host], reconnect: bool = False, provider: str | None = None) -> Accepted:
    """Give the agent of a host that is connected a new certificate, whatever is left of the one that it has.

    hostid: the host
    reconnect: whether its agent dials anew with it at once; otherwise it does so when its link ends
    provider: root
    """
    one_of("provider", provider, (PROVIDER,))
    if hostid.hypervisor != "KVM" or not hostid.agent:
        raise InvalidValue(f"The host {hostid.name} has no certificate: it is {hostid.hypervisor}, without an agent")
    ctx.describe(f"giving host {hostid.name} a new certificate")
    return ctx.start(flows.provision, hostid, reconnect)


@command("issueCertificate", roles=ROOT, answers=issued_view, event="CA.CERTIFICATE.ISSUE")
def issue(
    ctx: Context,
    csr: str | None = None,
    domain: str | None = None,
    ipaddress: str | None = None,
    duration: int | None = None,
    provider: str | None = None,
) -> Accepted:
    """Have the cloud's authority certify a service of the operator's own. It lets nobody in as a host or a server.

    csr: a certificate request, PEM of PKCS#10; without one a key is made, and told once with the certificate
    domain: names of hosts that it is for, with commas between them
    ipaddress: IP addresses that it is for, with commas between them
    duration: days for which it is good
    provider: root
    """
    one_of("provider", provider, (PROVIDER,))
    days = ca.PERIOD.number() if duration is None else duration
    if not 1 <= days <= MOST_DAYS:
        raise InvalidValue(f"duration={days} is out of range: send days from 1 to {MOST_DAYS}")
    wanted = complete(Wanted(_listed(domain), _listed(ipaddress), days, (csr or "").strip()))
    authority = ctx.session.scalars(select(CertificateAuthority).where(CertificateAuthority.name == ca.NAME)).one()
    ctx.describe(f"issuing a certificate for {', '.join((*wanted.names, *wanted.addresses))[:200]}")
    return ctx.start(flows.issue, authority, wanted)


@command("revokeCertificate", roles=ROOT, event="CA.CERTIFICATE.REVOKE")
def revoke(ctx: Context, serial: str, cn: str | None = None, provider: str | None = None) -> Accepted:
    """Let an agent in no longer with a certificate that it has, and cut the link that it has with it.

    serial: its serial number, in hexadecimal
    cn: the name in it, that of the host; checked where it is sent
    provider: root
    """
    one_of("provider", provider, (PROVIDER,))
    told = SERIAL.fullmatch(serial.strip().lower().replace(":", ""))
    if told is None:
        raise InvalidValue(f"serial={serial[:60]} is no serial number in hexadecimal")
    agent = directory.holder(ctx.session, told[1])
    if agent is None or (cn and cn.strip() != agent.name):
        raise InvalidValue(
            "no agent is let in with a certificate of this serial and name: it was replaced or revoked already, or "
            "it is none of a host or system VM, and opens nothing here that could be closed"
        )
    ctx.describe(f"revoking the certificate {told[1]} of {agent.name}")
    return ctx.start(flows.revoke, agent, told[1])


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for one in (text or "").split(",") if (part := one.strip())))
