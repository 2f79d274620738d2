"""System VMs as rows: routers, and the two that each zone has for storage and consoles."""

from __future__ import annotations

import secrets
from typing import Any

from netaddr import IPAddress, IPNetwork
from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import addresses
from mgmt_server.errors import NoCapacity, Unavailable
from mgmt_server.model.account import ROOT_DOMAIN, SYSTEM_ACCOUNT
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import DiskOffering, NetworkOffering, ServiceOffering
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import PhysicalNetwork, TrafficType, Zone
from mgmt_server.resources.network.create import services
from mgmt_server.resources.vm.naming import name_for_hosts

GIB = 2**30
SMALLEST_DISK = 2 * GIB
USUAL = "Cloud.Com-SoftwareRouter"  # what network offerings have that name none
DISK = Setting(
    "systemvm.root.disk.size", "GiB of the disks of new system VMs, where their image is smaller; -1: its own"
)
LOCAL = Setting("system.vm.use.local.storage", "Whether new system VMs have their disk on local storage of their host")
OFFERING = Setting(
    "router.service.offering",
    "The system offering, by its id, of new routers whose network offering names none; empty: the usual one",
)


def create_router(tx: Session, network: Network, offering: NetworkOffering) -> Vm:
    """A router's rows: machine, disk, NICs with their addresses, boot arguments. It is started by a flow."""
    zone = tx.get_one(Zone, network.zone_id)
    has = services(tx, network.offering_id)
    nat = network.guest_type == "Isolated" and "SourceNat" in has
    vm = _system_vm(tx, zone, "DomainRouter", network.account_id, network.domain_id, offering.service_offering_id)
    vm.network_id, vm.role = network.id, "VIRTUAL_ROUTER" if nat else "DHCP_SRVR"
    vm.redundant_state = "UNKNOWN"
    guest = _guest_nic(tx, vm, network, zone)
    control = _control_nic(tx, vm, zone, 1)
    nics = [guest, control]
    if nat:
        nics.append(_public_nic(tx, vm, network, zone, 2))
    words = {
        "template": "domP",
        "type": "router" if nat else "dhcpsrvr",
        "name": vm.name,
        "domain": network.network_domain or "",
        "dns1": network.dns1 or zone.dns1,
        "dns2": network.dns2 or zone.dns2 or "",
        "dhcprange": str(IPNetwork(network.cidr).network) if network.cidr else "",
        "gateway": (nics[-1].gateway if nat else guest.gateway) or "",
        **_interfaces(nics),
    }
    vm.details = {"boot_arguments": " ".join(f"{k}={v}" for k, v in words.items() if v)}
    tx.flush()
    return vm


def create_keeper(tx: Session, zone: Zone, kind: str, pod_id: int) -> Vm:
    """The secondary storage VM or console proxy of a zone, with management, control and public NIC."""
    vm = _system_vm(tx, zone, kind, SYSTEM_ACCOUNT, ROOT_DOMAIN, None)
    vm.agent_state = None
    nics = [_control_nic(tx, vm, zone, 0), _pod_nic(tx, vm, zone, pod_id, 1)]
    public = system_network(tx, zone, "Public")
    try:
        with tx.begin_nested():
            nics.append(_public_nic(tx, vm, public, zone, 2, source_nat=False))
    except NoCapacity:
        pass  # a zone without public addresses has none to give: they are reached by their management address
    kinds = {"ConsoleProxy": "consoleproxy", "SecondaryStorageVm": "secstorage"}
    words = {"template": "domP", "type": kinds[kind], "name": vm.name, "zone": zone.id, **_interfaces(nics)}
    vm.details = {"boot_arguments": " ".join(f"{k}={v}" for k, v in words.items() if v)}
    tx.flush()
    return vm


def _system_vm(tx: Session, zone: Zone, kind: str, account: int, domain: int, offering: int | None) -> Vm:
    hypervisor = _hypervisor(tx, zone)
    template = tx.scalar(
        select(Template).where(Template.type == "SYSTEM", Template.hypervisor == hypervisor, Template.removed.is_(None))
    )
    if template is None:
        raise Unavailable(f"there is no system VM template for {hypervisor}")
    if kind == "DomainRouter":
        offering = _routers(tx, offering, zone, account)
    size = _offering(tx, kind, offering, zone)
    vm = Vm(
        name=f"pending-{secrets.token_hex(6)}",
        kind=kind,
        state="Stopped",
        account_id=account,
        domain_id=domain,
        zone_id=zone.id,
        service_offering_id=size.id,
        template_id=template.id,
        os_type_id=template.os_type_id,
        hypervisor=hypervisor,
        cpus=size.cpus or 1,
        speed=size.speed or 500,
        memory=size.memory or 256,
        vnc_password=secrets.token_urlsafe(6),
        details={},
    )
    tx.add(vm)
    tx.flush()
    vm.name = name_for_hosts(vm)
    tx.add(
        Volume(
            name=f"ROOT-{vm.id}",
            kind="ROOT",
            size=max(template.size, SMALLEST_DISK, DISK.number() * GIB),
            zone_id=zone.id,
            vm_id=vm.id,
            device=0,
            slot=0,
            template_id=template.id if hypervisor != "Simulator" else None,
            disk_offering_id=size.disk_offering_id,
            account_id=account,
            domain_id=domain,
        )
    )
    return vm


def _hypervisor(tx: Session, zone: Zone) -> str:
    rows = select(Host.hypervisor).where(Host.zone_id == zone.id, Host.removed.is_(None), Host.type == "Routing")
    found = tx.scalar(rows.order_by(Host.state != "Up", Host.id).limit(1))
    if found is None:
        raise NoCapacity(f"The zone {zone.name} has no host yet: add one with addHost")
    return found


def _routers(tx: Session, offering: int | None, zone: Zone, account: int) -> int | None:
    """The offering of a router: that of its network's offering, where that names another than the usual one; else what
    settings say, where they do."""
    local = LOCAL.flag(Scope("Zone", zone.id))
    uuid = OFFERING.text(*of_account(tx, account)).strip() if OFFERING.set_anywhere() else ""
    if not (local or uuid) or (offering is not None and tx.get_one(ServiceOffering, offering).unique_name != USUAL):
        return offering
    rows = select(ServiceOffering.id).where(
        ServiceOffering.uuid == uuid,
        ServiceOffering.system_vm_type == "domainrouter",
        ServiceOffering.removed.is_(None),
    )
    return tx.scalar(rows) or (None if local else offering)


def _offering(tx: Session, kind: str, offering: int | None, zone: Zone) -> ServiceOffering:
    """What a system VM gets: on local storage where a setting says so, and in a zone that has nothing else."""
    wanted = LOCAL.flag(Scope("Zone", zone.id))
    kinds = {"DomainRouter": "domainrouter", "ConsoleProxy": "consoleproxy", "SecondaryStorageVm": "secondarystoragevm"}
    shared = select(Pool.id).where(Pool.zone_id == zone.id, Pool.scope != "HOST", Pool.removed.is_(None))
    local = zone.local_storage and tx.scalar(shared.limit(1)) is None
    if offering is not None and not local:
        return tx.get_one(ServiceOffering, offering)
    rows = (
        select(ServiceOffering)
        .join(DiskOffering, DiskOffering.id == ServiceOffering.disk_offering_id)
        .where(ServiceOffering.is_system, ServiceOffering.system_vm_type == kinds[kind])
        .where(ServiceOffering.removed.is_(None))
        .order_by(DiskOffering.storage_type != ("local" if local or wanted else "shared"), ServiceOffering.id)
    )
    found = tx.scalar(rows.limit(1))
    if found is None:
        raise Unavailable(f"there is no system offering for {kinds[kind]}: migrate the database again")
    return found


def _guest_nic(tx: Session, vm: Vm, network: Network, zone: Zone) -> Nic:
    nic = Nic(vm_id=vm.id, network_id=network.id, device=0, traffic="Guest", is_default=False)
    nic.broadcast, nic.netmask = network.broadcast, network.netmask
    if network.guest_type == "Shared":
        row, found = addresses.take_from_range(tx, network, (network.details or {}).get("routerip"))
        row.vm_id = vm.id
        nic.address_id, nic.address, nic.gateway, nic.netmask = row.id, row.address, found.gateway, found.netmask
    else:
        nic.address = network.gateway
    nic.taken = nic.address
    nic.mac = addresses.guest_mac(zone, network.id, nic.address)
    tx.add(nic)
    return nic


def _control_nic(tx: Session, vm: Vm, zone: Zone, device: int) -> Nic:
    address, mac = addresses.control_address(vm.id)
    nic = Nic(
        vm_id=vm.id,
        network_id=system_network(tx, zone, "Control").id,
        device=device,
        traffic="Control",
        address=address,
        netmask="255.255.0.0",
        gateway="169.254.0.1",
        mac=mac,
    )
    tx.add(nic)
    return nic


def _public_nic(tx: Session, vm: Vm, network: Network, zone: Zone, device: int, source_nat: bool = True) -> Nic:
    row, found = addresses.take_public(tx, zone.id, network, source_nat)
    row.vm_id = vm.id
    public = system_network(tx, zone, "Public")
    tag = found.vlan.rpartition("/")[2]
    nic = Nic(
        vm_id=vm.id,
        network_id=public.id,
        device=device,
        traffic="Public",
        is_default=True,
        address_id=row.id,
        address=row.address,
        taken=row.address,
        netmask=found.netmask,
        gateway=found.gateway,
        broadcast=f"vlan://{tag}",
        mac=addresses.infrastructure_mac(zone.id, row.id),
    )
    tx.add(nic)
    return nic


def _pod_nic(tx: Session, vm: Vm, zone: Zone, pod_id: int, device: int) -> Nic:
    from mgmt_server.model.zone import Pod

    pod = tx.get_one(Pod, pod_id)
    row = addresses.take_pod_address(tx, pod_id, vm.id)
    nic = Nic(
        vm_id=vm.id,
        network_id=system_network(tx, zone, "Management").id,
        device=device,
        traffic="Management",
        address=row.address,
        taken=row.address,
        netmask=pod.netmask,
        gateway=pod.gateway,
        mac=addresses.infrastructure_mac(zone.id, row.id, management=True),
    )
    tx.add(nic)
    return nic


def system_network(tx: Session, zone: Zone, traffic: str) -> Network:
    """The zone's network of that traffic, made when it is first needed."""
    rows = select(Network).where(Network.zone_id == zone.id, Network.is_system, Network.traffic_type == traffic)
    found = tx.scalar(rows.limit(1))
    if found is not None:
        return found
    tx.execute(select(Zone.id).where(Zone.id == zone.id).with_for_update())  # one at a time: no second of a kind
    found = tx.scalar(rows.limit(1))
    if found is not None:
        return found
    offering = tx.scalar(
        select(NetworkOffering).where(NetworkOffering.is_system, NetworkOffering.traffic_type == traffic)
    )
    if offering is None:
        raise Unavailable(f"there is no system network offering for {traffic}: migrate the database again")
    carriers = select(TrafficType.physical_network_id).where(TrafficType.type == traffic)
    physical = select(PhysicalNetwork.id).where(
        PhysicalNetwork.zone_id == zone.id, PhysicalNetwork.removed.is_(None), PhysicalNetwork.id.in_(carriers)
    )
    found = Network(
        name=f"{zone.name}-{traffic.lower()}",
        display_text=f"{traffic} traffic of {zone.name}",
        zone_id=zone.id,
        physical_network_id=tx.scalar(physical.limit(1)),
        offering_id=offering.id,
        traffic_type=traffic,
        is_system=True,
        state="Setup",
        account_id=SYSTEM_ACCOUNT,
        domain_id=ROOT_DOMAIN,
        details={},
    )
    tx.add(found)
    tx.flush()
    return found


def _interfaces(nics: list[Nic]) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for nic in nics:
        if nic.address:
            words[f"eth{nic.device}ip"] = str(IPAddress(nic.address))
            words[f"eth{nic.device}mask"] = nic.netmask
    return words
