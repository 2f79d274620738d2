"""Providers of network services, and their elements, as operators see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, shown
from mgmt_server.model.zone import PhysicalNetwork, Provider, RouterElement
from mgmt_server.resources.networkprovider.services import ALL_OR_NOTHING

Destination = aliased(PhysicalNetwork)

provider_view = View(
    "networkserviceprovider",
    Provider,
    response="ProviderResponse",
    keyword=(Provider.name,),
    joins=(
        (PhysicalNetwork, PhysicalNetwork.id == Provider.physical_network_id),
        (Destination, Destination.id == Provider.destination_physical_network_id),
    ),
    id=Provider.uuid,
    name=Provider.name,
    state=Provider.state,
    physicalnetworkid=PhysicalNetwork.uuid,
    destinationphysicalnetworkid=Destination.uuid,
    servicelist=shown(list, Provider.services),
    canenableindividualservice=shown(lambda name: name not in ALL_OR_NOTHING, Provider.name),
)


def _element(key: str, response: str) -> View:
    fields: dict[str, Any] = {"id": RouterElement.uuid, "nspid": Provider.uuid, "enabled": RouterElement.enabled}
    return View(key, RouterElement, response=response, **fields)


router_element_view = _element("virtualrouterelement", "VirtualRouterProviderResponse")
balancer_element_view = _element("internalloadbalancerelement", "InternalLoadBalancerElementResponse")
