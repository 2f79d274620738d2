"""NICs of machines that run, and of those that do not: under the machine's lock."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic, NicAddress
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.machine import Nic as NicAtHost
from mgmt_server.resources.network import flows as network_flows
from mgmt_server.resources.network.nics import add_nic, drop_address, nics_of, served_by_router
from mgmt_server.resources.nic import rows
from mgmt_server.resources.router import document
from mgmt_server.resources.storage.rows import ref
from mgmt_server.resources.vm.release import spoken

AT_REST = ("Running", "Stopped")


@dataclass(frozen=True)
class Plug:
    """A NIC of a machine that runs, as its host needs it."""

    host: HostRef
    machine: str
    nic: NicAtHost


@dataclass(frozen=True)
class Change:
    """What has to be done outside: on the host, and the networks whose router has to know."""

    plug: Plug | None = None
    tell: tuple[int, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What was asked of a new NIC."""

    network_id: int
    address: str | None = None
    mac: str | None = None
    dhcp_options: dict[str, str] = field(default_factory=dict)


def add(job: Job, vm_id: int, wanted: Wanted, networks: list[int]) -> None:
    """Give a machine a NIC. `networks` have to be implemented first."""
    for network in networks:
        job.wait(network_flows.implement, network, lock=f"network:{network}", shared=True)
    change = job.write(added, vm_id, wanted, undo=not_added)
    for network in change.tell:
        job.call(document.tell, network)
    if change.plug is not None:
        plug = change.plug
        job.call(dispatch.attach_nic, plug.host, plug.machine, plug.nic, undo=dispatch.detach_nic)


def remove(job: Job, vm_id: int, nic_id: int) -> None:
    """Take a NIC from a machine: from its host first, so that nobody else's machine has its address meanwhile."""
    change = job.write(leaving, vm_id, nic_id)
    if change.plug is not None:
        job.call(dispatch.detach_nic, change.plug.host, change.plug.machine, change.plug.nic)
    job.write(left, vm_id, nic_id)
    for network in change.tell:
        job.call(document.tell, network)


def make_default(job: Job, vm_id: int, nic_id: int) -> None:
    for network in job.write(chosen, vm_id, nic_id):
        job.call(document.tell, network)


def readdress(job: Job, vm_id: int, nic_id: int, address: str | None) -> None:
    for network in job.write(readdressed, vm_id, nic_id, address):
        job.call(document.tell, network)


def have_address(job: Job, address_id: int) -> None:
    """A secondary address is the guest's to configure: it is its own from the call on, and no host has to know."""


def lose_address(job: Job, address_id: int) -> None:
    job.write(address_lost, address_id)


# --- what the steps do -----------------------------------------------------------------------------------------------


def added(tx: Session, vm_id: int, wanted: Wanted) -> Change:
    vm = _at_rest(tx, vm_id)
    network = tx.get_one(Network, wanted.network_id)
    rows.check_network(tx, vm, network)
    zone = tx.get_one(Zone, vm.zone_id)
    mac = rows.mac_of(tx, zone, wanted.mac)
    first = not rows.nics_of_machine(tx, vm_id)
    device = rows.free_device(tx, vm_id)
    nic = add_nic(tx, vm, network, zone, device=device, default=first, wanted=wanted.address)
    if mac is not None:
        nic.mac = mac
    nic.dhcp_options = wanted.dhcp_options
    tx.flush()
    return _change(tx, vm, nic, network)


def not_added(tx: Session, vm_id: int, wanted: Wanted) -> None:
    """Undo of `added`."""
    same = select(Nic).where(Nic.vm_id == vm_id, Nic.network_id == wanted.network_id, Nic.removed.is_(None))
    for nic in tx.scalars(same).all():
        rows.drop_nic(tx, nic)


def leaving(tx: Session, vm_id: int, nic_id: int) -> Change:
    vm = _at_rest(tx, vm_id)
    nic = rows.nic_of(tx, vm, nic_id)
    check_removable(vm, nic)
    return _change(tx, vm, nic, tx.get_one(Network, nic.network_id))


def check_removable(vm: Vm, nic: Nic) -> None:
    if nic.is_default:
        raise InvalidValue(
            f"The NIC is the default one of {spoken(vm)}: make another the default with "
            "updateDefaultNicForVirtualMachine first"
        )


def left(tx: Session, vm_id: int, nic_id: int) -> None:
    nic = tx.get_one(Nic, nic_id)
    if nic.removed is None:
        rows.drop_nic(tx, nic)


def chosen(tx: Session, vm_id: int, nic_id: int) -> list[int]:
    """Make a NIC the default one: the networks whose router has to know."""
    vm = _at_rest(tx, vm_id)
    nic = rows.nic_of(tx, vm, nic_id)
    mine = [n.network_id for n in rows.nics_of_machine(tx, vm_id)]
    others = update(Nic).where(Nic.vm_id == vm_id, Nic.id != nic.id).values(is_default=False)
    tx.execute(others.execution_options(synchronize_session=False))
    nic.is_default = True
    tx.flush()
    return _told(tx, mine)


def readdressed(tx: Session, vm_id: int, nic_id: int, address: str | None) -> list[int]:
    vm = tx.get_one(Vm, vm_id)
    check_stopped(vm)
    nic = rows.nic_of(tx, vm, nic_id)
    rows.change_address(tx, vm, nic, address)
    return _told(tx, [nic.network_id])


def check_stopped(vm: Vm) -> None:
    if vm.state != "Stopped":
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: stop it before its NIC gets another address")


def address_lost(tx: Session, address_id: int) -> None:
    drop_address(tx, tx.get_one(NicAddress, address_id))


def _at_rest(tx: Session, vm_id: int) -> Vm:
    vm = tx.get_one(Vm, vm_id)
    check_at_rest(vm)
    return vm


def check_at_rest(vm: Vm) -> None:
    if vm.state not in AT_REST or vm.removed is not None:
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: its NICs change while it is running or stopped")


def _change(tx: Session, vm: Vm, nic: Nic, network: Network) -> Change:
    tell = tuple(_told(tx, [network.id]))
    if vm.state != "Running":
        return Change(None, tell)
    host = tx.get_one(Host, vm.host_id)
    found, _ = nics_of(tx, vm, host.hypervisor)
    plugged = next(n for n in found if n.device == nic.device)
    return Change(Plug(ref(host), vm.instance, plugged), tell)


def _told(tx: Session, networks: list[int]) -> list[int]:
    return [n for n in networks if served_by_router(tx, tx.get_one(Network, n))]
