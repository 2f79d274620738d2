"""Traffic types as operators see them."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.view import View, shown
from mgmt_server.model.zone import PhysicalNetwork, TrafficType

# parameter and response field -> hypervisor
LABELS = {
    "kvmnetworklabel": "KVM",
    "xennetworklabel": "XenServer",
    "vmwarenetworklabel": "VMware",
    "hypervnetworklabel": "Hyperv",
    "ovm3networklabel": "Ovm3",
}


def _label(hypervisor: str) -> Any:
    return shown(lambda labels: (labels or {}).get(hypervisor), TrafficType.labels)


_labels: dict[str, Any] = {field: _label(hypervisor) for field, hypervisor in LABELS.items()}
traffic_type_view = View(
    "traffictype",
    TrafficType,
    response="TrafficTypeResponse",
    id=TrafficType.uuid,
    traffictype=TrafficType.type,
    physicalnetworkid=PhysicalNetwork.uuid,
    **_labels,
)
