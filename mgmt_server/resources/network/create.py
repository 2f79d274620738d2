"""How a network comes to be: its range, its VLAN, its physical network."""

from __future__ import annotations

from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork
from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.network import Network
from mgmt_server.model.offering import NetworkOffering, NetworkOfferingService
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.zone import Address, PhysicalNetwork, TrafficType, VlanRange, Vnet, Zone
from mgmt_server.resources.checks import addresses
from mgmt_server.resources.domain.tree import network_domain_of

SUFFIX = Setting("guest.domain.suffix", "How the domains of networks end where nothing else is said: cs7cloud.internal")


@dataclass(frozen=True)
class Wish:
    """What was asked for, checked each for itself."""

    name: str
    text: str
    gateway: str | None = None
    netmask: str | None = None
    start: str | None = None
    end: str | None = None
    router: str | None = None
    vlan: str | None = None
    bypass: bool = False
    domain: str | None = None
    dns1: str | None = None
    dns2: str | None = None
    for_domain: bool = False
    subdomains: bool = True
    display: bool = True
    is_default: bool = False


def create_network(
    tx: Session,
    wish: Wish,
    offering: NetworkOffering,
    zone: Zone,
    physical: PhysicalNetwork | None,
    owner: Account,
    domain: Domain | None,
) -> Network:
    """Add the network, and for a shared one its range of addresses. Raises InvalidValue for what does not fit."""
    if offering.state != "Enabled":
        raise InvalidValue(f"The network offering {offering.name} is disabled: enable it with updateNetworkOffering")
    if zone.network_type == "Basic" and offering.guest_type != "Shared":
        raise InvalidValue("A Basic zone has only shared networks")
    physical = physical or carrier(tx, zone, offering)
    network = Network(
        name=wish.name,
        display_text=wish.text,
        zone_id=zone.id,
        physical_network_id=physical.id,
        offering_id=offering.id,
        traffic_type="Guest",
        guest_type=offering.guest_type,
        acl_type="Domain" if wish.for_domain else "Account",
        subdomain_access=wish.subdomains,
        dns1=wish.dns1,
        dns2=wish.dns2,
        network_domain=wish.domain or _network_domain(tx, owner, zone),
        account_id=owner.id,
        domain_id=domain.id if wish.for_domain and domain is not None else owner.domain_id,
        display=wish.display,
        persistent=offering.persistent,
        specify_ip_ranges=offering.specify_ip_ranges,
        is_default=wish.is_default,
        state="Setup" if offering.guest_type == "Shared" else "Allocated",
        details={"routerip": wish.router} if wish.router else {},
    )
    if offering.guest_type == "Shared":
        _share(tx, network, wish, offering, physical, zone.network_type == "Basic")
    elif offering.guest_type == "Isolated":
        _isolate(network, wish, zone)
        tx.add(network)
    else:
        if wish.gateway or wish.start:
            raise InvalidValue("A layer 2 network has no addresses: leave gateway, netmask, startip and endip out")
        network.broadcast = _broadcast(tx, wish, physical) if wish.vlan else None
        tx.add(network)
    tx.flush()
    counted.network_comes(tx, network)
    return network


def _network_domain(tx: Session, owner: Account, zone: Zone) -> str:
    """What the account says, its domain or the nearest above it that says something, or the zone."""
    said = owner.network_domain or network_domain_of(tx, owner.domain_id) or zone.network_domain
    return said or f"cs{owner.id}{SUFFIX.text(Scope('Zone', zone.id))}"


def carrier(tx: Session, zone: Zone, offering: NetworkOffering) -> PhysicalNetwork:
    """The one physical network of the zone that carries guests."""
    guests = select(TrafficType.physical_network_id).where(TrafficType.type == "Guest", TrafficType.removed.is_(None))
    rows = select(PhysicalNetwork).where(PhysicalNetwork.zone_id == zone.id, PhysicalNetwork.removed.is_(None))
    found = list(tx.scalars(rows.where(PhysicalNetwork.id.in_(guests))))
    if offering.tags:
        wanted = {t.strip() for t in offering.tags.split(",")}
        found = [p for p in found if wanted <= {t.strip() for t in (p.tags or "").split(",")}]
    if not found:
        raise InvalidValue(f"The zone {zone.name} has no physical network for guests: add traffic type Guest to one")
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise InvalidValue(
            f"The zone {zone.name} has several physical networks for guests ({names}): send physicalnetworkid"
        )
    return found[0]


def _isolate(network: Network, wish: Wish, zone: Zone) -> None:
    if wish.vlan or wish.start or wish.end:
        raise InvalidValue("An isolated network takes VLAN and addresses by itself: leave vlan, startip and endip out")
    if bool(wish.gateway) != bool(wish.netmask):
        raise InvalidValue("gateway and netmask go together")
    if wish.gateway and wish.netmask:
        cidr = IPNetwork(f"{wish.gateway}/{wish.netmask}")
        gateway = IPAddress(wish.gateway)
    else:
        cidr = IPNetwork(zone.guest_cidr or "10.1.1.0/24")
        gateway = IPAddress(cidr.first + 1)
    _usable(cidr, gateway)
    network.gateway, network.netmask, network.cidr = str(gateway), str(cidr.netmask), str(cidr.cidr)


def _usable(cidr: IPNetwork, gateway: IPAddress) -> None:
    if not 8 <= cidr.prefixlen <= 29:
        raise InvalidValue(f"The netmask of {cidr.cidr} does not fit: a network has a prefix of 8 to 29")
    if gateway in (cidr.network, cidr.broadcast):
        raise InvalidValue(f"The gateway {gateway} is the first or last address of {cidr.cidr}: neither can be used")


def _share(
    tx: Session, network: Network, wish: Wish, offering: NetworkOffering, physical: PhysicalNetwork, flat: bool
) -> None:
    """A shared network has its range from the start: it is what tells which addresses are its own."""
    if offering.specify_vlan and not wish.vlan and not flat:
        raise InvalidValue("This offering needs the parameter vlan: a number, or untagged")
    network.broadcast = _broadcast(tx, wish, physical)
    _no_other(tx, network, wish)
    if not wish.start:
        if offering.specify_ip_ranges and wish.gateway and not flat:
            raise InvalidValue("A shared network with addresses needs startip, and endip for more than one")
        tx.add(network)
        return
    if not (wish.gateway and wish.netmask):
        raise InvalidValue("startip needs gateway and netmask")
    cidr = IPNetwork(f"{wish.gateway}/{wish.netmask}")
    _usable(cidr, IPAddress(wish.gateway))
    members = addresses(wish.start, wish.end or wish.start, wish.gateway, wish.netmask)
    network.gateway, network.netmask, network.cidr = wish.gateway, wish.netmask, str(cidr.cidr)
    tx.add(network)
    tx.flush()
    found = VlanRange(
        zone_id=network.zone_id,
        physical_network_id=physical.id,
        network_id=network.id,
        vlan=(network.broadcast or "vlan://untagged").rpartition("/")[2],
        type="DirectAttached",
        gateway=wish.gateway,
        netmask=wish.netmask,
        start_ip=members[0],
        end_ip=members[-1],
    )
    tx.add(found)
    tx.flush()
    tx.add_all(Address(range_id=found.id, zone_id=network.zone_id, address=a) for a in members)


def _broadcast(tx: Session, wish: Wish, physical: PhysicalNetwork) -> str:
    tag = (wish.vlan or "untagged").rpartition("/")[2].strip().lower()
    if tag == "untagged":
        return "vlan://untagged"
    vxlan = (physical.isolation or "").upper() == "VXLAN" or (wish.vlan or "").startswith("vxlan://")
    if not tag.isdecimal() or not 0 < int(tag) < (2**24 if vxlan else 4095):
        raise InvalidValue(f"vlan={wish.vlan} is none: send untagged or a number below {2**24 if vxlan else 4095}")
    taken = select(Vnet.id).where(Vnet.physical_network_id == physical.id, Vnet.tag == int(tag))
    if not wish.bypass and tx.scalar(taken) is not None:
        raise InvalidValue(
            f"vlan={tag} is in the physical network's range, from which isolated networks take theirs: choose another, "
            "or send bypassvlanoverlapcheck=true"
        )
    return f"{'vxlan' if vxlan else 'vlan'}://{tag}"


def _no_other(tx: Session, network: Network, wish: Wish) -> None:
    if wish.bypass or wish.vlan is None:
        return
    rows = select(Network).where(
        Network.physical_network_id == network.physical_network_id,
        Network.broadcast == network.broadcast,
        Network.removed.is_(None),
        ~Network.is_system,
    )
    for other in tx.scalars(rows):
        if not wish.gateway or not other.cidr or IPAddress(wish.gateway) in IPNetwork(other.cidr):
            raise InvalidValue(
                f"The network {other.name} uses {network.broadcast} with overlapping addresses already: choose another "
                "VLAN or range, or send bypassvlanoverlapcheck=true"
            )


def needs_router(tx: Session, offering_id: int) -> bool:
    """Whether a virtual router serves networks of the offering."""
    rows = select(NetworkOfferingService.id).where(NetworkOfferingService.offering_id == offering_id)
    return tx.scalar(rows.where(NetworkOfferingService.provider == "VirtualRouter").limit(1)) is not None


def services(tx: Session, offering_id: int) -> set[str]:
    rows = select(NetworkOfferingService.service).where(NetworkOfferingService.offering_id == offering_id)
    return set(tx.scalars(rows))
