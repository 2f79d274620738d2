"""Network offerings as clients see them, each with its services, and who provides them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from mgmt_server.api.view import View, always, many, shown
from mgmt_server.model.offering import NetworkOffering, NetworkOfferingService, ServiceOffering
from mgmt_server.model.tenancy import Caller
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.networkoffering.rates import of_network
from mgmt_server.resources.offering.scope import scope_fields
from mgmt_server.resources.offering.views import texts


class Services(View):
    """Rows are (service, provider); clients look for a service with its providers in one object."""

    def children(
        self, session: Session, caller: Caller, parent: Any, ids: list[int]
    ) -> dict[int, list[dict[str, Any]]]:
        merged: dict[int, list[dict[str, Any]]] = {}
        for number, rows in super().children(session, caller, parent, ids).items():
            by_name: dict[str, dict[str, Any]] = {}
            for row in rows:
                known = by_name.setdefault(row["name"], row)
                if known is not row:
                    known["provider"] = known["provider"] + row["provider"]
            merged[number] = list(by_name.values())
        return merged


def _provider(name: str) -> list[dict[str, str]]:
    return [{"name": name}]


def _capabilities(chosen: dict[str, str]) -> list[dict[str, Any]] | None:
    found = [{"name": n, "value": v, "canchooseservicecapability": False} for n, v in chosen.items()]
    return found or None


service_view = Services(
    "service",
    NetworkOfferingService,
    response="ServiceResponse",
    name=NetworkOfferingService.service,
    provider=shown(_provider, NetworkOfferingService.provider),
    capability=shown(_capabilities, NetworkOfferingService.capabilities),
)


def rate(own: int | None) -> int | None:
    """Mbit/s; None for no limit."""
    return of_network(own) or None


def _by(provider: str) -> ColumnElement[bool]:
    rows = select(NetworkOfferingService.id).where(
        NetworkOfferingService.offering_id == NetworkOffering.id, NetworkOfferingService.provider == provider
    )
    return rows.correlate(NetworkOffering.__table__).exists()


network_offering_view = View(
    "networkoffering",
    NetworkOffering,
    response="NetworkOfferingResponse",
    keyword=(NetworkOffering.name, NetworkOffering.display_text),
    order=(NetworkOffering.sort_key, NetworkOffering.id),
    joins=((ServiceOffering, ServiceOffering.id == NetworkOffering.service_offering_id),),
    id=NetworkOffering.uuid,
    name=NetworkOffering.name,
    displaytext=NetworkOffering.display_text,
    created=NetworkOffering.created,
    traffictype=NetworkOffering.traffic_type,
    isdefault=NetworkOffering.is_default,
    specifyvlan=NetworkOffering.specify_vlan,
    conservemode=NetworkOffering.conserve_mode,
    specifyipranges=NetworkOffering.specify_ip_ranges,
    availability=NetworkOffering.availability,
    networkrate=shown(rate, NetworkOffering.network_rate),
    state=NetworkOffering.state,
    guestiptype=NetworkOffering.guest_type,
    serviceofferingid=ServiceOffering.uuid,
    service=many(service_view, NetworkOfferingService.offering_id),
    tags=NetworkOffering.tags,
    maxconnections=NetworkOffering.max_connections,
    forvpc=NetworkOffering.for_vpc,
    fornsx=_by("Nsx"),
    fortungsten=_by("Tungsten"),
    ispersistent=NetworkOffering.persistent,
    egressdefaultpolicy=NetworkOffering.egress_default,
    internetprotocol=NetworkOffering.internet_protocol,
    networkmode=NetworkOffering.network_mode,
    details=shown(texts, NetworkOffering.details),
    supportsstrechedl2subnet=always(False),
    supportspublicaccess=always(False),
    supportsinternallb=always(False),
    specifyasnumber=always(False),
    hasannotations=has_annotations("NETWORK_OFFERING", NetworkOffering.uuid),
    **scope_fields(NetworkOffering),
)
