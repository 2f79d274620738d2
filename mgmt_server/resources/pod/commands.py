"""Pods: a row of racks with its management network."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Cluster, Pod, PodRange, StorageRange, VlanRange, Zone
from mgmt_server.resources.checks import address, alone, free_name, netmask, one_of, unused
from mgmt_server.resources.dedication import rows as dedication
from mgmt_server.resources.physicalnetwork.flows import done
from mgmt_server.resources.pod import rows
from mgmt_server.resources.pod.views import pod_view, pod_with_capacity

STATES = ("Enabled", "Disabled")


@command("createPod", roles=ROOT, answers=pod_view, event="POD.CREATE", unsupported=("storageaccessgroups",))
def create(
    ctx: Context,
    zoneid: Use[Zone],
    name: str,
    gateway: str | None = None,
    netmask: str | None = None,
    startip: str | None = None,
    endip: str | None = None,
    allocationstate: str | None = None,
) -> Pod:
    """Create a pod with the management addresses that its system VMs may take.

    zoneid: the zone
    name: its name, unique in the zone
    gateway: gateway of its management network
    netmask: netmask of its management network
    startip: first address that system VMs may take
    endip: last address that system VMs may take; the network's last when left out
    allocationstate: Enabled or Disabled
    """
    alone(ctx, zoneid)
    free_name(ctx, Pod, name, Pod.zone_id == zoneid.id)
    if not gateway or not netmask:
        raise InvalidValue("gateway and netmask of the pod's management network are missing")
    way, mask = address("gateway", gateway) or "", _mask(netmask)
    start, end = rows.whole(way, mask, startip, endip)
    rows.refuse_network(ctx.session, zoneid, way, mask)
    pod = Pod(
        name=name,
        zone_id=zoneid.id,
        gateway=way,
        netmask=mask,
        allocation_state=one_of("allocationstate", allocationstate, STATES) or "Enabled",
    )
    ctx.session.add(pod)
    ctx.session.flush()
    rows.add(ctx.session, pod, way, mask, start, end)
    ctx.describe(f"creating pod {name} in zone {zoneid.name}")
    return pod


@command("updatePod", roles=ROOT, answers=pod_view, event="POD.EDIT")
def update(
    ctx: Context,
    id: Operate[Pod],
    name: str | None = None,
    gateway: str | None = None,
    netmask: str | None = None,
    startip: str | None = None,
    endip: str | None = None,
    allocationstate: str | None = None,
) -> Pod:
    """Change a pod. What is not sent stays.

    id: the pod
    name: its new name
    gateway: gateway of its management network
    netmask: netmask of its management network
    startip: first address that system VMs may take
    endip: last address that system VMs may take
    allocationstate: Enabled or Disabled
    """
    alone(ctx, ctx.session.get_one(Zone, id.zone_id))
    if name is not None and name != id.name:
        free_name(ctx, Pod, name, Pod.zone_id == id.zone_id)
    way = address("gateway", gateway) or id.gateway
    mask = _mask(netmask) if netmask else id.netmask
    if gateway or netmask:
        rows.refuse_network(ctx.session, ctx.session.get_one(Zone, id.zone_id), way, mask, but=id.id)
    if gateway or netmask or startip or endip:
        ranges = _ranges(ctx, id)
        if len(ranges) != 1:
            raise InvalidValue(
                f"pod {id.name} has {len(ranges)} ranges: change them with createManagementNetworkIpRange and "
                "deleteManagementNetworkIpRange"
            )
        found = ranges[0]
        rows.change(ctx.session, id, found, way, mask, startip or found.start_ip, endip or found.end_ip)
    id.gateway, id.netmask = way, mask
    id.name = name or id.name
    id.allocation_state = one_of("allocationstate", allocationstate, STATES) or id.allocation_state
    ctx.describe(f"changing pod {id.name}")
    return id


@command("deletePod", roles=ROOT, event="POD.DELETE")
def delete(ctx: Context, id: Operate[Pod]) -> None:
    """Delete a pod that no cluster and no system VM is in.

    id: the pod
    """
    alone(ctx, id)
    unused(
        ctx,
        f"the pod {id.name}",
        (Cluster, Cluster.pod_id == id.id),
        (Pool, Pool.pod_id == id.id),
        (VlanRange, VlanRange.pod_id == id.id),
        (StorageRange, StorageRange.pod_id == id.id),
        raises=Failed,
    )
    for found in _ranges(ctx, id):
        rows.remove(ctx.session, found)
    dedication.forget(ctx.session, "Pod", id.id)
    id.removed = now()
    ctx.describe(f"deleting pod {id.name}")


@command("listPods", roles=("Admin", "ResourceAdmin"), answers=pod_with_capacity, unsupported=("storageaccessgroup",))
def list_pods(
    ctx: Context,
    id: Use[Pod] | None = None,
    name: str | None = None,
    zoneid: Use[Zone] | None = None,
    allocationstate: str | None = None,
    showcapacities: bool = False,
) -> Rows:
    """List pods.

    id: this one alone
    name: those of this name
    zoneid: those of this zone
    allocationstate: Enabled or Disabled
    showcapacities: whether to tell capacities too
    """
    state = one_of("allocationstate", allocationstate, STATES)
    found = Rows(pod_with_capacity if showcapacities else pod_view)
    return found.where(id=id and id.id, name=name, zone_id=zoneid, allocation_state=state)


@command("createManagementNetworkIpRange", roles=ROOT, answers=pod_view, event="MANAGEMENT.IP.RANGE.CREATE")
def create_range(
    ctx: Context,
    podid: Operate[Pod],
    gateway: str,
    netmask: str,
    startip: str,
    endip: str | None = None,
    forsystemvms: bool = False,
    vlan: str | None = None,
) -> Accepted:
    """Add a range of management addresses to a pod.

    podid: the pod
    gateway: gateway of the pod's management network
    netmask: netmask of the pod's management network
    startip: first address
    endip: last address; the network's last when left out
    forsystemvms: keep the range for system VMs alone
    vlan: the VLAN that the range is on; untagged when left out
    """
    alone(ctx, ctx.session.get_one(Zone, podid.zone_id))
    way, mask = address("gateway", gateway) or "", _mask(netmask)
    if (way, mask) != (podid.gateway, podid.netmask):
        raise InvalidValue(
            f"gateway and netmask are {way} and {mask}, and pod {podid.name} has {podid.gateway} and {podid.netmask}: "
            "a pod has one management network"
        )
    start, end = rows.whole(way, mask, startip, endip)
    rows.add(ctx.session, podid, way, mask, start, end, vlan=_vlan(vlan), for_system_vms=forsystemvms)
    ctx.describe(f"adding {start} to {end} to pod {podid.name}")
    return ctx.start(done, podid)


@command("deleteManagementNetworkIpRange", roles=ROOT, event="MANAGEMENT.IP.RANGE.DELETE")
def delete_range(ctx: Context, podid: Operate[Pod], startip: str, endip: str, vlan: str) -> Accepted:
    """Take a range of management addresses from a pod.

    podid: the pod
    startip: first address of the range
    endip: last address of the range
    vlan: the VLAN that the range is on, or untagged
    """
    alone(ctx, podid)
    found = _range(ctx, podid, startip, endip)
    if (found.vlan or "untagged") != (_vlan(vlan) or "untagged"):
        raise InvalidValue(f"the range is on VLAN {found.vlan or 'untagged'}, not on {vlan[:20]}")
    rows.remove(ctx.session, found)
    ctx.describe(f"taking {startip} to {endip} from pod {podid.name}")
    return ctx.start(done, podid)


@command("updatePodManagementNetworkIpRange", roles=ROOT, event="MANAGEMENT.IP.RANGE.UPDATE")
def update_range(
    ctx: Context,
    podid: Operate[Pod],
    currentstartip: str,
    currentendip: str,
    newstartip: str | None = None,
    newendip: str | None = None,
) -> Accepted:
    """Change the ends of a range of management addresses.

    podid: the pod
    currentstartip: first address of the range now
    currentendip: last address of the range now
    newstartip: first address from now on
    newendip: last address from now on
    """
    alone(ctx, ctx.session.get_one(Zone, podid.zone_id))
    found = _range(ctx, podid, currentstartip, currentendip)
    start, end = newstartip or found.start_ip, newendip or found.end_ip
    rows.change(ctx.session, podid, found, podid.gateway, podid.netmask, start, end)
    ctx.describe(f"changing a range of pod {podid.name} to {start} to {end}")
    return ctx.start(done, podid)


def _mask(value: str) -> str:
    return netmask("netmask", value) or ""


def _vlan(value: str | None) -> str | None:
    """The bare tag, None for untagged."""
    tag = (value or "untagged").removeprefix("vlan://").lower()
    if tag == "untagged":
        return None
    if not tag.isdecimal() or not 1 <= int(tag) <= 4094:
        raise InvalidValue(f"vlan={tag[:20]} is none: send untagged or a number from 1 to 4094")
    return str(int(tag))


def _ranges(ctx: Context, pod: Pod) -> list[PodRange]:
    found = select(PodRange).where(PodRange.pod_id == pod.id, PodRange.removed.is_(None)).order_by(PodRange.id)
    return list(ctx.session.scalars(found))


def _range(ctx: Context, pod: Pod, start: str, end: str) -> PodRange:
    for found in _ranges(ctx, pod):
        if (found.start_ip, found.end_ip) == (start, end):
            return found
    there = ", ".join(f"{r.start_ip} to {r.end_ip}" for r in _ranges(ctx, pod)) or "none"
    raise InvalidValue(f"pod {pod.name} has no range {start[:40]} to {end[:40]}; it has {there}")
