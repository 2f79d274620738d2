"""High availability of hosts: who is watched, and may be switched off when lost."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.ha import HostHa
from mgmt_server.model.host import Host
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.ha import flows, rows
from mgmt_server.resources.ha.views import hostha_view
from mgmt_server.resources.outofband.flows import switch_cluster, switch_zone

PROVIDERS = {"KVM": "kvmhaprovider", "Simulator": "simulatorhaprovider"}


@command("configureHAForHost", roles=ROOT, answers=hostha_view, event="HA.RESOURCE.DISABLE")  # its name in the protocol
def configure(ctx: Context, hostid: Use[Host], provider: str) -> Accepted:
    """Say by which provider a host is watched.

    hostid: the host
    provider: kvmhaprovider, or simulatorhaprovider for simulated hosts
    """
    fits = PROVIDERS.get(hostid.hypervisor, "")
    found = one_of("provider", provider, tuple(PROVIDERS.values())) or ""
    if found != fits:
        raise InvalidValue(f"provider={found} is not for hosts of {hostid.hypervisor}: use {fits}")
    ctx.describe(f"configuring high availability of host {hostid.name}")
    return ctx.start(flows.configure, hostid, found, lock=f"ha:{hostid.id}")


@command("enableHAForHost", roles=ROOT, answers=hostha_view, event="HA.RESOURCE.ENABLE")
def enable(ctx: Context, hostid: Use[Host]) -> Accepted:
    """Watch a host: when it is lost it is switched off, and its machines start elsewhere.

    hostid: the host
    """
    row = rows.row_of(ctx.session, hostid.id)
    if row is None or not row.provider:
        raise InvalidValue(f"host {hostid.name} has no provider of high availability: call configureHAForHost first")
    ctx.describe(f"enabling high availability of host {hostid.name}")
    return ctx.start(flows.switch, hostid, True, lock=f"ha:{hostid.id}")


@command("disableHAForHost", roles=ROOT, answers=hostha_view, event="HA.RESOURCE.DISABLE")
def disable(ctx: Context, hostid: Use[Host]) -> Accepted:
    """Never switch a host off, whatever becomes of it.

    hostid: the host
    """
    ctx.describe(f"disabling high availability of host {hostid.name}")
    return ctx.start(flows.switch, hostid, False, lock=f"ha:{hostid.id}")


@command("enableHAForCluster", roles=ROOT, event="HA.RESOURCE.ENABLE")
def enable_cluster(ctx: Context, clusterid: Use[Cluster]) -> Accepted:
    """Let the hosts of a cluster be switched off when they are lost, those that are enabled.

    clusterid: the cluster
    """
    ctx.describe(f"enabling high availability of the hosts of cluster {clusterid.name}")
    return ctx.start(switch_cluster, clusterid, rows.SWITCHED, True)


@command("disableHAForCluster", roles=ROOT, event="HA.RESOURCE.DISABLE")
def disable_cluster(ctx: Context, clusterid: Use[Cluster]) -> Accepted:
    """Let no host of a cluster be switched off.

    clusterid: the cluster
    """
    ctx.describe(f"disabling high availability of the hosts of cluster {clusterid.name}")
    return ctx.start(switch_cluster, clusterid, rows.SWITCHED, False)


@command("enableHAForZone", roles=ROOT, event="HA.RESOURCE.ENABLE")
def enable_zone(ctx: Context, zoneid: Use[Zone]) -> Accepted:
    """Let the hosts of a zone be switched off when they are lost, those that are enabled.

    zoneid: the zone
    """
    ctx.describe(f"enabling high availability of the hosts of zone {zoneid.name}")
    return ctx.start(switch_zone, zoneid, rows.SWITCHED, True)


@command("disableHAForZone", roles=ROOT, event="HA.RESOURCE.DISABLE")
def disable_zone(ctx: Context, zoneid: Use[Zone]) -> Accepted:
    """Let no host of a zone be switched off.

    zoneid: the zone
    """
    ctx.describe(f"disabling high availability of the hosts of zone {zoneid.name}")
    return ctx.start(switch_zone, zoneid, rows.SWITCHED, False)


@command("listHostHAProviders", roles=ROOT, key="haprovider", reads=True)
def list_providers(ctx: Context, hypervisor: str) -> list[dict[str, Any]]:
    """List what watches hosts of a hypervisor.

    hypervisor: KVM or Simulator
    """
    kind = one_of("hypervisor", hypervisor, tuple(PROVIDERS)) or ""
    return [{"haprovider": PROVIDERS[kind]}]


@command("listHostHAResources", roles=ROOT, key="hostha", reads=True)
def list_resources(ctx: Context, hostid: Use[Host] | None = None) -> list[dict[str, Any]]:
    """List hosts with high availability, and how each does.

    hostid: this one alone
    """
    found = select(Host.id).join(HostHa, HostHa.host_id == Host.id).where(Host.removed.is_(None), HostHa.provider != "")
    if hostid is not None:
        found = found.where(Host.id == hostid.id)
    return [hostha_view.one(ctx.session, ctx.caller, n) for n in ctx.session.scalars(found.order_by(Host.id))]
