"""Networks as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.view import View, always, many, only, shown
from mgmt_server.model.network import Network
from mgmt_server.model.offering import NetworkOffering, NetworkOfferingService
from mgmt_server.model.tenancy import ADMIN, Caller
from mgmt_server.model.zone import PhysicalNetwork, Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import owner_fields, owner_joins, pending_job


class _Services(View):
    """Services by network, each with its providers and capabilities: rows of the offering, grouped."""

    def children(
        self, session: Session, caller: Caller, parent: Any, ids: list[int]
    ) -> dict[int, list[dict[str, Any]]]:
        service = NetworkOfferingService
        rows = select(Network.id, service.service, service.provider, service.capabilities)
        rows = rows.join(service, service.offering_id == Network.offering_id).where(Network.id.in_(ids))
        found: dict[int, dict[str, dict[str, Any]]] = {}
        for network, name, provider, capabilities in session.execute(rows.order_by(service.id)):
            entry = found.setdefault(network, {}).setdefault(name, {"name": name, "provider": [], "capability": []})
            entry["provider"].append({"name": provider})
            if not entry["capability"]:
                entry["capability"] = [
                    {"name": k, "value": str(v), "canchooseservicecapability": False} for k, v in capabilities.items()
                ]
        return {network: list(services.values()) for network, services in found.items()}


_service_view = _Services(
    "service", NetworkOfferingService, response="ServiceResponse", name=NetworkOfferingService.service
)


def _kind(broadcast: str | None, isolation: str | None, guest_type: str | None) -> str:
    if broadcast:
        return broadcast.partition(":")[0].capitalize()
    return "Vxlan" if (isolation or "").upper() == "VXLAN" else "Vlan"


def _vlan(broadcast: str | None) -> str | None:
    return broadcast.rpartition("/")[2] if broadcast else None


def _can_deploy(state: str, system: bool) -> bool:
    return not system and state in ("Allocated", "Setup", "Implemented", "Implementing")


network_view = View(
    "network",
    Network,
    response="NetworkResponse",
    keyword=(Network.name, Network.display_text),
    tagged="Network",
    joins=(
        (Zone, Zone.id == Network.zone_id),
        (NetworkOffering, NetworkOffering.id == Network.offering_id),
        (PhysicalNetwork, PhysicalNetwork.id == Network.physical_network_id),
        *owner_joins(Network),
    ),
    id=Network.uuid,
    name=Network.name,
    displaytext=Network.display_text,
    broadcastdomaintype=shown(_kind, Network.broadcast, PhysicalNetwork.isolation, Network.guest_type),
    broadcasturi=only(ADMIN, Network.broadcast),
    vlan=only(ADMIN, shown(_vlan, Network.broadcast)),
    traffictype=Network.traffic_type,
    gateway=Network.gateway,
    netmask=Network.netmask,
    cidr=Network.cidr,
    ip6gateway=Network.ip6_gateway,
    ip6cidr=Network.ip6_cidr,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    networkofferingid=NetworkOffering.uuid,
    networkofferingname=NetworkOffering.name,
    networkofferingdisplaytext=NetworkOffering.display_text,
    networkofferingconservemode=NetworkOffering.conserve_mode,
    networkofferingavailability=NetworkOffering.availability,
    redundantrouter=NetworkOffering.redundant_router,
    egressdefaultpolicy=NetworkOffering.egress_default,
    specifyvlan=NetworkOffering.specify_vlan,
    specifyipranges=Network.specify_ip_ranges,
    physicalnetworkid=PhysicalNetwork.uuid,
    issystem=Network.is_system,
    isdefault=Network.is_default,
    state=Network.state,
    related=Network.uuid,
    dns1=shown(lambda own, zone: own or zone, Network.dns1, Zone.dns1),
    dns2=shown(lambda own, zone: own or zone, Network.dns2, Zone.dns2),
    type=Network.guest_type,
    acltype=Network.acl_type,
    subdomainaccess=Network.subdomain_access,
    networkdomain=Network.network_domain,
    service=many(_service_view, Network.id),
    ispersistent=Network.persistent,
    restartrequired=Network.restart_required,
    canusefordeploy=shown(_can_deploy, Network.state, Network.is_system),
    displaynetwork=only(ADMIN, Network.display),
    created=Network.created,
    receivedbytes=always(0),
    sentbytes=always(0),
    strechedl2subnet=always(False),
    supportsvmautoscaling=always(False),
    hasannotations=has_annotations("NETWORK", Network.uuid),
    details=always({}),
    jobid=pending_job(Network),
    **owner_fields(),
)
