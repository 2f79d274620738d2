"""The network offerings of a fresh installation, those of system VMs' networks among them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.offering import NetworkOffering, NetworkOfferingService, ServiceOffering
from mgmt_server.resources.offering.seeds import defaults

ORDER = 21
ROUTER_OFFERING = "Cloud.Com-SoftwareRouter"


def seed(tx: Session) -> None:
    """Does nothing where there is a network offering already, removed ones included."""
    if tx.scalar(select(NetworkOffering.id).limit(1)) is not None:
        return
    known = defaults()["network"]
    router = tx.scalar(select(ServiceOffering.id).where(ServiceOffering.unique_name == ROUTER_OFFERING))
    offerings = [_offering(o, router) for o in known]
    tx.add_all(offerings)
    tx.flush()
    for offering, each in zip(offerings, known, strict=True):
        for service, providers in each["services"].items():
            for provider in providers:
                tx.add(
                    NetworkOfferingService(
                        offering_id=offering.id,
                        service=service,
                        provider=provider,
                        capabilities=_capabilities(service, each),
                    )
                )
    tx.flush()


def _offering(known: dict[str, Any], router: int | None) -> NetworkOffering:
    guest = known["trafficType"] == "Guest"
    return NetworkOffering(
        name=known["name"],
        display_text=known["text"],
        unique_name=known["name"],
        traffic_type=known["trafficType"],
        guest_type=known["guestType"],
        availability=known["availability"],
        state="Enabled",
        is_default=True,
        is_system=known["systemOnly"],
        conserve_mode=known["conserveMode"],
        specify_vlan=known["specifyVlan"],
        specify_ip_ranges=known["specifyIpRanges"],
        persistent=known["isPersistent"],
        for_vpc=known["forVpc"],
        egress_default=False,
        internet_protocol="IPv4" if guest else None,
        network_mode=known.get("networkMode"),
        service_offering_id=router if guest else None,
    )


def _capabilities(service: str, known: dict[str, Any]) -> dict[str, str]:
    """What is special about a service: who gets the source NAT address, how load balancers are shared."""
    if service == "SourceNat":
        return {"SupportedSourceNatTypes": "peraccount", "RedundantRouter": "false"}
    if service == "Lb":
        elastic = "true" if known.get("elasticLb") else "false"
        public = "Internal" if known["internalLb"] else "Public"
        return {"SupportedLBIsolation": "dedicated", "ElasticLb": elastic, "LbSchemes": public}
    if service == "StaticNat":
        return {
            "ElasticIp": "true" if known.get("elasticIp") else "false",
            "AssociatePublicIP": "true" if known.get("associatePublicIp") else "false",
        }
    return {}
