"""Pods as operators see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, func, select

from mgmt_server.api.view import View, many, shown
from mgmt_server.model.zone import Pod, PodRange, Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.capacity.sums import shown as capacities


def spoken_vlan(vlan: str | None) -> str:
    return f"vlan://{vlan or 'untagged'}"


range_view = View(
    "iprange",
    PodRange,
    response="IpRangeResponse",
    startip=PodRange.start_ip,
    endip=PodRange.end_ip,
    forsystemvms=shown(lambda reserved: "1" if reserved else "0", PodRange.for_system_vms),
    vlanid=shown(spoken_vlan, PodRange.vlan),
)


def _each(column: Any) -> Any:
    """The values of a column of all ranges of a pod, as a list of texts."""
    joined = select(func.group_concat(column)).where(PodRange.pod_id == Pod.id, PodRange.removed.is_(None))
    return shown(lambda text: text.split(",") if text else [], joined.correlate(Pod).scalar_subquery())


pod_view = View(
    "pod",
    Pod,
    response="PodResponse",
    keyword=(Pod.name,),
    id=Pod.uuid,
    name=Pod.name,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    gateway=Pod.gateway,
    netmask=Pod.netmask,
    ipranges=many(range_view, PodRange.pod_id),
    startip=_each(PodRange.start_ip),
    endip=_each(PodRange.end_ip),
    forsystemvms=_each(case((PodRange.for_system_vms, "1"), else_="0")),
    vlanid=_each("vlan://" + func.coalesce(PodRange.vlan, "untagged")),
    allocationstate=Pod.allocation_state,
    hasannotations=has_annotations("POD", Pod.uuid),
)

pod_with_capacity = pod_view.extended(more=(capacities("pod"),))
