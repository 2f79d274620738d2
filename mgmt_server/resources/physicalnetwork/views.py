"""Physical networks as operators see them."""

from __future__ import annotations

from mgmt_server.api.view import View
from mgmt_server.model.account import Domain
from mgmt_server.model.zone import PhysicalNetwork, Zone

physical_network_view = View(
    "physicalnetwork",
    PhysicalNetwork,
    response="PhysicalNetworkResponse",
    keyword=(PhysicalNetwork.name,),
    joins=((Domain, Domain.id == PhysicalNetwork.domain_id),),
    id=PhysicalNetwork.uuid,
    name=PhysicalNetwork.name,
    broadcastdomainrange=PhysicalNetwork.broadcast_domain_range,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    state=PhysicalNetwork.state,
    vlan=PhysicalNetwork.vlan,
    isolationmethods=PhysicalNetwork.isolation,
    networkspeed=PhysicalNetwork.speed,
    tags=PhysicalNetwork.tags,
    domainid=Domain.uuid,
)
