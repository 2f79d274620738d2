"""Ranges of the storage network as operators see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.zone import Pod, StorageRange, Zone

storage_range_view = View(
    "storagenetworkiprange",
    StorageRange,
    response="StorageNetworkIpRangeResponse",
    joins=((Pod, Pod.id == StorageRange.pod_id), (Zone, Zone.id == StorageRange.zone_id)),
    id=StorageRange.uuid,
    zoneid=Zone.uuid,
    podid=Pod.uuid,
    gateway=StorageRange.gateway,
    netmask=StorageRange.netmask,
    startip=StorageRange.start_ip,
    endip=StorageRange.end_ip,
    vlan=StorageRange.vlan,
)
