"""Guest VLANs as operators see them: ranges that are dedicated, and each one with who has it."""

from __future__ import annotations

from sqlalchemy import String, cast

from mgmt_server.api.view import View, many, shown
from mgmt_server.model.network import Network
from mgmt_server.model.zone import GuestVlanRange, PhysicalNetwork, Vnet, Zone
from mgmt_server.resources.network.views import network_view
from mgmt_server.resources.views import owner_fields, owner_joins

guest_vlan_view = View(
    "dedicatedguestvlanrange",
    GuestVlanRange,
    response="GuestVlanRangeResponse",
    joins=(
        (PhysicalNetwork, PhysicalNetwork.id == GuestVlanRange.physical_network_id),
        *owner_joins(GuestVlanRange),
    ),
    id=GuestVlanRange.uuid,
    guestvlanrange=shown(lambda first, last: f"{first}-{last}", GuestVlanRange.first, GuestVlanRange.last),
    physicalnetworkid=PhysicalNetwork.id,
    zoneid=PhysicalNetwork.zone_id,
    **owner_fields(),
)

_having = network_view.extended(joins=((Vnet, Vnet.network_id == Network.id),))
vlan_view = View(
    "guestvlan",
    Vnet,
    response="GuestVlanResponse",
    keyword=(cast(Vnet.tag, String),),
    order=(Vnet.physical_network_id, Vnet.tag),
    joins=(
        (PhysicalNetwork, PhysicalNetwork.id == Vnet.physical_network_id),
        (Zone, Zone.id == PhysicalNetwork.zone_id),
        (
            GuestVlanRange,
            (GuestVlanRange.physical_network_id == Vnet.physical_network_id)
            & Vnet.tag.between(GuestVlanRange.first, GuestVlanRange.last),
        ),
        *owner_joins(GuestVlanRange),
    ),
    id=Vnet.id,
    vlan=shown(str, Vnet.tag),
    allocationstate=shown(lambda network: "Free" if network is None else "Allocated", Vnet.network_id),
    isdedicated=shown(lambda found: found is not None, GuestVlanRange.id),
    physicalnetworkid=PhysicalNetwork.uuid,
    physicalnetworkname=PhysicalNetwork.name,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    network=many(_having, Vnet.id),
    **owner_fields(),
)
