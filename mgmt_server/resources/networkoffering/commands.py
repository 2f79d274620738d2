"""Network offerings: what a network gets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Domain
from mgmt_server.model.network import Network
from mgmt_server.model.offering import NetworkOffering, NetworkOfferingService, ServiceOffering
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import assign, one_of
from mgmt_server.resources.networkoffering.services import SERVICES, choose
from mgmt_server.resources.networkoffering.views import network_offering_view
from mgmt_server.resources.offering.rules import absent, between, storage_tags
from mgmt_server.resources.offering.scope import offer, offer_anew

GUEST_TYPES, STATES, AVAILABILITY = ("Isolated", "Shared", "L2"), ("Enabled", "Disabled"), ("Optional", "Required")
TRAFFIC = ("Public", "Management", "Control", "Guest", "Vlan", "Storage")


@command(
    "createNetworkOffering",
    roles=ROOT,
    answers=network_offering_view,
    event="NETWORK.OFFERING.CREATE",
    unsupported=("provider", "routingmode"),
)
def create(
    ctx: Context,
    name: str,
    guestiptype: str,
    traffictype: str,
    displaytext: str | None = None,
    supportedservices: list[str] | None = None,
    serviceproviderlist: list[dict[str, str]] | None = None,
    servicecapabilitylist: list[dict[str, str]] | None = None,
    specifyvlan: bool = False,
    specifyipranges: bool | None = None,
    availability: str = "Optional",
    conservemode: bool = True,
    ispersistent: bool = False,
    egressdefaultpolicy: bool = True,
    enable: bool = False,
    networkrate: int | None = None,
    maxconnections: int | None = None,
    serviceofferingid: Use[ServiceOffering] | None = None,
    tags: str | None = None,
    details: dict[str, str] | None = None,
    internetprotocol: str | None = None,
    networkmode: str | None = None,
    domainid: list[Use[Domain]] | None = None,
    zoneid: list[Use[Zone]] | None = None,
    forvpc: bool = False,
    fornsx: bool = False,
    fortungsten: bool = False,
    nsxsupportlb: bool = False,
    nsxsupportsinternallb: bool = False,
    keepaliveenabled: bool = False,
    specifyasnumber: bool = False,
) -> NetworkOffering:
    """Offer networks of a kind. Users see the offering once it is enabled.

    name: its name
    guestiptype: Isolated, Shared or L2
    traffictype: Guest
    displaytext: what users read; the name by default
    supportedservices: services with commas between, such as Dhcp,Dns,SourceNat
    serviceproviderlist: serviceproviderlist[0].service and serviceproviderlist[0].provider, for each service
    servicecapabilitylist: servicecapabilitylist[0].service, .capabilitytype and .capabilityvalue
    specifyvlan: whether whoever makes a network names its VLAN
    specifyipranges: whether a network's addresses are given as ranges
    availability: Optional or Required
    conservemode: whether one public address may serve several purposes
    ispersistent: whether networks are there before their first machine
    egressdefaultpolicy: whether guests reach the outside unless a rule forbids it
    enable: whether it is enabled at once
    networkrate: Mbit/s
    maxconnections: connections that a load balancer takes at once
    serviceofferingid: the system service offering of routers
    tags: tag of the physical network
    details: free key-value pairs
    internetprotocol: IPv4
    networkmode: NATTED
    domainid: the domains that it is for; all by default
    zoneid: the zones that it is in; all by default
    forvpc: not supported; false is accepted
    fornsx: not supported; false is accepted
    fortungsten: not supported; false is accepted
    nsxsupportlb: not supported; false is accepted
    nsxsupportsinternallb: not supported; false is accepted
    keepaliveenabled: not supported; false is accepted
    specifyasnumber: not supported; false is accepted
    """
    absent(
        forvpc=forvpc, fornsx=fornsx, fortungsten=fortungsten, nsxsupportlb=nsxsupportlb,
        nsxsupportsinternallb=nsxsupportsinternallb, keepaliveenabled=keepaliveenabled, specifyasnumber=specifyasnumber,
    )  # fmt: skip
    if one_of("traffictype", traffictype, TRAFFIC) != "Guest":
        raise InvalidValue(f"traffictype={traffictype}: networks that users make carry Guest traffic alone")
    kind = one_of("guestiptype", guestiptype, GUEST_TYPES) or ""
    one_of("internetprotocol", internetprotocol, ("IPv4",))
    one_of("networkmode", networkmode, ("NATTED",))
    services = choose(kind, supportedservices or [], serviceproviderlist or [], servicecapabilitylist or [])
    ranges = _ranges(kind, specifyvlan, specifyipranges, {s.service for s in services})
    if ispersistent and kind == "Shared":
        raise InvalidValue(
            "ispersistent is for Isolated and L2 networks: shared ones are there as soon as they are made"
        )
    router = _router_offering(ctx, serviceofferingid)
    offering = NetworkOffering(
        name=name,
        display_text=displaytext or name,
        traffic_type="Guest",
        guest_type=kind,
        network_rate=between("networkrate", networkrate, 0, unit=" Mbit/s"),
        availability=one_of("availability", availability, AVAILABILITY),
        state="Enabled" if enable else "Disabled",
        conserve_mode=conservemode,
        specify_vlan=specifyvlan,
        specify_ip_ranges=ranges,
        persistent=ispersistent,
        egress_default=egressdefaultpolicy,
        max_connections=between("maxconnections", maxconnections, 1),
        internet_protocol="IPv4",
        network_mode=networkmode and "NATTED",
        service_offering_id=router,
        tags=storage_tags(tags),
        details=details or {},
    )
    ctx.session.add(offering)
    ctx.session.flush()
    for s in services:
        ctx.session.add(
            NetworkOfferingService(
                offering_id=offering.id, service=s.service, provider=s.provider, capabilities=s.capabilities
            )
        )
    ctx.session.flush()
    offer(ctx, offering, domainid, zoneid)
    ctx.describe(f"creating network offering {name}")
    return offering


def _ranges(kind: str, vlan: bool, ranges: bool | None, services: set[str]) -> bool:
    """Whether addresses are given as ranges, checked against what the type of network needs."""
    if kind == "Shared":
        if not vlan:
            raise InvalidValue("shared networks need specifyvlan=true: no VLAN is taken for them from a range")
        if ranges is False:
            raise InvalidValue("shared networks need specifyipranges=true: their addresses come from given ranges")
        return True
    if ranges and "SourceNat" in services:
        raise InvalidValue(
            "specifyipranges=true is for networks without SourceNat: guests' addresses are private there"
        )
    return bool(ranges)


def _router_offering(ctx: Context, chosen: ServiceOffering | None) -> int | None:
    if chosen is not None:
        if chosen.system_vm_type != "domainrouter":
            raise InvalidValue(f"serviceofferingid: {chosen.name} is no system offering for routers")
        return chosen.id
    default = ServiceOffering.unique_name == "Cloud.Com-SoftwareRouter"
    found: int | None = ctx.session.scalar(select(ServiceOffering.id).where(default))
    return found


@command(
    "updateNetworkOffering",
    roles=ROOT,
    answers=network_offering_view,
    event="NETWORK.OFFERING.EDIT",
)
def update(
    ctx: Context,
    id: Operate[NetworkOffering],
    name: str | None = None,
    displaytext: str | None = None,
    availability: str | None = None,
    sortkey: int | None = None,
    maxconnections: int | None = None,
    state: str | None = None,
    tags: str | None = None,
    domainid: str | None = None,
    zoneid: str | None = None,
    keepaliveenabled: bool = False,
) -> NetworkOffering:
    """Change a network offering, enable it or disable it. Networks that have it keep their services.

    id: the network offering
    name: its new name
    displaytext: what users read
    availability: Optional or Required
    sortkey: its place in lists, the lowest first
    maxconnections: connections that a load balancer takes at once
    state: Enabled or Disabled
    tags: tag of the physical network
    domainid: ids of the domains that it is for, or public
    zoneid: ids of the zones that it is in, or all
    keepaliveenabled: not supported; false is accepted
    """
    absent(keepaliveenabled=keepaliveenabled)
    if id.is_system:
        raise InvalidValue(f"{id.name} is for system VMs' networks: it stays as it is")
    changes = {
        "name": name,
        "display_text": displaytext,
        "availability": one_of("availability", availability, AVAILABILITY),
        "sort_key": sortkey,
        "max_connections": between("maxconnections", maxconnections, 1),
        "state": one_of("state", state, STATES),
        "tags": storage_tags(tags),
    }
    assign(id, changes)
    offer_anew(ctx, id, domainid, zoneid)
    ctx.describe(f"changing network offering {id.name}")
    return id


@command("deleteNetworkOffering", roles=ROOT, event="NETWORK.OFFERING.DELETE")
def delete(ctx: Context, id: Operate[NetworkOffering]) -> None:
    """Delete a network offering that no network has.

    id: the network offering
    """
    if id.is_default:
        raise InvalidValue("Default network offering can't be deleted: disable it instead")
    used = select(func.count()).select_from(Network).where(Network.offering_id == id.id, Network.removed.is_(None))
    count = ctx.session.scalar(used)
    if count:
        raise InvalidValue(f"the network offering {id.name} is used by {count} network(s): disable it instead")
    id.removed = now()
    ctx.describe(f"deleting network offering {id.name}")


def _has(service: str) -> ColumnElement[bool]:
    rows = select(NetworkOfferingService.id).where(
        NetworkOfferingService.offering_id == NetworkOffering.id, NetworkOfferingService.service == service
    )
    return rows.correlate(NetworkOffering).exists()


@command("listNetworkOfferings", roles=EVERYONE, answers=network_offering_view, unsupported=("routingmode",))
def list_offerings(
    ctx: Context,
    id: Use[NetworkOffering] | None = None,
    name: str | None = None,
    displaytext: str | None = None,
    traffictype: str | None = None,
    guestiptype: str | None = None,
    state: str | None = None,
    availability: str | None = None,
    isdefault: bool | None = None,
    specifyvlan: bool | None = None,
    specifyipranges: bool | None = None,
    forvpc: bool | None = None,
    istagged: bool | None = None,
    tags: str | None = None,
    supportedservices: list[str] | None = None,
    sourcenatsupported: bool | None = None,
    networkid: Use[Network] | None = None,
    domainid: Use[Domain] | None = None,
    zoneid: Use[Zone] | None = None,
) -> Rows:
    """List network offerings.

    id: this one alone
    name: those of this name
    displaytext: those with this display text
    traffictype: the traffic that they carry
    guestiptype: Isolated, Shared or L2
    state: Enabled or Disabled; users see enabled ones only
    availability: Optional or Required
    isdefault: those that the installation came with
    specifyvlan: those whose networks name their VLAN
    specifyipranges: those whose addresses are given as ranges
    forvpc: those for tiers of a VPC
    istagged: those with a tag
    tags: those with this tag
    supportedservices: those with all these services
    sourcenatsupported: those with, or without, source NAT
    networkid: those that this network could change to
    domainid: those that this domain may use
    zoneid: those in this zone
    """
    conditions: list[ColumnElement[bool] | None] = [
        _has(one_of("supportedservices", s, SERVICES) or s) for s in supportedservices or []
    ]
    if sourcenatsupported is not None:
        conditions.append(_has("SourceNat") if sourcenatsupported else ~_has("SourceNat"))
    if istagged is not None:
        conditions.append(NetworkOffering.tags.is_not(None) if istagged else NetworkOffering.tags.is_(None))
    if networkid is not None:
        conditions += [NetworkOffering.guest_type == networkid.guest_type, NetworkOffering.id != networkid.offering_id]
    equal: dict[str, Any] = {
        "id": id and id.id,
        "name": name,
        "display_text": displaytext,
        "traffic_type": one_of("traffictype", traffictype, TRAFFIC),
        "guest_type": one_of("guestiptype", guestiptype, GUEST_TYPES),
        "state": one_of("state", state, STATES),
        "availability": one_of("availability", availability, AVAILABILITY),
        "is_default": isdefault,
        "specify_vlan": specifyvlan,
        "specify_ip_ranges": specifyipranges,
        "for_vpc": forvpc,
        "tags": tags,
    }
    return (
        Rows(network_offering_view)
        .where(*conditions, is_system=False, **equal)
        .where(
            NetworkOffering.for_domain(domainid.path) if domainid else None,
            NetworkOffering.in_zone(zoneid.id) if zoneid else None,
        )
    )
