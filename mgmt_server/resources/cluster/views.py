"""Clusters as operators see them."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.view import View, shown
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.capacity.sums import shown as capacities


def _details(cpu: float, memory: float, details: dict[str, Any]) -> dict[str, str]:
    return {
        "memoryOvercommitRatio": str(memory),
        "cpuOvercommitRatio": str(cpu),
        **{k: str(v) for k, v in (details or {}).items()},
    }


cluster_view = View(
    "cluster",
    Cluster,
    response="ClusterResponse",
    keyword=(Cluster.name,),
    id=Cluster.uuid,
    name=Cluster.name,
    podid=Pod.uuid,
    podname=Pod.name,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    joins=((Pod, Pod.id == Cluster.pod_id), (Zone, Zone.id == Cluster.zone_id)),
    hypervisortype=Cluster.hypervisor,
    clustertype=Cluster.cluster_type,
    allocationstate=Cluster.allocation_state,
    managedstate=Cluster.managed_state,
    cpuovercommitratio=Cluster.cpu_overcommit,
    memoryovercommitratio=Cluster.memory_overcommit,
    resourcedetails=shown(_details, Cluster.cpu_overcommit, Cluster.memory_overcommit, Cluster.details),
    arch=Cluster.arch,
    hasannotations=has_annotations("CLUSTER", Cluster.uuid),
)

cluster_with_capacity = cluster_view.extended(more=(capacities("cluster"),))
