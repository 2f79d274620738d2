"""Clusters: hosts of one kind that share storage."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.checks import alone, hold_names, one_of, unused
from mgmt_server.resources.cluster import rows
from mgmt_server.resources.cluster.views import cluster_view, cluster_with_capacity
from mgmt_server.resources.dedication import rows as dedication

ARCHITECTURES = ("x86_64", "aarch64")
STATES = ("Enabled", "Disabled")
MANAGED = ("Managed", "Unmanaged")
ELSEWHERE = (  # of hypervisors that are not there
    "extensionid", "externaldetails", "guestvswitchname", "guestvswitchtype", "ovm3cluster", "ovm3pool", "ovm3vip",
    "publicvswitchname", "publicvswitchtype", "storageaccessgroups", "vsmipaddress", "vsmpassword", "vsmusername",
    "url", "username", "password",
)  # fmt: skip


@command("addCluster", roles=ROOT, answers=cluster_view, one_in_list=True, unsupported=ELSEWHERE)
def add(
    ctx: Context,
    zoneid: Use[Zone],
    podid: Use[Pod],
    clustername: str,
    clustertype: str,
    hypervisor: str,
    allocationstate: str | None = None,
    arch: str | None = None,
) -> Cluster:
    """Create a cluster in a pod.

    zoneid: the zone
    podid: the pod
    clustername: its name, unique in the pod
    clustertype: CloudManaged
    hypervisor: KVM or Simulator
    allocationstate: Enabled or Disabled
    arch: x86_64 or aarch64
    """
    alone(ctx, podid)
    if podid.zone_id != zoneid.id:
        raise InvalidValue(f"pod {podid.name} is not in zone {zoneid.name}")
    one_of("clustertype", clustertype, ("CloudManaged",))
    kind = one_of("hypervisor", hypervisor, rows.HYPERVISORS) or ""
    _free_name(ctx, podid.id, clustername)
    ctx.describe(f"creating cluster {clustername} in pod {podid.name}")
    return rows.make(
        ctx.session,
        podid,
        clustername,
        kind,
        one_of("arch", arch, ARCHITECTURES) or "x86_64",
        one_of("allocationstate", allocationstate, STATES) or "Enabled",
    )


@command("updateCluster", roles=ROOT, answers=cluster_view, unsupported=("externaldetails",))
def update(
    ctx: Context,
    id: Operate[Cluster],
    clustername: str | None = None,
    allocationstate: str | None = None,
    managedstate: str | None = None,
    hypervisor: str | None = None,
    clustertype: str | None = None,
    arch: str | None = None,
) -> Cluster:
    """Change a cluster. What is not sent stays.

    id: the cluster
    clustername: its new name
    allocationstate: Enabled or Disabled; a disabled one gets no new machines
    managedstate: Managed or Unmanaged; nothing is started on hosts of an unmanaged one
    hypervisor: its hypervisor, while it has no host
    clustertype: CloudManaged
    arch: its architecture, while it has no host
    """
    alone(ctx, id)
    if clustername is not None and clustername != id.name:
        _free_name(ctx, id.pod_id, clustername)
        id.name = clustername
    one_of("clustertype", clustertype, ("CloudManaged",))
    kind, wanted = one_of("hypervisor", hypervisor, rows.HYPERVISORS), one_of("arch", arch, ARCHITECTURES)
    if (kind or id.hypervisor, wanted or id.arch) != (id.hypervisor, id.arch):
        unused(ctx, f"the cluster {id.name}", (Host, Host.cluster_id == id.id))
        id.hypervisor, id.arch = kind or id.hypervisor, wanted or id.arch
    id.allocation_state = one_of("allocationstate", allocationstate, STATES) or id.allocation_state
    id.managed_state = one_of("managedstate", managedstate, MANAGED) or id.managed_state
    ctx.describe(f"changing cluster {id.name}")
    return id


@command("deleteCluster", roles=ROOT)
def delete(ctx: Context, id: Operate[Cluster]) -> None:
    """Delete a cluster that has no hosts and no storage.

    id: the cluster
    """
    alone(ctx, id)
    what = f"the cluster {id.name}"
    unused(ctx, what, (Host, Host.cluster_id == id.id), (Pool, Pool.cluster_id == id.id), raises=Failed)
    dedication.forget(ctx.session, "Cluster", id.id)
    id.removed = now()
    ctx.describe(f"deleting cluster {id.name}")


@command(
    "listClusters", roles=("Admin", "ResourceAdmin"), answers=cluster_with_capacity, unsupported=("storageaccessgroup",)
)
def list_clusters(
    ctx: Context,
    id: Use[Cluster] | None = None,
    name: str | None = None,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
    hypervisor: str | None = None,
    clustertype: str | None = None,
    allocationstate: str | None = None,
    managedstate: str | None = None,
    arch: str | None = None,
    showcapacities: bool = False,
) -> Rows:
    """List clusters.

    id: this one alone
    name: those of this name
    zoneid: those of this zone
    podid: those of this pod
    hypervisor: those of this hypervisor
    clustertype: those of this type
    allocationstate: Enabled or Disabled
    managedstate: Managed or Unmanaged
    arch: those of this architecture
    showcapacities: whether to tell capacities too
    """
    return Rows(cluster_with_capacity if showcapacities else cluster_view).where(
        id=id and id.id, name=name, zone_id=zoneid, pod_id=podid, hypervisor=hypervisor, cluster_type=clustertype,
        allocation_state=allocationstate, managed_state=managedstate, arch=arch,
    )  # fmt: skip


def _free_name(ctx: Context, pod_id: int, name: str) -> None:
    hold_names(ctx)
    taken = select(Cluster.id).where(Cluster.pod_id == pod_id, Cluster.name == name, Cluster.removed.is_(None))
    if ctx.session.scalar(taken) is not None:
        raise Failed(f"a cluster with the name {name} is in that pod already: choose another name")
