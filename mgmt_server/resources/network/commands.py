"""Networks of guests."""

from __future__ import annotations

from typing import Any

from netaddr import IPAddress
from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import NetworkOffering, NetworkOfferingService
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import PhysicalNetwork, Zone
from mgmt_server.resources.checks import address, assign, domain_name, guests_range, netmask, one_of, unused
from mgmt_server.resources.network import flows
from mgmt_server.resources.network.create import Wish, create_network
from mgmt_server.resources.network.views import network_view

SAME_NAMES = Setting("allow.duplicate.networkname", "Whether an account may have several networks of one name")
WITHOUT_ENDS = Setting(
    "allow.empty.start.end.ipaddress", "Whether shared networks may be made without startip and endip"
)
BELOW = Setting(
    "allow.subdomain.network.access",
    "Whether domains below may use a domain's new networks where subdomainaccess does not say it",
)
SMALLEST_PREFIX = Setting(
    "network.guest.cidr.limit",
    "The shortest prefix of isolated networks that users make with an address range of their choice",
    least=8,
    most=29,
)


@command(
    "createNetwork",
    roles=EVERYONE,
    answers=network_view,
    event="NETWORK.CREATE",
    unsupported=(
        "aclid", "vpcid", "asnumber", "associatednetworkid", "bgppeerids", "cidrsize", "externalid", "isolatedpvlan",
        "isolatedpvlantype", "ip6cidr", "ip6gateway", "ip6dns1", "ip6dns2", "startipv6", "endipv6", "routeripv6",
        "privatemtu", "publicmtu", "sourcenatipaddress", "tungstenvirtualrouteruuid",
    ),
)  # fmt: skip
def create(
    ctx: Context,
    name: str,
    networkofferingid: Use[NetworkOffering],
    zoneid: Use[Zone],
    displaytext: str | None = None,
    physicalnetworkid: Use[PhysicalNetwork] | None = None,
    gateway: str | None = None,
    netmask: str | None = None,
    startip: str | None = None,
    endip: str | None = None,
    routerip: str | None = None,
    vlan: str | None = None,
    bypassvlanoverlapcheck: bool = False,
    networkdomain: str | None = None,
    dns1: str | None = None,
    dns2: str | None = None,
    acltype: str | None = None,
    subdomainaccess: bool | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
    displaynetwork: bool = True,
    hideipaddressusage: bool = False,
) -> Network:
    """Create a network of guests.

    name: its name
    networkofferingid: what it offers: isolated behind a router, shared, or layer 2 alone
    zoneid: the zone
    displaytext: a description
    physicalnetworkid: which physical network carries it, where the zone has several
    gateway: its gateway's address
    netmask: its netmask
    startip: first address of guests in a shared network
    endip: last address of guests; startip alone where it is missing
    routerip: address of the router in a shared network
    vlan: VLAN of a shared network: a number or untagged
    bypassvlanoverlapcheck: whether the VLAN may be one of the physical network's range or in use
    networkdomain: domain of its guests' names
    dns1: first name server of its guests instead of the zone's
    dns2: second name server of its guests instead of the zone's
    acltype: Account (its owner's alone) or Domain (for a domain)
    subdomainaccess: with acltype Domain, whether domains below may use it
    account: whose it shall be; needs domainid
    domainid: the account's domain, or with acltype Domain the domain that may use it
    projectid: the project whose it shall be
    displaynetwork: whether users see it
    hideipaddressusage: accepted; addresses are not metered
    """
    if networkofferingid.traffic_type != "Guest":
        raise InvalidValue(f"The offering {networkofferingid.name} is not for guests' networks")
    kind = one_of("acltype", acltype, ("Account", "Domain"))
    shared = networkofferingid.guest_type == "Shared"
    if shared and not ctx.caller.is_root and networkofferingid.specify_vlan:
        raise InvalidValue("Only root administrators create shared networks with a VLAN of their choice")
    for_domain = (kind or ("Domain" if shared and not (account or projectid) else "Account")) == "Domain"
    if for_domain and not shared:
        raise InvalidValue("acltype=Domain is for shared networks")
    whose = _owner(ctx, for_domain, account, domainid, projectid)
    wish = Wish(
        name=name,
        text=displaytext or name,
        gateway=address("gateway", gateway),
        netmask=_mask(netmask),
        start=address("startip", startip),
        end=address("endip", endip),
        router=address("routerip", routerip),
        vlan=vlan,
        bypass=bypassvlanoverlapcheck,
        domain=domain_name("networkdomain", networkdomain),
        dns1=address("dns1", dns1),
        dns2=address("dns2", dns2),
        for_domain=for_domain,
        subdomains=BELOW.flag() if subdomainaccess is None else subdomainaccess,
        display=displaynetwork,
    )
    _check_settings(ctx, wish, whose, networkofferingid)
    network = create_network(ctx.session, wish, networkofferingid, zoneid, physicalnetworkid, whose, domainid)
    ctx.describe(f"creating network {name}")
    return network


def _check_settings(ctx: Context, wish: Wish, whose: Account, offering: NetworkOffering) -> None:
    scopes = of_account(ctx.session, whose.id)
    if offering.guest_type == "Shared" and not (wish.start or wish.end) and not WITHOUT_ENDS.flag(*scopes):
        raise InvalidValue(f"startip and endip are missing: shared networks have them here ({WITHOUT_ENDS.name})")
    if not SAME_NAMES.flag(*scopes):
        mine = select(Network.id).where(Network.account_id == whose.id, Network.name == wish.name)
        if ctx.session.scalar(mine.where(Network.removed.is_(None)).limit(1)) is not None:
            raise InvalidValue(f"The account {whose.name} has a network {wish.name[:100]} already: choose another name")
    if offering.guest_type != "Isolated" or not (wish.gateway and wish.netmask):
        return
    guests_range("the range", f"{wish.gateway}/{wish.netmask}")
    if not ctx.caller.is_root:
        prefix, least = IPAddress(wish.netmask).netmask_bits(), SMALLEST_PREFIX.number()
        if prefix < least:
            raise InvalidValue(
                f"netmask={wish.netmask} is that of a /{prefix}: networks of users are no larger than a /{least} "
                f"({SMALLEST_PREFIX.name})"
            )


def _owner(
    ctx: Context, for_domain: bool, account: str | None, domainid: Domain | None, projectid: Project | None
) -> Account:
    if for_domain:
        if not ctx.caller.is_root:
            raise InvalidValue("Only root administrators create networks for a whole domain")
        return ctx.session.get_one(Account, 1)
    return owner(ctx, account, domainid, projectid)


def _mask(value: str | None) -> str | None:
    return netmask("netmask", value)


@command("listNetworks", roles=EVERYONE, answers=network_view)
def list_networks(
    ctx: Context,
    id: Use[Network] | None = None,
    name: str | None = None,
    zoneid: Use[Zone] | None = None,
    type: str | None = None,
    traffictype: str | None = None,
    acltype: str | None = None,
    issystem: bool | None = None,
    physicalnetworkid: Use[PhysicalNetwork] | None = None,
    networkofferingid: Use[NetworkOffering] | None = None,
    supportedservices: list[str] | None = None,
    restartrequired: bool | None = None,
    specifyipranges: bool | None = None,
    canusefordeploy: bool | None = None,
    forvpc: bool | None = None,
    vpcid: str | None = None,
    associatednetworkid: str | None = None,
    networkfilter: str | None = None,
    displaynetwork: bool | None = None,
    vlan: str | None = None,
    showicon: bool = False,
    retrieveonlyresourcecount: bool = False,
) -> Rows:
    """List networks.

    id: this network alone
    name: those of this name
    zoneid: those in this zone
    type: Isolated, Shared or L2
    traffictype: Guest, Public, Management, Control or Storage
    acltype: Account or Domain
    issystem: system networks instead of guests'
    physicalnetworkid: those on this physical network
    networkofferingid: those of this offering
    supportedservices: those that have all these services
    restartrequired: those that have to be restarted
    specifyipranges: those whose addresses are given by ranges
    canusefordeploy: those that machines can be deployed into
    forvpc: true lists nothing: there are no VPCs
    vpcid: lists nothing: there are no VPCs
    associatednetworkid: lists nothing: networks are not associated
    networkfilter: Account, Domain, AccountDomain, Shared or All
    displaynetwork: those that users see, or not
    vlan: those with this VLAN or VNI
    showicon: accepted; there are no icons
    retrieveonlyresourcecount: tell how many there are, and no more
    """
    rows = Rows(network_view).where(
        id=id and id.id,
        name=name,
        zone_id=zoneid,
        guest_type=one_of("type", type, ("Isolated", "Shared", "L2")),
        traffic_type=one_of("traffictype", traffictype, ("Guest", "Public", "Management", "Control", "Storage")),
        acl_type=one_of("acltype", acltype, ("Account", "Domain")),
        physical_network_id=physicalnetworkid,
        offering_id=networkofferingid,
        restart_required=restartrequired,
        specify_ip_ranges=specifyipranges,
        display=displaynetwork if ctx.caller.is_root else True,
    )
    if forvpc or vpcid or associatednetworkid:
        rows = rows.where(Network.id == -1)
    wanted = one_of("networkfilter", networkfilter, ("Account", "Domain", "AccountDomain", "Shared", "All"))
    if wanted in ("Account", "Domain"):
        rows = rows.where(acl_type=wanted)
    if canusefordeploy is not None:
        able = ~Network.is_system & Network.state.in_(("Allocated", "Setup", "Implementing", "Implemented"))
        rows = rows.where(able if canusefordeploy else ~able)
    if vlan:
        rows = rows.where(Network.broadcast.endswith("//" + vlan, autoescape=True))
    for service in supportedservices or ():
        has = select(NetworkOfferingService.offering_id).where(NetworkOfferingService.service == service)
        rows = rows.where(Network.offering_id.in_(has))
    if id is None and traffictype is None:
        rows = rows.where(Network.is_system == bool(issystem))
    return rows


@command(
    "updateNetwork",
    roles=EVERYONE,
    answers=network_view,
    event="NETWORK.UPDATE",
    unsupported=(
        "changecidr", "customid", "guestvmcidr", "ip6dns1", "ip6dns2", "networkofferingid", "privatemtu", "publicmtu",
        "sourcenatipaddress", "updateinsequence",
    ),
)  # fmt: skip
def update(
    ctx: Context,
    id: Operate[Network],
    name: str | None = None,
    displaytext: str | None = None,
    networkdomain: str | None = None,
    dns1: str | None = None,
    dns2: str | None = None,
    displaynetwork: bool | None = None,
    forced: bool = False,
    hideipaddressusage: bool = False,
) -> Accepted:
    """Change a network. Its router learns it, if it has one.

    id: the network
    name: its new name
    displaytext: its new description
    networkdomain: domain of its guests' names, as of their next start
    dns1: first name server of its guests
    dns2: second name server of its guests
    displaynetwork: whether users see it
    forced: accepted; nothing here needs it
    hideipaddressusage: accepted; addresses are not metered
    """
    if id.is_system:
        raise InvalidValue(f"The network {id.name} is the system's own and cannot be changed")
    changes: dict[str, Any] = {
        "name": name,
        "display_text": displaytext,
        "network_domain": domain_name("networkdomain", networkdomain),
        "dns1": address("dns1", dns1),
        "dns2": address("dns2", dns2),
        "display": displaynetwork,
    }
    assign(id, changes)
    ctx.describe(f"changing network {id.name}")
    return ctx.start(flows.learn, id)


@command("restartNetwork", roles=EVERYONE, event="NETWORK.RESTART", unsupported=("livepatch", "makeredundant"))
def restart(ctx: Context, id: Operate[Network], cleanup: bool = False) -> Accepted:
    """Bring a network's router up to date.

    id: the network
    cleanup: whether to replace the router by a new one; guests have no DHCP and DNS until it runs
    """
    if id.is_system:
        raise InvalidValue(f"The network {id.name} is the system's own and cannot be restarted")
    ctx.describe(f"restarting network {id.name}")
    return ctx.start(flows.restart, id, cleanup)


@command("deleteNetwork", roles=EVERYONE, event="NETWORK.DELETE")
def delete(ctx: Context, id: Operate[Network], forced: bool = False) -> Accepted:
    """Delete a network without machines, its router with it.

    id: the network
    forced: accepted; machines are never taken out of a network by this
    """
    if id.is_system:
        raise InvalidValue(f"The network {id.name} is the system's own and cannot be deleted")
    machines = select(Nic.vm_id).where(Nic.network_id == id.id, Nic.removed.is_(None))
    unused(ctx, f"the network {id.name}", (Vm, Vm.id.in_(machines) & (Vm.kind == "User")))
    ctx.describe(f"deleting network {id.name}")
    return ctx.start(flows.delete, id)
