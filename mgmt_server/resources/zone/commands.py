"""Zones: what stands below one roof."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.scopes import of_domain
from mgmt_server.db import now
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.model.account import Domain
from mgmt_server.model.network import Network
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.tenancy import ADMIN, EVERYONE, RESOURCE_ADMIN, ROOT
from mgmt_server.model.zone import PhysicalNetwork, Pod, VlanRange, Zone
from mgmt_server.resources.checks import address, alone, assign, domain_name, free_name, guests_range, one_of, unused
from mgmt_server.resources.dedication import rows as dedication
from mgmt_server.resources.dedication.groups import Holder
from mgmt_server.resources.physicalnetwork import rows as physicalnetwork
from mgmt_server.resources.template import direct
from mgmt_server.resources.vlan import rows as vlan
from mgmt_server.resources.zone.views import zone_view, zone_with_capacity

STATES = ("Enabled", "Disabled")
OPERATORS = (ADMIN, RESOURCE_ADMIN)
OPTIONAL = {  # parameters and columns that a zone can be without
    "dns2": "dns2", "internaldns2": "internal_dns2", "ip6dns1": "ip6_dns1", "ip6dns2": "ip6_dns2",
    "domain": "network_domain",
}  # fmt: skip
ALL = Setting(
    "allow.user.view.all.zones",
    "Whether resource administrators are listed all zones that are open to them, and not those of their domain alone",
)


@command("createZone", roles=ROOT, answers=zone_view, event="ZONE.CREATE", unsupported=("storageaccessgroups",))
def create(
    ctx: Context,
    name: str,
    networktype: str,
    dns1: str,
    internaldns1: str,
    dns2: str | None = None,
    internaldns2: str | None = None,
    ip6dns1: str | None = None,
    ip6dns2: str | None = None,
    domain: str | None = None,
    domainid: Use[Domain] | None = None,
    guestcidraddress: str | None = None,
    securitygroupenabled: bool = False,
    localstorageenabled: bool = False,
    allocationstate: str = "Disabled",
    isedge: bool = False,
) -> Zone:
    """Create a zone.

    name: its name, unique in the cloud
    networktype: Basic (one flat network with security groups) or Advanced (networks with isolation)
    dns1: first name server of guests
    dns2: second name server of guests
    internaldns1: first name server of system VMs
    internaldns2: second name server of system VMs
    ip6dns1: first name server of guests over IPv6
    ip6dns2: second name server of guests over IPv6
    domain: network domain of its guests
    domainid: the only domain that may use the zone
    guestcidraddress: range of isolated networks that name none, such as 10.1.1.0/24
    securitygroupenabled: whether guests are protected by security groups
    localstorageenabled: whether disks may be on local storage of hosts
    allocationstate: Enabled or Disabled; a disabled one is only for root administrators
    isedge: whether it is a small zone at the edge, without system VMs of its own
    """
    free_name(ctx, Zone, name)
    kind = one_of("networktype", networktype, ("Basic", "Advanced"))
    state = one_of("allocationstate", allocationstate, STATES)
    for parameter, value in (
        ("dns1", dns1),
        ("dns2", dns2),
        ("internaldns1", internaldns1),
        ("internaldns2", internaldns2),
    ):
        address(parameter, value)
    address("ip6dns1", ip6dns1, version=6)
    address("ip6dns2", ip6dns2, version=6)
    if kind == "Basic" and guestcidraddress:
        raise InvalidValue("guestcidraddress is for Advanced zones: a Basic zone's guests take addresses of its pods")
    zone = Zone(
        name=name,
        network_type=kind,
        type="Edge" if isedge else "Core",
        security_groups=securitygroupenabled or kind == "Basic",
        dns1=dns1,
        dns2=dns2,
        internal_dns1=internaldns1,
        internal_dns2=internaldns2,
        ip6_dns1=ip6dns1,
        ip6_dns2=ip6dns2,
        network_domain=domain_name("domain", domain),
        guest_cidr=guests_range(
            "guestcidraddress", guestcidraddress or ("10.1.1.0/24" if kind == "Advanced" else None)
        ),
        local_storage=localstorageenabled,
        allocation_state=state,
        details={},
    )
    ctx.session.add(zone)
    if domainid is not None:
        ctx.session.flush()
        dedication.dedicate(ctx.session, "Zone", zone, Holder(domainid))
    ctx.describe(f"creating zone {name}")
    return zone


@command(
    "updateZone",
    roles=ROOT,
    answers=zone_view,
    event="ZONE.EDIT",
    unsupported=("dhcpprovider", "dnssearchorder", "storageaccessgroups"),
)
def update(
    ctx: Context,
    id: Operate[Zone],
    name: str | None = None,
    dns1: str | None = None,
    dns2: str | None = None,
    internaldns1: str | None = None,
    internaldns2: str | None = None,
    ip6dns1: str | None = None,
    ip6dns2: str | None = None,
    domain: str | None = None,
    guestcidraddress: str | None = None,
    localstorageenabled: bool | None = None,
    allocationstate: str | None = None,
    details: dict[str, str] | None = None,
    ispublic: bool | None = None,
    sortkey: int | None = None,
) -> Zone:
    """Change a zone. What is not sent stays; what may be missing is taken away by an empty text.

    id: the zone
    name: its new name
    dns1: first name server of guests
    dns2: second name server of guests
    internaldns1: first name server of system VMs
    internaldns2: second name server of system VMs
    ip6dns1: first name server of guests over IPv6
    ip6dns2: second name server of guests over IPv6
    domain: network domain of its guests
    guestcidraddress: range of isolated networks that name none
    localstorageenabled: whether disks may be on local storage of hosts
    allocationstate: Enabled or Disabled
    details: free key-value pairs
    ispublic: true lets every domain use a zone that was dedicated
    sortkey: place in lists: those with lower numbers come first
    """
    if ispublic is False and id.domain_id is None:
        raise InvalidValue("ispublic=false does not say for whom: call dedicateZone")
    if ispublic and id.domain_id is not None:
        dedication.release(ctx.session, "Zone", id)
    if name is not None and name != id.name:
        free_name(ctx, Zone, name)
    if guestcidraddress and id.network_type == "Basic":
        raise InvalidValue("guestcidraddress is for Advanced zones: a Basic zone's guests take addresses of its pods")
    changes = {
        "name": name,
        "dns1": address("dns1", dns1),
        "dns2": address("dns2", dns2),
        "internal_dns1": address("internaldns1", internaldns1),
        "internal_dns2": address("internaldns2", internaldns2),
        "ip6_dns1": address("ip6dns1", ip6dns1, version=6),
        "ip6_dns2": address("ip6dns2", ip6dns2, version=6),
        "network_domain": domain_name("domain", domain),
        "guest_cidr": guests_range("guestcidraddress", guestcidraddress),
        "local_storage": localstorageenabled,
        "allocation_state": one_of("allocationstate", allocationstate, STATES),
        "details": details,
        "sort_key": sortkey,
    }
    assign(id, changes)
    for parameter, column in OPTIONAL.items():
        if ctx.emptied(parameter):
            setattr(id, column, None)
    ctx.describe(f"changing zone {id.name}")
    return id


@command("deleteZone", roles=ROOT, event="ZONE.DELETE")
def delete(ctx: Context, id: Operate[Zone]) -> None:
    """Delete a zone that nothing stands in any more.

    id: the zone
    """
    alone(ctx, id)
    unused(
        ctx,
        f"the zone {id.name}",
        (Pod, Pod.zone_id == id.id),
        (Network, (Network.zone_id == id.id) & ~Network.is_system),
        (ImageStore, ImageStore.zone_id == id.id),
        raises=Failed,
    )
    for found in ctx.session.scalars(select(VlanRange).where(VlanRange.zone_id == id.id, VlanRange.removed.is_(None))):
        vlan.remove(ctx.session, found)
    for network in ctx.session.scalars(
        select(PhysicalNetwork).where(PhysicalNetwork.zone_id == id.id, PhysicalNetwork.removed.is_(None))
    ):
        physicalnetwork.remove(ctx.session, network)
    dedication.forget(ctx.session, "Zone", id.id)
    direct.zone_goes(ctx.session, id.id)
    id.removed = now()
    ctx.describe(f"deleting zone {id.name}")


@command("listZones", roles=EVERYONE, answers=zone_with_capacity, unsupported=("storageaccessgroup",))
def list_zones(
    ctx: Context,
    id: Use[Zone] | None = None,
    ids: list[Use[Zone]] | None = None,
    name: str | None = None,
    networktype: str | None = None,
    domainid: Use[Domain] | None = None,
    available: bool | None = None,
    showcapacities: bool = False,
    showicon: bool = False,
) -> Rows:
    """List zones.

    id: this zone alone
    ids: these zones alone
    name: those of this name
    networktype: Basic or Advanced
    domainid: those that this domain may use
    available: for users other than root it makes no difference: they see enabled zones
    showcapacities: whether to tell capacities too, to operators
    showicon: accepted; there are no icons
    """
    offered = None
    if domainid is not None:
        offered = (Zone.domain_id == domainid.id) | Zone.domain_id.is_(None)
    operator = ctx.caller.role == RESOURCE_ADMIN  # the only ones whom the protocol's setting is about
    narrow = operator and not ALL.flag(*of_domain(ctx.session, ctx.caller.domain_id))
    return (
        Rows(zone_with_capacity if showcapacities and ctx.caller.role in OPERATORS else zone_view)
        .where(offered, id=id and id.id, name=name, network_type=networktype)
        .where(Zone.id.in_([z.id for z in ids]) if ids else None)
        .where(Zone.domain_id == ctx.caller.domain_id if narrow else None)
    )
