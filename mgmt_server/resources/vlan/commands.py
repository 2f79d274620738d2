"""Ranges of addresses: public ones of a zone, and those of shared networks."""

from __future__ import annotations

from netaddr import IPNetwork
from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.network import Network
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import PhysicalNetwork, Pod, TrafficType, VlanRange, Zone
from mgmt_server.resources.checks import address, alone, netmask
from mgmt_server.resources.vlan import holders, rows
from mgmt_server.resources.vlan.views import listed_view, range_view

IP6 = ("startipv6", "endipv6", "ip6gateway", "ip6cidr")


@command(
    "createVlanIpRange",
    roles=ROOT,
    answers=range_view,
    event="VLAN.IP.RANGE.CREATE",
    unsupported=("provider", *IP6),
)
def create(
    ctx: Context,
    zoneid: Use[Zone] | None = None,
    physicalnetworkid: Use[PhysicalNetwork] | None = None,
    networkid: Use[Network] | None = None,
    podid: Use[Pod] | None = None,
    forvirtualnetwork: bool = True,
    vlan: str | None = None,
    gateway: str | None = None,
    netmask: str | None = None,
    startip: str | None = None,
    endip: str | None = None,
    forsystemvms: bool = False,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> VlanRange:
    """Add a range of addresses: public ones of a zone, or more of a shared network.

    zoneid: the zone; follows from the network, pod or physical network when left out
    physicalnetworkid: the physical network; the one that carries the traffic when left out
    networkid: the shared network that gets the addresses
    podid: the pod whose guests get them, in a Basic zone
    forvirtualnetwork: true for public addresses, false for addresses of guests in a shared network
    vlan: the VLAN that the addresses are on; untagged when left out
    gateway: their gateway
    netmask: their netmask
    startip: first address
    endip: last address; only the first when left out
    forsystemvms: keep public addresses for system VMs
    account: keep public addresses for this account of domainid
    domainid: keep public addresses for this domain and those below it
    projectid: keep public addresses for this project
    """
    zone = _zone(ctx, zoneid, physicalnetworkid, networkid, podid)
    alone(ctx, zone)
    if not startip:
        raise InvalidValue("startip is missing: a range goes from startip to endip")
    public = forvirtualnetwork and networkid is None and podid is None
    found = VlanRange(zone_id=zone.id, type="VirtualNetwork" if public else "DirectAttached", vlan=tag_of(vlan))
    if public:
        if zone.network_type == "Basic":
            raise InvalidValue(
                f"the Basic zone {zone.name} has no public network: send forvirtualnetwork=false, podid and networkid"
            )
        found.physical_network_id = _carrier(ctx, zone, "Public", physicalnetworkid)
        found.for_system_vms = forsystemvms
        if domainid is not None or account or projectid is not None:
            holders.give(ctx.session, found, holders.holder(ctx, domainid, account, projectid))
    else:
        if domainid is not None or account or projectid is not None:
            raise InvalidValue("account, domainid and projectid are for public ranges: a shared network has its owner")
        network = _shared(ctx, zone, networkid, podid)
        found.network_id = network.id
        found.pod_id = podid.id if podid else None
        found.physical_network_id = network.physical_network_id
        found.account_id, found.domain_id = network.account_id, network.domain_id
        found.vlan = _same_vlan(network, vlan)
        gateway, netmask = gateway or network.gateway, netmask or network.netmask
    way, mask = _gateway(gateway, netmask)
    rows.fill(ctx.session, found, way, mask, startip, endip or startip)
    if not public and not network.cidr:  # a Basic zone's network is made before its pods have addresses
        network.gateway, network.netmask, network.cidr = way, mask, str(IPNetwork(f"{way}/{mask}").cidr)
    ctx.describe(f"adding {startip} to {endip or startip} to zone {zone.name}")
    return found


@command("updateVlanIpRange", roles=ROOT, answers=range_view, event="VLAN.IP.RANGE.UPDATE", unsupported=IP6)
def update(
    ctx: Context,
    id: Operate[VlanRange],
    startip: str | None = None,
    endip: str | None = None,
    gateway: str | None = None,
    netmask: str | None = None,
    forsystemvms: bool | None = None,
) -> VlanRange:
    """Change a range of addresses. Addresses that somebody has must stay in it.

    id: the range
    startip: first address from now on
    endip: last address from now on
    gateway: their gateway
    netmask: their netmask
    forsystemvms: keep public addresses for system VMs
    """
    alone(ctx, ctx.session.get_one(Zone, id.zone_id))
    if forsystemvms is not None:
        if id.type != "VirtualNetwork":
            raise InvalidValue("forsystemvms is for public ranges; this one belongs to a shared network")
        id.for_system_vms = forsystemvms
    if startip or endip or gateway or netmask:
        way, mask = _gateway(gateway or id.gateway, netmask or id.netmask)
        rows.fill(ctx.session, id, way, mask, startip or id.start_ip or "", endip or id.end_ip or "")
    ctx.describe(f"changing the range to {id.start_ip} to {id.end_ip}")
    return id


@command("deleteVlanIpRange", roles=ROOT, event="VLAN.IP.RANGE.DELETE")
def delete(ctx: Context, id: Operate[VlanRange]) -> None:
    """Delete a range of addresses that nobody has one of.

    id: the range
    """
    alone(ctx, id)
    rows.remove(ctx.session, id)
    ctx.describe(f"deleting the range {id.start_ip} to {id.end_ip}")


@command("dedicatePublicIpRange", roles=ROOT, answers=range_view, event="VLAN.IP.RANGE.DEDICATE")
def dedicate_addresses(
    ctx: Context,
    id: Operate[VlanRange],
    domainid: Use[Domain],
    account: str | None = None,
    projectid: Use[Project] | None = None,
) -> VlanRange:
    """Keep a range of public addresses for a domain and those below it, or for one account of it.

    id: the range
    domainid: the domain
    account: the account of that domain; without it every account of the domain and of those below
    projectid: the project instead of an account
    """
    alone(ctx, id)
    holders.give(ctx.session, id, holders.holder(ctx, domainid, account, projectid))
    ctx.describe(f"dedicating the range {id.start_ip} to {id.end_ip}")
    return id


@command("releasePublicIpRange", roles=ROOT, event="VLAN.IP.RANGE.RELEASE")
def release_addresses(ctx: Context, id: Operate[VlanRange]) -> None:
    """Let everybody use a range of public addresses again. Who has addresses of it keeps them.

    id: the range
    """
    alone(ctx, id)
    if id.type != "VirtualNetwork" or id.domain_id is None:
        raise InvalidValue("this range is not dedicated: there is nothing to release")
    id.account_id = id.domain_id = None
    ctx.describe(f"releasing the range {id.start_ip} to {id.end_ip}")


@command("listVlanIpRanges", roles=ROOT, answers=listed_view)
def list_ranges(
    ctx: Context,
    id: Use[VlanRange] | None = None,
    zoneid: Use[Zone] | None = None,
    physicalnetworkid: Use[PhysicalNetwork] | None = None,
    networkid: Use[Network] | None = None,
    podid: Use[Pod] | None = None,
    vlan: str | None = None,
    forvirtualnetwork: bool | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Rows:
    """List ranges of addresses.

    id: this one alone
    zoneid: those of this zone
    physicalnetworkid: those on this physical network
    networkid: those of this network
    podid: those of this pod
    vlan: those on this VLAN
    forvirtualnetwork: public ones, or those of shared networks
    account: those of this account
    domainid: those of this domain
    projectid: those of this project
    """
    kind = None if forvirtualnetwork is None else "VirtualNetwork" if forvirtualnetwork else "DirectAttached"
    found = Rows(listed_view).where(
        id=id and id.id, zone_id=zoneid, physical_network_id=physicalnetworkid, network_id=networkid, pod_id=podid,
        vlan=tag_of(vlan) if vlan else None, type=kind, domain_id=domainid,
    )  # fmt: skip
    return found.where(
        Account.name == account if account else None,
        VlanRange.account_id == projectid.account_id if projectid else None,
    )


def tag_of(vlan: str | None) -> str:
    """The bare tag of vlan://100, 100, untagged or nothing. Raises InvalidValue."""
    tag = (vlan or "untagged").strip().lower().rpartition("/")[2]
    if tag == "untagged":
        return tag
    if not tag.isdecimal() or not 0 <= int(tag) < 2**24:
        raise InvalidValue(f"vlan={tag[:20]} is none: send untagged or a number from 1 to 4094")
    return str(int(tag)) if int(tag) else "untagged"


def _zone(
    ctx: Context, zone: Zone | None, physical: PhysicalNetwork | None, network: Network | None, pod: Pod | None
) -> Zone:
    named = {row.zone_id for row in (physical, network, pod) if row is not None} | ({zone.id} if zone else set())
    if not named:
        raise InvalidValue("zoneid is missing: say which zone gets the addresses")
    if len(named) > 1:
        raise InvalidValue("zoneid, physicalnetworkid, networkid and podid are not of one zone")
    return zone or ctx.session.get_one(Zone, named.pop())


def _carrier(ctx: Context, zone: Zone, traffic: str, physical: PhysicalNetwork | None) -> int:
    carries = (
        select(PhysicalNetwork.id)
        .join(TrafficType, TrafficType.physical_network_id == PhysicalNetwork.id)
        .where(PhysicalNetwork.zone_id == zone.id, TrafficType.type == traffic, PhysicalNetwork.removed.is_(None))
    )
    if physical is not None:
        carries = carries.where(PhysicalNetwork.id == physical.id)
    found = ctx.session.scalar(carries.limit(1))
    if found is None:
        where = f"physical network {physical.name}" if physical is not None else f"zone {zone.name}"
        raise InvalidValue(f"nothing in {where} carries {traffic} traffic: add it with addTrafficType first")
    return found


def _shared(ctx: Context, zone: Zone, network: Network | None, pod: Pod | None) -> Network:
    if network is None:
        guests = select(Network).where(
            Network.zone_id == zone.id, Network.guest_type == "Shared", Network.removed.is_(None), ~Network.is_system
        )
        there = list(ctx.session.scalars(guests.limit(2)))
        if len(there) != 1:
            raise InvalidValue("networkid is missing: say which shared network gets the addresses")
        network = there[0]
    if network.guest_type != "Shared":
        raise InvalidValue(f"network {network.name} is {network.guest_type}: only shared networks have ranges")
    if zone.network_type == "Basic" and pod is None:
        raise InvalidValue(f"podid is missing: guests of the Basic zone {zone.name} take addresses of their pod")
    if zone.network_type != "Basic" and pod is not None:
        raise InvalidValue("podid is for Basic zones: leave it out")
    return network


def _same_vlan(network: Network, vlan: str | None) -> str:
    have = tag_of(network.broadcast)
    if vlan and tag_of(vlan) != have:
        raise InvalidValue(f"network {network.name} is on VLAN {have}, not on {vlan[:20]}: leave vlan out")
    return have


def _gateway(gateway: str | None, mask: str | None) -> tuple[str, str]:
    if not gateway or not mask:
        raise InvalidValue("gateway and netmask of the addresses are missing")
    return address("gateway", gateway) or "", netmask("netmask", mask) or ""
