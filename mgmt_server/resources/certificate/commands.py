"""The cloud's certificate authority: who it is, and new certificates for hosts' agents."""

from __future__ import annotations

from typing import Any

from mgmt_server.agents import ca
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.host import Host
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.resources.certificate import flows
from mgmt_server.resources.checks import one_of

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
