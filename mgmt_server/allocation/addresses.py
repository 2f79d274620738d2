"""Addresses, VLANs and MACs. Finite pools are rows, taken with SKIP LOCKED; a unique key is always the last guard."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from netaddr import IPAddress, IPNetwork
from sqlalchemy import ColumnElement, Select, bindparam, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, ranges
from mgmt_server.db import changed, now
from mgmt_server.errors import InvalidValue, NoAddress
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.zone import Address, Pod, PodAddress, PodRange, TrafficType, VlanRange, Vnet, Zone

IDENTIFIER = Setting(
    "mac.identifier",
    "The second byte of MACs in guests' networks, so that several clouds can share one network; 0: the zone's number",
    least=0,
    most=255,
)
STRICT = Setting(
    "system.vm.management.ip.reservation.mode.strictness",
    "Whether system VMs take only management addresses of ranges that are kept for them",
)
LOOKED_AT = 64  # free rows that are read at a time
DRAWN = 8  # addresses looked at before the whole network is


def take_from_range(
    tx: Session, network: Network, wanted: str | None = None, pod_id: int | None = None
) -> tuple[Address, VlanRange]:
    """An address of a shared network, or of a pod in it: the one that was free longest, or the one that is wanted."""
    rows = (
        select(Address.id)
        .join(VlanRange, VlanRange.id == Address.range_id)
        .where(VlanRange.network_id == network.id, VlanRange.removed.is_(None), Address.state == "Free")
        .order_by(Address.freed, Address.id)
    )
    if wanted:
        rows = rows.where(Address.address == wanted)
    if pod_id is not None:
        rows = rows.where(VlanRange.pod_id == pod_id)
    address = _first_free(tx, Address, rows, Address.state == "Free")
    if address is None:
        raise _no_address(tx, network, wanted, pod_id)
    _mark(tx, address, network_id=network.id, account_id=network.account_id, domain_id=network.domain_id)
    return address, tx.get_one(VlanRange, address.range_id)


def take_public(tx: Session, zone_id: int, network: Network, source_nat: bool) -> tuple[Address, VlanRange]:
    """A public address of the zone for a network: of its account's own ranges first, of nobody else's."""
    theirs, order = ranges.of_addresses(tx, network.account_id)
    public = select(VlanRange.id).where(VlanRange.type == "VirtualNetwork", VlanRange.removed.is_(None), theirs)
    free = (Address.state == "Free") & Address.range_id.in_(public)  # asked again once the row is locked
    rows = select(Address.id).join(VlanRange, VlanRange.id == Address.range_id).where(Address.zone_id == zone_id, free)
    address = _first_free(tx, Address, rows.order_by(*order, Address.freed, Address.id), free)
    if address is None:
        raise NoAddress(
            "The zone has no free public address for this account: add a range with createVlanIpRange "
            "(forvirtualnetwork=true)"
        )
    owner = {"account_id": network.account_id, "domain_id": network.domain_id, "network_id": network.id}
    _mark(tx, address, source_nat=source_nat, **owner)
    counted.address_comes(tx, network.account_id)
    return address, tx.get_one(VlanRange, address.range_id)


def _first_free(tx: Session, table: Any, rows: Select[Any], free: ColumnElement[bool]) -> Any:
    """The first row that nobody else is about to take, locked; None when there is none.

    Locked one by one: SKIP LOCKED over a sorted list would lock the whole list, and hide every row from all others.
    """
    while numbers := list(tx.scalars(rows.limit(LOOKED_AT))):
        for number in numbers:
            one = select(table).where(table.id == number, free).with_for_update(skip_locked=True)
            row = tx.scalar(one.execution_options(populate_existing=True))
            if row is not None:
                return row
        # all are about to be taken: wait how the first ends, then look again
        tx.scalar(select(table.id).where(table.id == numbers[0]).with_for_update())
    return None


def _mark(tx: Session, address: Address, **values: Any) -> None:
    taken = update(Address).where(Address.id == address.id, Address.state == "Free")
    if changed(tx.execute(taken.values(state="Allocated", allocated=now(), **values))) != 1:
        raise NoAddress(f"{address.address} was taken at the same moment: try again")


def free(tx: Session, address_id: int) -> None:
    """Give an address back; it is given out again only after all others."""
    gone = {"account_id": None, "domain_id": None, "network_id": None, "vm_id": None, "allocated": None}
    rows = select(Address.account_id, VlanRange.type).join(VlanRange, VlanRange.id == Address.range_id)
    account, kind = tx.execute(rows.where(Address.id == address_id)).first() or (None, None)
    given = tx.execute(
        update(Address)
        .where(Address.id == address_id, Address.state != "Free")
        .values(state="Free", freed=now(), source_nat=False, **gone)
        .execution_options(synchronize_session=False)
    )
    if changed(given) == 1 and kind == "VirtualNetwork":
        counted.address_goes(tx, account)


def _no_address(tx: Session, network: Network, wanted: str | None, pod_id: int | None) -> Exception:
    if wanted is None:
        pod = f" in pod {tx.get_one(Pod, pod_id).name}" if pod_id is not None else ""
        return NoAddress(f"The network {network.name} has no free address{pod}: add a range with createVlanIpRange")
    rows = select(Address.state).join(VlanRange, VlanRange.id == Address.range_id)
    state = tx.scalar(rows.where(VlanRange.network_id == network.id, Address.address == wanted))
    if state is None:
        return InvalidValue(f"The address {wanted} is in no range of the network {network.name}")
    return InvalidValue(f"The address {wanted} of the network {network.name} is taken already")


def guest_address(tx: Session, network: Network, wanted: str | None = None) -> str:
    """A free address of an isolated network. The unique key of `nic` guards it: two callers may draw the same."""
    cidr = IPNetwork(network.cidr)
    if wanted:
        address = IPAddress(wanted)
        if address not in cidr or address in (cidr.network, cidr.broadcast) or wanted == network.gateway:
            raise InvalidValue(f"The address {wanted} is none that a machine in {network.cidr} can have")
        if _taken(tx, network, [wanted]):
            raise InvalidValue(f"The address {wanted} of the network {network.name} is taken already")
        return wanted
    first, last = int(cidr.first) + 1, int(cidr.last) - 1
    # at random: callers at the same moment do not meet at one address, and a freed one rests
    drawn = [str(IPAddress(random.randint(first, last))) for _ in range(DRAWN)]  # noqa: S311  no secret
    used = _taken(tx, network, drawn) | {network.gateway}
    for text in drawn:
        if text not in used:
            return text
    used = set(tx.scalars(select(Nic.taken).where(Nic.network_id == network.id, Nic.taken.is_not(None))))
    free = [t for t in (str(IPAddress(n)) for n in range(first, last + 1)) if t not in used and t != network.gateway]
    if not free:
        raise NoAddress(f"The network {network.name} ({network.cidr}) has no free address")
    return random.choice(free)  # noqa: S311  no secret


def _taken(tx: Session, network: Network, wanted: list[str]) -> set[str | None]:
    return set(tx.scalars(_taken_among(), {"network": network.id, "wanted": wanted}))


@cache
def _taken_among() -> Select[Any]:
    wanted = Nic.taken.in_(bindparam("wanted", expanding=True))
    return select(Nic.taken).where(Nic.network_id == bindparam("network"), wanted)


def guest_mac(zone: Zone, network_id: int, address: str | None, sequence: int = 0) -> str:
    """02 : zone, or what a setting says : low 16 bits of the network : 16 bits unique in it, those of the address
    where there is one."""
    low = int(IPAddress(address)) & 0xFFFF if address else sequence & 0xFFFF
    second = IDENTIFIER.number(Scope("Zone", zone.id)) or zone.id
    return (
        f"02:{second & 0xFF:02x}:{network_id >> 8 & 0xFF:02x}:{network_id & 0xFF:02x}:{low >> 8:02x}:{low & 0xFF:02x}"
    )


def infrastructure_mac(zone_id: int, address_id: int, *, management: bool = False) -> str:
    """1e : zone : 00 for public and 01 for management NICs (rows of two tables) : 3 bytes of the address row."""
    parts = (0x1E, zone_id, int(management), address_id >> 16, address_id >> 8, address_id)
    return ":".join(f"{part & 0xFF:02x}" for part in parts)


def control_address(vm_id: int) -> tuple[str, str]:
    """Link-local address and MAC of a system VM's control NIC; .0.0 and .0.1 (the host) are left out."""
    number = int(IPAddress("169.254.0.0")) + 2 + vm_id % 65_000
    address = str(IPAddress(number))
    return address, "0e:00:" + ":".join(f"{int(p):02x}" for p in address.split("."))


def take_vnet(tx: Session, network: Network) -> int:
    """A VLAN or VNI of the network's physical network: of its account's own ranges first, of nobody else's."""
    theirs, order = ranges.of_vlans(tx, network.physical_network_id, network.account_id)
    free = Vnet.network_id.is_(None) & theirs
    rows = select(Vnet.id).where(Vnet.physical_network_id == network.physical_network_id, free)
    row = _first_free(tx, Vnet, rows.order_by(order, Vnet.freed, Vnet.id), free)
    if row is None:
        raise NoAddress(
            "The physical network has no free VLAN or VNI for this account: widen its range with "
            "updatePhysicalNetwork (parameter vlan)"
        )
    row.network_id = network.id
    tx.flush()
    return int(row.tag)


def free_vnets(tx: Session, network_id: int) -> bool:
    """Give back what the network has of its zone. Whether it had any."""
    mine = update(Vnet).where(Vnet.network_id == network_id).values(network_id=None, freed=now())
    return changed(tx.execute(mine)) > 0


def take_pod_address(tx: Session, pod_id: int, vm_id: int) -> PodAddress:
    free = PodAddress.vm_id.is_(None) & PodAddress.removed.is_(None)
    rows = select(PodAddress.id).join(PodRange, PodRange.id == PodAddress.range_id)
    rows = rows.where(PodAddress.pod_id == pod_id, free)
    if STRICT.flag():
        rows = rows.where(PodRange.for_system_vms)
    rows = rows.order_by(PodRange.for_system_vms.desc(), PodAddress.taken, PodAddress.id)
    row: PodAddress | None = _first_free(tx, PodAddress, rows, free)
    if row is None:
        raise NoAddress("The pod has no free management address: widen its range with createManagementNetworkIpRange")
    tx.execute(update(PodAddress).where(PodAddress.id == row.id).values(vm_id=vm_id, taken=now()))
    return row


def label(tx: Session, physical_network_id: int | None, traffic: str, hypervisor: str) -> str:
    """The bridge that carries a traffic type of a physical network on hosts of a hypervisor; empty: their default."""
    if physical_network_id is None:
        return ""
    rows = select(TrafficType.labels).where(TrafficType.physical_network_id == physical_network_id)
    labels = tx.scalar(rows.where(TrafficType.type == traffic, TrafficType.removed.is_(None))) or {}
    return str(labels.get(hypervisor, "") or "")
