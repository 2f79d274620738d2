"""Primary storage as operators see it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func

from mgmt_server.api.view import View, always, shown
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.annotation.marks import has_annotations


def _details(details: dict[str, Any] | None) -> dict[str, str]:
    return {k: str(v) for k, v in (details or {}).items()}


pool_view = View(
    "storagepool",
    Pool,
    response="StoragePoolResponse",
    keyword=(Pool.name,),
    joins=(
        (Zone, Zone.id == Pool.zone_id),
        (Pod, Pod.id == Pool.pod_id),
        (Cluster, Cluster.id == Pool.cluster_id),
        (Host, Host.id == Pool.host_id),
    ),
    id=Pool.uuid,
    name=Pool.name,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    podid=Pod.uuid,
    podname=Pod.name,
    clusterid=Cluster.uuid,
    clustername=Cluster.name,
    ipaddress=Pool.server,
    path=Pool.path,
    created=Pool.created,
    type=Pool.type,
    capacitybytes=Pool.capacity,
    disksizetotal=Pool.capacity,
    disksizeallocated=Pool.allocated,
    disksizeused=Pool.used,
    capacityiops=Pool.capacity_iops,
    tags=func.coalesce(Pool.tag_rule, Pool.tags),
    istagarule=shown(bool, Pool.tag_rule),
    state=Pool.state,
    scope=Pool.scope,
    overprovisionfactor=Pool.overprovision,
    hypervisor=Pool.hypervisor,
    provider=Pool.provider,
    storagecapabilities=always({"VOLUME_SNAPSHOT_QUIESCEVM": "false"}),
    managed=always(False),
    details=shown(_details, Pool.details),
    hasannotations=has_annotations("PRIMARY_STORAGE", Pool.uuid),
)
