"""A machine that a host has, as rows of ours."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from netaddr import IPAddress, IPNetwork
from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import addresses, counted, hosts, pools
from mgmt_server.db import new_uuid, now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.machine import Unmanaged, UnmanagedDisk, UnmanagedNic
from mgmt_server.resources.network.nics import add_nic
from mgmt_server.resources.nic import rows as nics
from mgmt_server.resources.unmanaged import fitting
from mgmt_server.resources.vm.release import free_instance_name
from mgmt_server.resources.vm.shape import CHOSEN, Shape, shape_of
from mgmt_server.resources.volume.fitting import DRIVE


@dataclass(frozen=True)
class Adoption:
    """What shall become of it: whose, of which offerings, in which networks."""

    host: Host
    machine: Unmanaged
    owner: Account
    user_id: int | None
    offering: ServiceOffering
    root: DiskOffering
    template: Template | None
    name: str
    display_name: str
    details: dict[str, str] = field(default_factory=dict)
    disks: dict[str, DiskOffering] = field(default_factory=dict)  # by label, of data disks
    networks: dict[str, Network] = field(default_factory=dict)  # by MAC
    addresses: dict[str, str] = field(default_factory=dict)  # by MAC
    forced: bool = False  # a MAC that another NIC has is replaced
    moves: bool = False  # what is not where its offerings want it is moved then

    @property
    def running(self) -> bool:
        return self.machine.state == "Running"


def adopt(tx: Session, asked: Adoption) -> Vm:
    """Add the rows; space, addresses and counts are taken. Raises InvalidValue for what does not fit."""
    zone = tx.get_one(Zone, asked.host.zone_id)
    vm = _machine(tx, asked, zone)
    if not asked.machine.disks:
        raise InvalidValue(f"{asked.machine.name} has no disk")
    for position, disk in enumerate(asked.machine.disks):
        _volume(tx, vm, asked, disk, position)
    for device, nic in enumerate(asked.machine.nics):
        _nic(tx, vm, asked, zone, nic, device)
    counted.machine_comes(tx, vm)
    if asked.running:
        if not hosts.take(tx, asked.host.id, vm.cpus * vm.speed, vm.memory * 2**20):
            raise InvalidValue(f"{asked.host.name} has promised all that it has: make room on it first")
        counted.machine_starts(tx, vm)
    return vm


def _while_running(tx: Session, asked: Adoption, shape: Shape) -> dict[str, Any]:
    """The columns of a machine that goes on while it is taken over: as its host calls it, as large as it is."""
    machine = asked.machine
    if (machine.cpus, machine.memory >> 20) != (shape.cpus, shape.memory):
        raise InvalidValue(
            f"{machine.name} runs with {machine.cpus} CPUs and {machine.memory >> 20} MiB, and the offering "
            f"{asked.offering.name} gives {shape.cpus} and {shape.memory}: choose one of that size, or shut it "
            "down first"
        )
    if not asked.moves:
        fitting.check_host(asked.host, asked.offering)
    free_instance_name(tx, machine.name)
    former = tx.scalar(select(Vm).where(Vm.uuid == machine.uuid, Vm.removed.is_not(None)))
    if former is not None:  # it was let go by this cloud, and its host knows it by its uuid
        former.uuid = new_uuid()
        tx.flush()
    return {
        "uuid": machine.uuid,
        "called": machine.name,
        "state": "Running",
        "host_id": asked.host.id,
        "reserved": True,
        "vnc_password": machine.vnc_password or None,
    }


def _machine(tx: Session, asked: Adoption, zone: Zone) -> Vm:
    offering, machine = asked.offering, asked.machine
    details = dict(asked.details)
    if offering.customized:
        own = {"cpuNumber": machine.cpus, "cpuSpeed": asked.host.speed, "memory": machine.memory >> 20}
        details = {k: str(v) for k, v in own.items()} | details
    shape = shape_of(offering, details)
    resting = {"state": "Stopped", "vnc_password": secrets.token_urlsafe(6)}
    vm = Vm(
        **(_while_running(tx, asked, shape) if asked.running else resting),
        name=asked.name,
        display_name=asked.display_name,
        kind="User",
        account_id=asked.owner.id,
        domain_id=asked.owner.domain_id,
        user_id=asked.user_id,
        zone_id=zone.id,
        pod_id=asked.host.pod_id,
        last_host_id=asked.host.id,
        service_offering_id=offering.id,
        template_id=asked.template and asked.template.id,
        os_type_id=asked.template and asked.template.os_type_id,
        hypervisor=asked.host.hypervisor,
        cpus=shape.cpus,
        speed=shape.speed,
        memory=shape.memory,
        ha_enabled=offering.offer_ha,
        state_changed=now(),
        details={k: v for k, v in details.items() if offering.customized or k not in CHOSEN},
    )
    tx.add(vm)
    tx.flush()
    return vm


def _volume(tx: Session, vm: Vm, asked: Adoption, disk: UnmanagedDisk, position: int) -> None:
    root = position == 0
    offering = asked.root if root else asked.disks.get(disk.label)
    if offering is None:
        raise InvalidValue(
            f"The disk {disk.label} has no offering: send datadiskofferinglist[0].disk={disk.label} and .diskOffering"
        )
    pool = _pool_of(tx, vm, asked, disk, offering)
    device = position if position < DRIVE else position + 1
    common: dict[str, Any] = {"zone_id": vm.zone_id, "account_id": vm.account_id, "domain_id": vm.domain_id}
    volume = Volume(
        name=f"{'ROOT' if root else 'DATA'}-{vm.id}" + (f"-{position}" if position > 1 else ""),
        kind="ROOT" if root else "DATADISK",
        size=disk.size,
        physical_size=disk.size,
        pod_id=pool.pod_id,
        pool_id=pool.id,
        vm_id=vm.id,
        device=device,
        slot=device,
        attached=now(),
        path=disk.name,
        state="Ready",
        state_changed=now(),
        disk_offering_id=offering.id,
        provisioning=offering.provisioning,
        **common,
    )
    tx.add(volume)
    tx.flush()
    counted.volumes_come(tx, [volume])


def _pool_of(tx: Session, vm: Vm, asked: Adoption, disk: UnmanagedDisk, offering: DiskOffering) -> Pool:
    pool = tx.scalar(select(Pool).where(Pool.uuid == disk.pool, Pool.removed.is_(None))) if disk.pool else None
    if pool is None or not disk.name:
        raise InvalidValue(f"The disk {disk.label} ({disk.source}) lies in no pool of this cloud: move it into one")
    if disk.format.lower() != "qcow2":
        raise InvalidValue(f"The disk {disk.label} is {disk.format}: convert it to qcow2 first")
    if not asked.moves:
        fitting.check_pool(pool, disk.label, offering)
    if not offering.customized and offering.size and offering.size < disk.size:
        raise InvalidValue(f"The disk {disk.label} has {disk.size} bytes, the offering {offering.name} less")
    same = select(Volume.name).where(Volume.pool_id == pool.id, Volume.path == disk.name, Volume.removed.is_(None))
    taken = tx.scalar(same.limit(1))
    if taken is not None:
        raise InvalidValue(f"The disk {disk.label} is the volume {taken} of this cloud already")
    if not pools.take(tx, pool.id, disk.size):
        raise pools.full(pool)
    return pool


def _seen_address(asked: Adoption, seen: UnmanagedNic, network: Network) -> str | None:
    """The address that the guest has been seen with, where it is one of the network: it keeps it while it runs."""
    inside = [a for a in seen.addresses if network.cidr and IPAddress(a) in IPNetwork(network.cidr)]
    return inside[0] if asked.running and inside else None


def _nic(tx: Session, vm: Vm, asked: Adoption, zone: Zone, seen: UnmanagedNic, device: int) -> None:
    network = asked.networks.get(seen.mac.lower())
    if network is None:
        raise InvalidValue(
            f"The NIC {seen.mac} has no network: send nicnetworklist[0].nic={seen.mac} and .network, for each NIC"
        )
    nics.check_network(tx, vm, network)
    nics.check_name(tx, vm, network)
    vlan = (network.broadcast or "").rpartition("/")[2]
    if seen.vlan and vlan and vlan != str(seen.vlan):
        raise InvalidValue(f"The NIC {seen.mac} is in VLAN {seen.vlan}, the network {network.name} is {vlan}")
    wanted = asked.addresses.get(seen.mac.lower()) or _seen_address(asked, seen, network)
    nic = add_nic(tx, vm, network, zone, device=device, default=device == 0, wanted=wanted)
    if asked.running and nic.mac == seen.mac.lower():
        return
    own = addresses.guest_mac(zone, network.id, nic.address)[:6]
    if seen.mac.lower().startswith(own):  # of the cloud's own making: it would meet the one that is made next
        if asked.running:
            raise InvalidValue(
                f"The NIC {seen.mac} has a MAC of this cloud's making, which goes with another address than "
                f"{nic.address}: say with nicipaddresslist which one it has, or shut the machine down first"
            )
        return
    if (
        asked.forced
        and not asked.running
        and tx.scalar(select(Nic.id).where(Nic.mac == seen.mac.lower(), Nic.removed.is_(None)).limit(1))
    ):
        return
    nic.mac = nics.mac_of(tx, zone, seen.mac) or nic.mac
    tx.flush()
