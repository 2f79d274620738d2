"""Traffic types: what a physical network carries, and how hosts call the bridge for it."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import delete as deletion
from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.network import Network
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import PhysicalNetwork, TrafficType, VlanRange, Zone
from mgmt_server.resources.checks import alone, one_of, unused
from mgmt_server.resources.physicalnetwork.commands import ISOLATION
from mgmt_server.resources.physicalnetwork.flows import done
from mgmt_server.resources.traffictype.views import LABELS, traffic_type_view

TYPES = ("Guest", "Management", "Public", "Storage")
ONCE_A_ZONE = ("Management", "Public", "Storage")
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,14}")  # the kernel's limit for names of bridges

# traffic type -> names under which clients know who makes its networks
IMPLEMENTORS = (
    ("Guest", "ExternalGuestNetworkGuru"),
    ("Guest", "DirectNetworkGuru"),
    ("Guest", "DirectPodBasedNetworkGuru"),
    ("Public", "PublicNetworkGuru"),
    ("Management", "PodBasedNetworkGuru"),
    ("Storage", "StorageNetworkGuru"),
    ("Control", "ControlNetworkGuru"),
)


@command("addTrafficType", roles=ROOT, answers=traffic_type_view, event="TRAFFIC.TYPE.CREATE")
def add(
    ctx: Context,
    physicalnetworkid: Use[PhysicalNetwork],
    traffictype: str,
    kvmnetworklabel: str | None = None,
    xennetworklabel: str | None = None,
    vmwarenetworklabel: str | None = None,
    hypervnetworklabel: str | None = None,
    ovm3networklabel: str | None = None,
    vlan: str | None = None,
    isolationmethod: str | None = None,
) -> Accepted:
    """Say that a physical network carries a type of traffic.

    physicalnetworkid: the physical network
    traffictype: Guest, Management, Public or Storage
    kvmnetworklabel: the bridge of KVM hosts for it
    xennetworklabel: the network's name label on XenServer hosts
    vmwarenetworklabel: the virtual switch of VMware hosts
    hypervnetworklabel: the switch of Hyper-V hosts
    ovm3networklabel: the bridge of OVM hosts
    vlan: the VLAN of management traffic in VMware clusters
    isolationmethod: the isolation of this traffic, when it is not the physical network's
    """
    alone(ctx, ctx.session.get_one(Zone, physicalnetworkid.zone_id))
    kind = one_of("traffictype", traffictype, TYPES) or ""
    _refuse_second(ctx, physicalnetworkid, kind)
    given = (kvmnetworklabel, xennetworklabel, vmwarenetworklabel, hypervnetworklabel, ovm3networklabel)
    row = TrafficType(
        physical_network_id=physicalnetworkid.id,
        type=kind,
        labels=_labels(given),
        vlan=vlan,
        isolation=one_of("isolationmethod", isolationmethod, ISOLATION),
    )
    ctx.session.add(row)
    ctx.describe(f"adding {kind} traffic to physical network {physicalnetworkid.name}")
    return ctx.start(done, row)


@command("updateTrafficType", roles=ROOT, answers=traffic_type_view, event="TRAFFIC.TYPE.UPDATE")
def update(
    ctx: Context,
    id: Operate[TrafficType],
    kvmnetworklabel: str | None = None,
    xennetworklabel: str | None = None,
    vmwarenetworklabel: str | None = None,
    hypervnetworklabel: str | None = None,
    ovm3networklabel: str | None = None,
) -> Accepted:
    """Change the labels of a traffic type. Machines take them at their next start.

    id: the traffic type
    kvmnetworklabel: the bridge of KVM hosts for it
    xennetworklabel: the network's name label on XenServer hosts
    vmwarenetworklabel: the virtual switch of VMware hosts
    hypervnetworklabel: the switch of Hyper-V hosts
    ovm3networklabel: the bridge of OVM hosts
    """
    alone(ctx, id)
    given = (kvmnetworklabel, xennetworklabel, vmwarenetworklabel, hypervnetworklabel, ovm3networklabel)
    id.labels = {**id.labels, **_labels(given)}
    ctx.describe(f"changing the labels of {id.type} traffic")
    return ctx.start(done, id)


@command("deleteTrafficType", roles=ROOT, event="TRAFFIC.TYPE.DELETE")
def delete(ctx: Context, id: Operate[TrafficType]) -> Accepted:
    """Take a type of traffic off a physical network that no network needs there.

    id: the traffic type
    """
    network = ctx.session.get_one(PhysicalNetwork, id.physical_network_id)
    alone(ctx, network)
    what = f"{id.type} traffic of physical network {network.name}"
    unused(ctx, what, (Network, (Network.physical_network_id == network.id) & (Network.traffic_type == id.type)))
    if id.type == "Public":
        public = (VlanRange.physical_network_id == network.id) & (VlanRange.type == "VirtualNetwork")
        unused(ctx, what, (VlanRange, public))
    ctx.describe(f"deleting {what}")
    accepted = ctx.start(done, id)
    ctx.session.execute(deletion(TrafficType).where(TrafficType.id == id.id))
    return accepted


@command("listTrafficTypes", roles=ROOT, answers=traffic_type_view)
def list_traffic_types(ctx: Context, physicalnetworkid: Use[PhysicalNetwork]) -> Rows:
    """List what a physical network carries.

    physicalnetworkid: the physical network
    """
    return Rows(traffic_type_view).where(physical_network_id=physicalnetworkid)


@command("listTrafficTypeImplementors", roles=ROOT, key="traffictypeimplementorresponse", reads=True)
def list_implementors(ctx: Context, traffictype: str | None = None) -> list[dict[str, Any]]:
    """List who makes the networks of a traffic type.

    traffictype: those of this type
    """
    kind = one_of("traffictype", traffictype, (*TYPES, "Control"))
    return [{"traffictype": t, "traffictypeimplementor": i} for t, i in IMPLEMENTORS if kind in (None, t)]


def _refuse_second(ctx: Context, network: PhysicalNetwork, kind: str) -> None:
    carried = (
        select(PhysicalNetwork.name)
        .join(TrafficType, TrafficType.physical_network_id == PhysicalNetwork.id)
        .where(PhysicalNetwork.zone_id == network.zone_id, TrafficType.type == kind)
    )
    if kind not in ONCE_A_ZONE:
        carried = carried.where(PhysicalNetwork.id == network.id)
    name = ctx.session.scalar(carried.limit(1))
    if name is not None:
        raise InvalidValue(
            f"{kind} traffic is on physical network {name} already: delete it there first, or change its labels with "
            "updateTrafficType"
        )


def _labels(given: tuple[str | None, ...]) -> dict[str, str]:
    """`given`: in the order of LABELS."""
    label = given[0]
    if label and not INTERFACE.fullmatch(label):
        raise InvalidValue(f"kvmnetworklabel={label[:100]} cannot be a bridge: at most 15 letters, digits, . _ : -")
    return {hypervisor: value for hypervisor, value in zip(LABELS.values(), given, strict=True) if value}
