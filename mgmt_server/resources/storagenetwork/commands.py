"""Ranges of addresses of the storage network, where a zone has one apart from its management network."""

from __future__ import annotations

from netaddr import IPAddress, IPNetwork
from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import PhysicalNetwork, Pod, StorageRange, TrafficType, Zone
from mgmt_server.resources.checks import address, addresses, alone, netmask
from mgmt_server.resources.physicalnetwork.flows import done
from mgmt_server.resources.pod.rows import meets, refuse_overlap
from mgmt_server.resources.storagenetwork.views import storage_range_view


@command("createStorageNetworkIpRange", roles=ROOT, answers=storage_range_view, event="STORAGE.IP.RANGE.CREATE")
def create(
    ctx: Context,
    podid: Operate[Pod],
    startip: str,
    gateway: str,
    netmask: str,
    endip: str | None = None,
    vlan: int | None = None,
) -> Accepted:
    """Add a range of addresses that system VMs of a pod may take on the storage network.

    podid: the pod
    startip: first address
    gateway: gateway of the storage network
    netmask: netmask of the storage network
    endip: last address; the network's last when left out
    vlan: the VLAN of the storage network; untagged when left out
    """
    zone = ctx.session.get_one(Zone, podid.zone_id)
    alone(ctx, zone)
    carried = (
        select(TrafficType.id)
        .join(PhysicalNetwork, PhysicalNetwork.id == TrafficType.physical_network_id)
        .where(PhysicalNetwork.zone_id == zone.id, TrafficType.type == "Storage")
    )
    if ctx.session.scalar(carried.limit(1)) is None:
        raise InvalidValue(f"nothing in zone {zone.name} carries Storage traffic: add it with addTrafficType first")
    way, mask = address("gateway", gateway) or "", _mask(netmask)
    network = IPNetwork(f"{way}/{mask}")
    end = endip or str(IPAddress(network.last - 1))
    addresses(startip, end, way, mask)
    _refuse_overlap(ctx, zone.id, startip, end, vlan)
    found = StorageRange(
        zone_id=zone.id, pod_id=podid.id, gateway=way, netmask=mask, start_ip=startip, end_ip=end, vlan=_vlan(vlan)
    )
    ctx.session.add(found)
    ctx.describe(f"adding {startip} to {end} to the storage network of pod {podid.name}")
    return ctx.start(done, found)


@command("updateStorageNetworkIpRange", roles=ROOT, answers=storage_range_view, event="STORAGE.IP.RANGE.UPDATE")
def update(
    ctx: Context,
    id: Operate[StorageRange],
    startip: str | None = None,
    endip: str | None = None,
    netmask: str | None = None,
    vlan: int | None = None,
) -> Accepted:
    """Change a range of the storage network.

    id: the range
    startip: first address from now on
    endip: last address from now on
    netmask: netmask of the storage network
    vlan: the VLAN of the storage network
    """
    alone(ctx, ctx.session.get_one(Zone, id.zone_id))
    start, end = startip or id.start_ip, endip or id.end_ip
    mask = _mask(netmask) if netmask else id.netmask
    addresses(start, end, id.gateway, mask)
    _refuse_overlap(ctx, id.zone_id, start, end, vlan if vlan is not None else id.vlan, id.id)
    id.start_ip, id.end_ip, id.netmask = start, end, mask
    id.vlan = _vlan(vlan) if vlan is not None else id.vlan
    ctx.describe(f"changing a range of the storage network to {start} to {end}")
    return ctx.start(done, id)


@command("deleteStorageNetworkIpRange", roles=ROOT, event="STORAGE.IP.RANGE.DELETE")
def delete(ctx: Context, id: Operate[StorageRange]) -> Accepted:
    """Delete a range of the storage network.

    id: the range
    """
    id.removed = now()
    ctx.describe(f"deleting {id.start_ip} to {id.end_ip} from the storage network")
    return ctx.start(done, id)


@command("listStorageNetworkIpRange", roles=ROOT, answers=storage_range_view)
def list_ranges(
    ctx: Context, id: Use[StorageRange] | None = None, podid: Use[Pod] | None = None, zoneid: Use[Zone] | None = None
) -> Rows:
    """List ranges of the storage network.

    id: this one alone
    podid: those of this pod
    zoneid: those of this zone
    """
    return Rows(storage_range_view).where(id=id and id.id, pod_id=podid, zone_id=zoneid)


def _mask(value: str) -> str:
    return netmask("netmask", value) or ""


def _vlan(vlan: int | None) -> int | None:
    if vlan is not None and not 0 <= vlan <= 4094:
        raise InvalidValue(f"vlan={vlan} is none: send a number from 1 to 4094, 0 for untagged")
    return vlan or None


def _refuse_overlap(ctx: Context, zone_id: int, start: str, end: str, vlan: int | None, but: int | None = None) -> None:
    first, last = int(IPAddress(start)), int(IPAddress(end))
    others = select(StorageRange).where(StorageRange.zone_id == zone_id, StorageRange.removed.is_(None))
    for other in ctx.session.scalars(others):
        if other.id != but and meets(first, last, other.start_ip, other.end_ip):
            raise InvalidValue(f"the range {start} to {end} overlaps {other.start_ip} to {other.end_ip}")
    if but is None:
        refuse_overlap(ctx.session, zone_id, start, end, vlan=str(vlan) if vlan else None)
