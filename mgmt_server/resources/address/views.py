"""Public addresses as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, always, only, shown
from mgmt_server.model.network import Network
from mgmt_server.model.tenancy import ADMIN
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Address, PhysicalNetwork, VlanRange, Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import owner_fields, owner_joins, pending_job

Public = aliased(Network, name="public_network")


def _guest(column: Any) -> Any:
    """Of the network that the address is associated with; a system network is none to its users."""
    rows = select(column).where(Network.id == Address.network_id, ~Network.is_system)
    return rows.correlate(Address.__table__).limit(1).scalar_subquery()


address_view = View(
    "publicipaddress",
    Address,
    response="IPAddressResponse",
    keyword=(Address.address,),
    tagged="PublicIpAddress",
    joins=(
        (VlanRange, VlanRange.id == Address.range_id),
        (PhysicalNetwork, PhysicalNetwork.id == VlanRange.physical_network_id),
        (Zone, Zone.id == Address.zone_id),
        (Public, (Public.zone_id == Address.zone_id) & Public.is_system & (Public.traffic_type == "Public")),
        (Vm, Vm.id == Address.vm_id),
        *owner_joins(Address),
    ),
    id=Address.uuid,
    ipaddress=Address.address,
    allocated=Address.allocated,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    issourcenat=Address.source_nat,
    isstaticnat=always(False),
    issystem=shown(lambda kind: kind in ("ConsoleProxy", "SecondaryStorageVm"), Vm.kind),
    isportable=always(False),
    hasrules=always(False),
    fordisplay=always(True),
    forprovider=always(False),
    forsystemvms=VlanRange.for_system_vms,
    forvirtualnetwork=shown(lambda kind: kind == "VirtualNetwork", VlanRange.type),
    vlanid=only(ADMIN, VlanRange.uuid),
    vlanname=only(ADMIN, shown(lambda vlan: f"vlan://{vlan.rpartition('/')[2]}" if vlan else None, VlanRange.vlan)),
    networkid=Public.uuid,
    networkname=only(ADMIN, Public.name),
    physicalnetworkid=only(ADMIN, PhysicalNetwork.uuid),
    associatednetworkid=_guest(Network.uuid),
    associatednetworkname=_guest(Network.name),
    state=Address.state,
    hasannotations=has_annotations("PUBLIC_IP_ADDRESS", Address.uuid),
    jobid=pending_job(Address),
    **owner_fields(),
)
