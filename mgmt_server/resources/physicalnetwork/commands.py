"""Physical networks: a wire of a zone, with its isolation and its VLANs."""

from __future__ import annotations

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import AccountError, InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Domain
from mgmt_server.model.network import Network
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import PhysicalNetwork, VlanRange, Zone
from mgmt_server.resources.checks import alone, free_name, one_of, tag_ranges, unused
from mgmt_server.resources.physicalnetwork import rows
from mgmt_server.resources.physicalnetwork.flows import done
from mgmt_server.resources.physicalnetwork.views import physical_network_view

ISOLATION = ("VLAN", "VXLAN", "L3")
TAGS = {"VLAN": (1, 4094), "VXLAN": (1, 16_777_214)}


@command("createPhysicalNetwork", roles=ROOT, answers=physical_network_view, event="PHYSICAL.NETWORK.CREATE")
def create(
    ctx: Context,
    zoneid: Use[Zone],
    name: str,
    isolationmethods: list[str] | None = None,
    vlan: str | None = None,
    networkspeed: str | None = None,
    broadcastdomainrange: str | None = None,
    tags: list[str] | None = None,
    domainid: Use[Domain] | None = None,
) -> Accepted:
    """Add a physical network to a zone that is disabled.

    zoneid: the zone
    name: its name, unique in the zone
    isolationmethods: VLAN or VXLAN in an Advanced zone; L3 in a Basic one
    vlan: VLANs or VNIs that isolated networks may take, such as 100-199,300-310
    networkspeed: speed of the wire, for information, such as 10G
    broadcastdomainrange: ZONE or POD; follows from the zone's type when left out
    tags: a tag by which network offerings choose it
    domainid: the only domain that may use it
    """
    alone(ctx, zoneid)
    if zoneid.allocation_state == "Enabled":
        raise AccountError(f"zone {zoneid.name} is enabled: disable it before adding a physical network to it")
    basic = zoneid.network_type == "Basic"
    free_name(ctx, PhysicalNetwork, name, PhysicalNetwork.zone_id == zoneid.id)
    others = Rows(physical_network_view).where(PhysicalNetwork.zone_id == zoneid.id).page(ctx, ctx.session)[0]
    if basic and others:
        raise InvalidValue(f"the Basic zone {zoneid.name} has its physical network already: it can have one only")
    if tags and len(tags) > 1:
        raise InvalidValue("a physical network takes one tag: make another physical network for another tag")
    network = PhysicalNetwork(
        name=name,
        zone_id=zoneid.id,
        isolation=_isolation(isolationmethods, basic),
        broadcast_domain_range=one_of("broadcastdomainrange", broadcastdomainrange, ("ZONE", "POD"))
        or ("POD" if basic else "ZONE"),
        speed=networkspeed,
        tags=tags[0] if tags else None,
        domain_id=domainid and domainid.id,
    )
    ctx.session.add(network)
    ctx.session.flush()
    if vlan:
        _set_vlan(ctx, network, zoneid, vlan)
    rows.add_providers(ctx.session, network)
    ctx.describe(f"creating physical network {name} in zone {zoneid.name}")
    return ctx.start(done, network)


@command("updatePhysicalNetwork", roles=ROOT, answers=physical_network_view, event="PHYSICAL.NETWORK.UPDATE")
def update(
    ctx: Context,
    id: Operate[PhysicalNetwork],
    state: str | None = None,
    vlan: str | None = None,
    networkspeed: str | None = None,
    tags: list[str] | None = None,
) -> Accepted:
    """Change a physical network: enable it, or give it other VLANs.

    id: the physical network
    state: Enabled or Disabled
    vlan: all VLANs or VNIs that networks may take from now on, such as 100-199,300-310
    networkspeed: speed of the wire, for information
    tags: a tag by which network offerings choose it
    """
    alone(ctx, id)
    wanted = one_of("state", state, ("Enabled", "Disabled"))
    if tags and len(tags) > 1:
        raise InvalidValue("a physical network takes one tag")
    if vlan is not None:
        _set_vlan(ctx, id, ctx.session.get_one(Zone, id.zone_id), vlan)
    id.state = wanted or id.state
    id.speed = networkspeed or id.speed
    id.tags = tags[0] if tags else id.tags
    ctx.describe(f"changing physical network {id.name}")
    return ctx.start(done, id)


@command("deletePhysicalNetwork", roles=ROOT, event="PHYSICAL.NETWORK.DELETE")
def delete(ctx: Context, id: Operate[PhysicalNetwork]) -> Accepted:
    """Delete a physical network that no network is on.

    id: the physical network
    """
    alone(ctx, id)
    unused(
        ctx,
        f"the physical network {id.name}",
        (Network, Network.physical_network_id == id.id),
        (VlanRange, VlanRange.physical_network_id == id.id),
    )
    rows.remove(ctx.session, id)
    ctx.describe(f"deleting physical network {id.name}")
    return ctx.start(done, id)


@command("listPhysicalNetworks", roles=ROOT, answers=physical_network_view)
def list_physical_networks(
    ctx: Context, id: Use[PhysicalNetwork] | None = None, zoneid: Use[Zone] | None = None, name: str | None = None
) -> Rows:
    """List physical networks.

    id: this one alone
    zoneid: those of this zone
    name: those of this name
    """
    return Rows(physical_network_view).where(id=id and id.id, zone_id=zoneid, name=name)


def _isolation(methods: list[str] | None, basic: bool) -> str | None:
    if not methods:
        return None if basic else "VLAN"
    if len(methods) > 1:
        raise InvalidValue("a physical network has one isolation method: make another for another method")
    found = one_of("isolationmethods", methods[0], ISOLATION)
    if basic and found != "L3":
        raise InvalidValue(f"isolationmethods={found} is for Advanced zones: leave it out, or say L3")
    return found


def _set_vlan(ctx: Context, network: PhysicalNetwork, zone: Zone, text: str) -> None:
    if zone.network_type == "Basic":
        raise InvalidValue(f"vlan is for Advanced zones: guests of the Basic zone {zone.name} share one network")
    least, most = TAGS.get(network.isolation or "VLAN", TAGS["VLAN"])
    rows.set_tags(ctx.session, network, tag_ranges("vlan", text, least, most))
