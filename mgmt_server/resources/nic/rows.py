"""NICs and their addresses as rows: what comes to a machine and what goes from it."""

from __future__ import annotations

from netaddr import EUI, AddrFormatError, mac_unix_expanded
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server.allocation import addresses
from mgmt_server.db import Again, now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.network import Network, Nic, NicAddress
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.resources.network.nics import drop_addresses, is_for, pod_of
from mgmt_server.resources.vm.release import spoken


def nics_of_machine(tx: Session, vm_id: int) -> list[Nic]:
    return list(tx.scalars(select(Nic).where(Nic.vm_id == vm_id, Nic.removed.is_(None)).order_by(Nic.device)))


def nic_of(tx: Session, vm: Vm, nic_id: int) -> Nic:
    """Raises InvalidValue for a NIC that is gone, or another machine's."""
    nic = tx.get(Nic, nic_id)
    if nic is None or nic.removed is not None or nic.vm_id != vm.id:
        raise InvalidValue(f"{spoken(vm)} does not have that NIC: see listNics")
    return nic


def check_network(tx: Session, vm: Vm, network: Network) -> None:
    """Raises InvalidValue for a network into which the machine cannot go. Its owner decides, not who asks."""
    if network.zone_id != vm.zone_id:
        raise InvalidValue(f"The network {network.name} is in another zone than {spoken(vm)}")
    if network.is_system:
        raise InvalidValue(f"The network {network.name} is the system's own")
    if not is_for(tx, network, vm.account_id, vm.domain_id):
        raise InvalidValue(f"The network {network.name} is not for the account that has {spoken(vm)}")
    same = select(Nic.id).where(Nic.vm_id == vm.id, Nic.network_id == network.id, Nic.removed.is_(None))
    if tx.scalar(same.limit(1)) is not None:
        raise InvalidValue(f"{spoken(vm)} has a NIC in the network {network.name} already: one is enough")


def check_name(tx: Session, vm: Vm, network: Network) -> None:
    """Raises InvalidValue where the network's name service knows another machine by that name."""
    same = select(Vm.id).join(Nic, Nic.vm_id == Vm.id).where(Nic.network_id == network.id, Nic.removed.is_(None))
    if tx.scalar(same.where(Vm.name == vm.name, Vm.id != vm.id, Vm.removed.is_(None)).limit(1)) is not None:
        raise InvalidValue(f"The network {network.name} has a machine of the host name {vm.name} already: rename one")


def mac_of(tx: Session, zone: Zone, text: str | None) -> str | None:
    """A MAC that a guest may have, written as all are. Raises InvalidValue."""
    if text is None:
        return None
    try:
        found = EUI(text, dialect=mac_unix_expanded)
    except (AddrFormatError, ValueError, TypeError):
        raise InvalidValue(f"macaddress={text[:50]} is no MAC: write it as 06:00:00:00:00:01") from None
    mac = str(found).lower()
    if found.words[0] & 1 or int(found) == 0:
        raise InvalidValue(f"macaddress={mac} is for groups: the first byte of a NIC's is even")
    if mac.startswith((f"02:{zone.id & 0xFF:02x}:", "1e:", "0e:00:")):
        raise InvalidValue(f"macaddress={mac} is one of those that the cloud gives itself: choose 06:...")
    if tx.scalar(select(Nic.id).where(Nic.mac == mac, Nic.removed.is_(None)).limit(1)) is not None:
        raise InvalidValue(f"macaddress={mac} is on another NIC already")
    return mac


def free_device(tx: Session, vm_id: int) -> int:
    used = {n.device for n in nics_of_machine(tx, vm_id)}
    return next(n for n in range(len(used) + 1) if n not in used)


def change_address(tx: Session, vm: Vm, nic: Nic, wanted: str | None) -> None:
    """Give a NIC another address. Its MAC follows when it was made of the old one. Raises NoAddress, InvalidValue."""
    network = tx.get_one(Network, nic.network_id)
    zone = tx.get_one(Zone, network.zone_id)
    derived = nic.mac == addresses.guest_mac(zone, network.id, nic.address)
    if network.guest_type == "Shared":
        row, found = addresses.take_from_range(tx, network, wanted, pod_of(tx, vm.id))
        if nic.address_id is not None:
            addresses.free(tx, nic.address_id)
        row.vm_id = vm.id
        nic.address_id, nic.address, nic.netmask, nic.gateway = row.id, row.address, found.netmask, found.gateway
    else:
        nic.address = addresses.guest_address(tx, network, wanted)
    nic.taken = nic.address
    if derived:
        nic.mac = addresses.guest_mac(zone, network.id, nic.address)
    _flush(tx, f"the address {nic.address} of the network")


def add_address(tx: Session, vm: Vm, nic: Nic, network: Network, wanted: str | None) -> NicAddress:
    """A secondary address. Raises NoAddress, InvalidValue for one that cannot be had."""
    found = NicAddress(
        nic_id=nic.id, network_id=network.id, address="", account_id=vm.account_id, domain_id=vm.domain_id
    )
    if network.guest_type == "Shared":
        row, _ = addresses.take_from_range(tx, network, wanted, pod_of(tx, vm.id))
        row.vm_id = vm.id
        found.address, found.address_id = row.address, row.id
    else:
        found.address = addresses.guest_address(tx, network, wanted)
        same = {"vm_id": vm.id, "network_id": network.id, "device": nic.device, "mac": nic.mac}
        tx.add(Nic(**same, address=found.address, taken=found.address, removed=now()))
    found.taken = found.address
    tx.add(found)
    _flush(tx, f"the address {found.address} of the network")
    return found


def _flush(tx: Session, what: str) -> None:
    """When somebody was quicker, the unique key says so, and all is tried anew."""
    try:
        tx.flush()
    except IntegrityError as error:
        raise Again(what) from error


def drop_nic(tx: Session, nic: Nic) -> None:
    """Give back a NIC's addresses; it is gone."""
    drop_addresses(tx, [nic.id])
    if nic.address_id is not None:
        addresses.free(tx, nic.address_id)
    nic.taken, nic.removed = None, now()
    tx.flush()
