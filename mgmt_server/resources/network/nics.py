"""NICs: giving a machine its place in a network, and telling its host about it."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from mgmt_server.allocation import addresses
from mgmt_server.db import Again, changed, now
from mgmt_server.model.account import Domain
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic, NicAddress
from mgmt_server.model.offering import NetworkOffering, ServiceOffering
from mgmt_server.model.tenancy import ancestors
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Address, VlanRange, Zone
from mgmt_server.protocol.machine import Nic as NicAtHost
from mgmt_server.resources.networkoffering.rates import of_nic
from mgmt_server.resources.vm.tuning import tuned_nic

Router = aliased(Vm, name="router")


def add_nic(
    tx: Session, vm: Vm, network: Network, zone: Zone, *, device: int, default: bool, wanted: str | None = None
) -> Nic:
    """Give the machine a NIC with an address. Raises NoAddress, InvalidValue for an address that cannot be had."""
    nic = Nic(vm_id=vm.id, network_id=network.id, device=device, is_default=default, traffic=network.traffic_type)
    nic.broadcast = network.broadcast
    if network.guest_type == "L2" or network.cidr is None:
        nic.mac = addresses.guest_mac(zone, network.id, None, vm.id)
        tx.add(nic)
        return nic
    if network.guest_type == "Shared":
        row, found = addresses.take_from_range(tx, network, wanted)
        row.vm_id = vm.id
        nic.address_id, nic.address, nic.netmask, nic.gateway = row.id, row.address, found.netmask, found.gateway
        nic.taken, nic.mac = nic.address, addresses.guest_mac(zone, network.id, nic.address)
        tx.add(nic)
        return nic
    return _isolated(tx, nic, network, zone, wanted)


def is_for(tx: Session, network: Network, account_id: int, domain_id: int) -> bool:
    """Whether machines of an account go into a network: its own, or what its domain or one above shares."""
    if network.acl_type != "Domain":
        return network.account_id == account_id
    if not network.subdomain_access or network.domain_id == domain_id:
        return network.domain_id == domain_id
    path = tx.scalar(select(Domain.path).where(Domain.id == domain_id)) or "/"
    above = select(Domain.id).where(Domain.id == network.domain_id, Domain.path.in_(ancestors(path)))
    return tx.scalar(above) is not None


def pod_of(tx: Session, vm_id: int) -> int | None:
    """The pod whose addresses the machine has: in a Basic zone guests have addresses of their pod."""
    rows = (
        select(VlanRange.pod_id)
        .join(Address, Address.range_id == VlanRange.id)
        .join(Nic, Nic.address_id == Address.id)
        .where(Nic.vm_id == vm_id, Nic.removed.is_(None), VlanRange.pod_id.is_not(None))
    )
    return tx.scalar(rows.limit(1))


def move_to_pod(tx: Session, vm: Vm, pod_id: int) -> None:
    """Change a machine's addresses of other pods for such of this one. Raises NoAddress."""
    rows = (
        select(Nic, Network, Zone)
        .join(Network, Network.id == Nic.network_id)
        .join(Zone, Zone.id == Network.zone_id)
        .join(Address, Address.id == Nic.address_id)
        .join(VlanRange, VlanRange.id == Address.range_id)
        .where(Nic.vm_id == vm.id, Nic.removed.is_(None), VlanRange.pod_id != pod_id)
    )
    for nic, network, zone in tx.execute(rows).all():
        row, found = addresses.take_from_range(tx, network, pod_id=pod_id)
        addresses.free(tx, nic.address_id)
        row.vm_id = vm.id
        nic.address_id, nic.address, nic.netmask, nic.gateway = row.id, row.address, found.netmask, found.gateway
        nic.taken, nic.mac = nic.address, addresses.guest_mac(zone, network.id, nic.address)
    tx.flush()


def _isolated(tx: Session, nic: Nic, network: Network, zone: Zone, wanted: str | None) -> Nic:
    """An address that nobody has; when somebody was quicker, the unique key says so, and all is tried anew."""
    nic.netmask, nic.gateway = network.netmask, network.gateway
    nic.address = nic.taken = addresses.guest_address(tx, network, wanted)
    nic.mac = addresses.guest_mac(zone, network.id, nic.address)
    tx.add(nic)
    try:
        tx.flush()
    except IntegrityError as error:
        raise Again(f"the address {nic.address} of the network") from error
    return nic


def nics_of(tx: Session, vm: Vm, hypervisor: str) -> tuple[list[NicAtHost], list[int]]:
    """The machine's NICs as its host needs them, and the networks whose router has to know it before it asks.

    Simulated routers have no inside, and are told nothing.
    """
    found, tell = [], []
    for nic, network, has_router, of_machine, of_network in tx.execute(_in_order(), {"vm": vm.id}):
        if has_router and vm.kind == "User":
            tell.append(network.id)
        broadcast = nic.broadcast if nic.traffic != "Guest" else network.broadcast
        if nic.broadcast != broadcast:
            tx.execute(update(Nic).where(Nic.id == nic.id).values(broadcast=broadcast))
        simulated = hypervisor == "Simulator"
        label = "" if simulated else addresses.label(tx, network.physical_network_id, nic.traffic, hypervisor)
        rate = of_nic(vm.kind, nic.traffic, vm.zone_id, of_machine, of_network, default=nic.is_default)
        at_host = NicAtHost(
            mac=nic.mac,
            device=nic.device,
            traffic=nic.traffic,
            label=label,
            broadcast=broadcast or "",
            address=nic.address or "",
            netmask=nic.netmask or "",
            gateway=nic.gateway or "",
            rate=rate.mbit,
            rate_by_default=rate.by_default,
        )
        found.append(tuned_nic(at_host, vm.details, vm.cpus))
    return found, tell


@cache
def _in_order() -> Select[Any]:
    """A machine's NICs, their networks, whether a router runs there, and the rates of both offerings."""
    told = select(Router.id).join(Host, Host.id == Router.host_id).where(Host.hypervisor != "Simulator")
    told = told.where(Router.network_id == Network.id, Router.kind == "DomainRouter", Router.removed.is_(None))
    told = told.where(Router.state == "Running").correlate(Network.__table__)
    rates = ServiceOffering.network_rate, NetworkOffering.network_rate
    rows = select(Nic, Network, told.exists(), *rates).join(Network, Network.id == Nic.network_id)
    rows = rows.join(NetworkOffering, NetworkOffering.id == Network.offering_id)
    rows = rows.join(Vm, Vm.id == Nic.vm_id).join(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
    return rows.where(Nic.vm_id == bindparam("vm"), Nic.removed.is_(None)).order_by(Nic.device)


def served_by_router(tx: Session, network: Network) -> bool:
    rows = select(Vm.id).join(Host, Host.id == Vm.host_id).where(Vm.network_id == network.id, Vm.removed.is_(None))
    rows = rows.where(Vm.kind == "DomainRouter", Vm.state == "Running", Host.hypervisor != "Simulator")
    return tx.scalar(rows.limit(1)) is not None


def drop_addresses(tx: Session, nic_ids: list[int]) -> None:
    """Give back the secondary addresses of NICs."""
    rows = select(NicAddress).where(NicAddress.nic_id.in_(nic_ids), NicAddress.removed.is_(None))
    for row in tx.scalars(rows).all():
        drop_address(tx, row)


def drop_address(tx: Session, row: NicAddress) -> None:
    """Give back a secondary address, once."""
    gone = update(NicAddress).where(NicAddress.id == row.id, NicAddress.removed.is_(None))
    values = {"removed": now(), "taken": None, "address_id": None}
    if changed(tx.execute(gone.values(**values).execution_options(synchronize_session=False))) != 1:
        return
    if row.address_id is not None:
        addresses.free(tx, row.address_id)
        return
    held = update(Nic).where(Nic.network_id == row.network_id, Nic.taken == row.address, Nic.removed.is_not(None))
    tx.execute(held.values(taken=None).execution_options(synchronize_session=False))
