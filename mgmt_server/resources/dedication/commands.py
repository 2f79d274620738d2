"""Zones, pods, clusters and hosts that only one domain or one account may use."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.view import View
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.affinity import AffinityGroup
from mgmt_server.model.host import Host
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.dedication import rows
from mgmt_server.resources.dedication.groups import Holder
from mgmt_server.resources.dedication.views import cluster_view, host_view, pod_view, zone_view
from mgmt_server.resources.physicalnetwork.flows import done


@command("dedicateZone", roles=ROOT, answers=zone_view, one_in_list=True, event="DEDICATE.RESOURCE")
def dedicate_zone(ctx: Context, zoneid: Operate[Zone], domainid: Use[Domain], account: str | None = None) -> Accepted:
    """Keep a zone and everything in it for one domain and those below it, or for one account of it.

    zoneid: the zone
    domainid: the domain
    account: the account of that domain; without it every account of the domain and of those below
    """
    return _dedicate(ctx, "Zone", zoneid, domainid, account)


@command("releaseDedicatedZone", roles=ROOT, event="DEDICATE.RESOURCE.RELEASE")
def release_zone(ctx: Context, zoneid: Operate[Zone]) -> Accepted:
    """Let everybody use a zone again that was dedicated.

    zoneid: the zone
    """
    return _release(ctx, "Zone", zoneid)


@command("listDedicatedZones", roles=ROOT, answers=zone_view)
def list_zones(
    ctx: Context,
    zoneid: Use[Zone] | None = None,
    domainid: Use[Domain] | None = None,
    account: str | None = None,
    affinitygroupid: Use[AffinityGroup] | None = None,
) -> Rows:
    """List dedicated zones.

    zoneid: this zone alone
    domainid: those of this domain
    account: those of accounts of this name
    affinitygroupid: those of this affinity group
    """
    return _rows("Zone", zone_view, zoneid, domainid, account).where(group_id=affinitygroupid)


@command("dedicatePod", roles=ROOT, answers=pod_view, one_in_list=True, event="DEDICATE.RESOURCE")
def dedicate_pod(ctx: Context, podid: Operate[Pod], domainid: Use[Domain], account: str | None = None) -> Accepted:
    """Keep a pod and everything in it for one domain and those below it, or for one account of it.

    podid: the pod
    domainid: the domain
    account: the account of that domain; without it every account of the domain and of those below
    """
    return _dedicate(ctx, "Pod", podid, domainid, account)


@command("releaseDedicatedPod", roles=ROOT, event="DEDICATE.RESOURCE.RELEASE")
def release_pod(ctx: Context, podid: Operate[Pod]) -> Accepted:
    """Let everybody use a pod again that was dedicated.

    podid: the pod
    """
    return _release(ctx, "Pod", podid)


@command("listDedicatedPods", roles=ROOT, answers=pod_view)
def list_pods(
    ctx: Context,
    podid: Use[Pod] | None = None,
    domainid: Use[Domain] | None = None,
    account: str | None = None,
    affinitygroupid: Use[AffinityGroup] | None = None,
) -> Rows:
    """List dedicated pods.

    podid: this pod alone
    domainid: those of this domain
    account: those of accounts of this name
    affinitygroupid: those of this affinity group
    """
    return _rows("Pod", pod_view, podid, domainid, account).where(group_id=affinitygroupid)


@command("dedicateCluster", roles=ROOT, answers=cluster_view, one_in_list=True, event="DEDICATE.RESOURCE")
def dedicate_cluster(
    ctx: Context, clusterid: Operate[Cluster], domainid: Use[Domain], account: str | None = None
) -> Accepted:
    """Keep a cluster and its hosts for one domain and those below it, or for one account of it.

    clusterid: the cluster
    domainid: the domain
    account: the account of that domain; without it every account of the domain and of those below
    """
    return _dedicate(ctx, "Cluster", clusterid, domainid, account)


@command("releaseDedicatedCluster", roles=ROOT, event="DEDICATE.RESOURCE.RELEASE")
def release_cluster(ctx: Context, clusterid: Operate[Cluster]) -> Accepted:
    """Let everybody use a cluster again that was dedicated.

    clusterid: the cluster
    """
    return _release(ctx, "Cluster", clusterid)


@command("listDedicatedClusters", roles=ROOT, answers=cluster_view)
def list_clusters(
    ctx: Context,
    clusterid: Use[Cluster] | None = None,
    domainid: Use[Domain] | None = None,
    account: str | None = None,
    affinitygroupid: Use[AffinityGroup] | None = None,
) -> Rows:
    """List dedicated clusters.

    clusterid: this cluster alone
    domainid: those of this domain
    account: those of accounts of this name
    affinitygroupid: those of this affinity group
    """
    return _rows("Cluster", cluster_view, clusterid, domainid, account).where(group_id=affinitygroupid)


@command("dedicateHost", roles=ROOT, answers=host_view, one_in_list=True, event="DEDICATE.RESOURCE")
def dedicate_host(ctx: Context, hostid: Operate[Host], domainid: Use[Domain], account: str | None = None) -> Accepted:
    """Keep a host for one domain and those below it, or for one account of it.

    hostid: the host
    domainid: the domain
    account: the account of that domain; without it every account of the domain and of those below
    """
    return _dedicate(ctx, "Host", hostid, domainid, account)


@command("releaseDedicatedHost", roles=ROOT, event="DEDICATE.RESOURCE.RELEASE")
def release_host(ctx: Context, hostid: Operate[Host]) -> Accepted:
    """Let everybody use a host again that was dedicated.

    hostid: the host
    """
    return _release(ctx, "Host", hostid)


@command("listDedicatedHosts", roles=ROOT, answers=host_view)
def list_hosts(
    ctx: Context,
    hostid: Use[Host] | None = None,
    domainid: Use[Domain] | None = None,
    account: str | None = None,
    affinitygroupid: Use[AffinityGroup] | None = None,
) -> Rows:
    """List dedicated hosts.

    hostid: this host alone
    domainid: those of this domain
    account: those of accounts of this name
    affinitygroupid: those of this affinity group
    """
    return _rows("Host", host_view, hostid, domainid, account).where(group_id=affinitygroupid)


def _dedicate(ctx: Context, kind: str, row: Any, domain: Domain, account: str | None) -> Accepted:
    holder = Holder(domain, owner(ctx, account, domain) if account else None)
    made = rows.dedicate(ctx.session, kind, row, holder)
    ctx.describe(f"dedicating {kind.lower()} {row.name} to {holder.spoken}")
    return ctx.start(done, made)


def _release(ctx: Context, kind: str, row: Any) -> Accepted:
    rows.release(ctx.session, kind, row)
    ctx.describe(f"releasing {kind.lower()} {row.name}")
    return ctx.start(done, row)


def _rows(kind: str, view: View, row: Any, domain: Domain | None, account: str | None) -> Rows:
    found = Rows(view).where(kind=kind, resource_id=row, domain_id=domain)
    return found.where(Account.name == account if account else None)
