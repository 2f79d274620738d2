"""Dedicated guest VLANs as operators see them."""

from __future__ import annotations

from mgmt_server.api.view import View, shown
from mgmt_server.model.zone import GuestVlanRange, PhysicalNetwork
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
