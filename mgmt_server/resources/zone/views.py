"""Zones as clients see them."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.view import View, always, only, shown
from mgmt_server.model.account import Domain
from mgmt_server.model.tenancy import ADMIN
from mgmt_server.model.zone import Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.capacity.sums import shown as capacities


def _details(details: dict[str, Any]) -> dict[str, str] | None:
    return {k: str(v) for k, v in details.items()} or None


zone_view = View(
    "zone",
    Zone,
    response="ZoneResponse",
    keyword=(Zone.name,),
    order=(Zone.sort_key, Zone.id),
    joins=((Domain, Domain.id == Zone.domain_id),),
    id=Zone.uuid,
    name=Zone.name,
    description=Zone.description,
    networktype=Zone.network_type,
    type=Zone.type,
    securitygroupsenabled=Zone.security_groups,
    allocationstate=Zone.allocation_state,
    localstorageenabled=Zone.local_storage,
    dhcpprovider=Zone.dhcp_provider,
    dns1=Zone.dns1,
    dns2=Zone.dns2,
    ip6dns1=Zone.ip6_dns1,
    ip6dns2=Zone.ip6_dns2,
    internaldns1=only(ADMIN, Zone.internal_dns1),
    internaldns2=only(ADMIN, Zone.internal_dns2),
    guestcidraddress=only(ADMIN, Zone.guest_cidr),
    resourcedetails=only(ADMIN, shown(_details, Zone.details)),
    domain=Zone.network_domain,
    domainid=Domain.uuid,
    domainname=Domain.name,
    zonetoken=shown(lambda uuid: uuid, Zone.uuid),
    tags=always([]),
    hasannotations=has_annotations("ZONE", Zone.uuid),
    allowuserspecifyvrmtu=always(False),
    routerprivateinterfacemaxmtu=always(1500),
    routerpublicinterfacemaxmtu=always(1500),
    ismultiarch=always(False),
    gputotal=always(0),
    gpuused=always(0),
    asnrange=always(""),
    isnsxenabled=always(False),
    routedmodeenabled=always(False),
)

zone_with_capacity = zone_view.extended(more=(capacities("zone"),))
