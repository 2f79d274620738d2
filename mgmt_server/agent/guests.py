"""What is changed about a machine while it runs: disks, NICs, the CD drive, CPUs, memory, limits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import libvirt
import libvirt_qemu

from mgmt_server.agent import facts
from mgmt_server.agent.devices import (
    LIMITS,
    PREFIXES,
    cdrom_element,
    disk_at,
    disk_element,
    free_targets,
    limits,
    nic_element,
    nic_with,
    source_of,
    sources_of,
    target_of,
)
from mgmt_server.agent.domain import quota
from mgmt_server.agent.network import Network
from mgmt_server.agent.shaping import bounded
from mgmt_server.agent.storage import Storage
from mgmt_server.agent.virt import Virt, told
from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Disk, Nic, Pool

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
LETTING_GO = 90.0  # seconds for a guest to let go of a device; the server waits 120
ASKED_AGAIN = 10.0  # seconds after which a guest is asked again: one that boots does not hear it
WATCH = 0.25  # seconds between looks
TUNED = {*LIMITS.values(), "total_bytes_sec", "total_iops_sec"}


class Guests:
    def __init__(self, virt: Virt, storage: Storage, network: Network) -> None:
        self.virt, self.storage, self.network = virt, storage, network

    def running(self, name: str) -> Any:
        """libvirt's object. Raises Failed when it does not run here."""
        domain = self.virt.free(name)
        if domain is None or not domain.isActive():
            raise Failed(f"{name} does not run on this host")
        return domain

    def user_of(self, source: str) -> str:
        """The name of a machine that runs here and has this file open; empty: none has."""
        with told():
            active = self.virt.connection().listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        for domain in active:
            with told((libvirt.VIR_ERR_NO_DOMAIN,)):  # it went while we looked
                root = ElementTree.fromstring(domain.XMLDesc())  # noqa: S314  libvirt's own
                if source in sources_of(root):
                    return str(domain.name())
        return ""

    def disk_of(self, name: str, disk: Disk) -> tuple[Any, Element]:
        """The running machine, and its disk as it has it. Raises Failed when it does not have it."""
        domain = self.running(name)
        element = disk_at(tree(domain), self.storage.where(disk))
        if element is None:
            raise Failed(f"{name} does not have the disk {disk.name}")
        return domain, element

    # --- disks ------------------------------------------------------------------------------------------------------

    def attach_disk(self, name: str, disk: Disk) -> None:
        domain = self.running(name)
        source = self.storage.source(disk)
        root = tree(domain)
        if disk_at(root, source) is not None:
            return
        bus = disk.bus if disk.bus in PREFIXES else "virtio"
        target = next(free_targets(bus, {target_of(d) for d in root.iterfind("devices/disk")}), None)
        if target is None:
            raise Failed(f"{name} has as many disks as its {bus} can have: detach one first")
        backing = self.storage.backings([source]).get(source, "")
        if root.find("iothreads") is None:
            disk = replace(disk, threaded=False)  # the machine was started without such a thread
        element = disk_element(disk, source, bus, target, backing)
        for boot in element.findall("boot"):
            element.remove(boot)  # where a machine boots from is settled at its start
        with told():
            if bus == "scsi" and root.find("devices/controller[@type='scsi']") is None:
                domain.attachDeviceFlags("<controller type='scsi' model='virtio-scsi'/>", LIVE)
            domain.attachDeviceFlags(text(element), LIVE)

    def detach_disk(self, name: str, disk: Disk) -> None:
        domain = self.running(name)
        source = self.storage.where(disk)
        self._take(domain, lambda root: disk_at(root, source), f"the disk {disk.name}")

    def limit_disk(self, disk: Disk, name: str) -> None:
        domain, element = self.disk_of(name, disk)
        wanted = dict.fromkeys(TUNED, 0) | limits(disk)
        with told():
            domain.setBlockIoTune(target_of(element), wanted, LIVE)

    def change_iso(self, name: str, iso: str, pool: Pool | None = None) -> None:
        domain = self.running(name)
        source = self.storage.iso_source(iso, pool) if iso else ""
        drive = tree(domain).find("devices/disk[@device='cdrom']")
        if drive is None:
            raise Failed(f"{name} has no CD drive: stop and start it")
        if source_of(drive) == source:
            return
        target = drive.find("target")
        changed = cdrom_element(source, target.get("bus", "ide") if target is not None else "ide")
        put = changed.find("target")
        if put is not None:
            put.set("dev", target_of(drive))
        for boot in changed.findall("boot"):
            changed.remove(boot)
        changed.extend(drive.findall("boot"))
        with told():
            # a guest that locked its drive would else keep an ISO for ever
            domain.updateDeviceFlags(text(changed), LIVE | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE)

    # --- NICs -------------------------------------------------------------------------------------------------------

    def attach_nic(self, name: str, nic: Nic) -> None:
        domain = self.running(name)
        if nic_with(tree(domain), nic.mac) is not None:
            return
        (nic,) = bounded((nic,))
        with self.network.bridges((nic,)) as (bridge,), told():
            domain.attachDeviceFlags(text(nic_element(nic, bridge, nic.model)), LIVE)

    def detach_nic(self, name: str, nic: Nic) -> None:
        domain = self.running(name)
        self._take(domain, lambda root: nic_with(root, nic.mac), f"the NIC {nic.mac}")

    def _take(self, domain: Any, find: Callable[[Element], Element | None], what: str) -> None:
        """Ask the guest for a device until it has let go of it."""
        end, again = time.monotonic() + LETTING_GO, 0.0
        while True:
            element = find(tree(domain))
            if element is None:
                return
            now = time.monotonic()
            if now >= end:
                raise Failed(
                    f"{domain.name()} does not let go of {what}: it may be in use there; unmount it in the guest"
                )
            if now >= again:
                again = now + ASKED_AGAIN
                self._ask_for(domain, element)
            time.sleep(WATCH)

    @staticmethod
    def _ask_for(domain: Any, element: Element) -> None:
        try:
            with told((libvirt.VIR_ERR_DEVICE_MISSING,)):
                domain.detachDeviceFlags(text(element), LIVE)
        except Failed as error:
            if "in the process of unplug" not in str(error):
                raise

    # --- CPUs and memory --------------------------------------------------------------------------------------------

    def scale(self, name: str, cpus: int, speed: int, memory: int) -> None:
        domain = self.running(name)
        with told():
            most_cpus, most_memory = domain.maxVcpus(), domain.maxMemory() * 1024
            if cpus > most_cpus or memory > most_memory:
                raise Failed(
                    f"{name} was started for up to {most_cpus} CPUs and {most_memory >> 20} MiB: stop it to give it"
                    " more"
                )
            if domain.vcpusFlags(LIVE) != cpus:
                domain.setVcpusFlags(cpus, LIVE)
            domain.setMemoryFlags(memory // 1024, LIVE)
            if tree(domain).get("type") == "kvm" and speed > 0:
                parameters = {"cpu_shares": max(2, min(262144, cpus * speed))}
                if tree(domain).find("cputune/quota") is not None:
                    parameters["vcpu_quota"] = quota(speed, facts.cpu_speed())
                domain.setSchedulerParametersFlags(parameters, LIVE)


def tree(domain: Any, flags: int = 0) -> Element:
    with told():
        return ElementTree.fromstring(domain.XMLDesc(flags))  # noqa: S314  libvirt's own


def text(element: Element) -> str:
    return ElementTree.tostring(element, encoding="unicode")


# --- QEMU itself, for what libvirt has no words for -------------------------------------------------------------------


def monitor(domain: Any, command: str, **arguments: Any) -> Any:
    """QEMU's answer to a command of its monitor."""
    with told():
        said = json.loads(
            libvirt_qemu.qemuMonitorCommand(domain, json.dumps({"execute": command, "arguments": arguments}), 0)
        )
    if "error" in said:
        raise Failed(f"{domain.name()}: {command}: {said['error'].get('desc', said['error'])}")
    return said.get("return")


def node_of(domain: Any, element: Element) -> tuple[str, list[str]]:
    """(what QEMU calls the image of a disk, names of its bitmaps)."""
    alias = element.find("alias")
    name = alias.get("name", "") if alias is not None else ""
    for block in monitor(domain, "query-block"):
        inserted = block.get("inserted") or {}
        if name in str(block.get("qdev", "")).split("/") and inserted:
            bitmaps = [b["name"] for b in inserted.get("dirty-bitmaps", ()) if b.get("name")]
            return str(inserted["node-name"]), bitmaps
    raise Failed(f"{domain.name()} has no disk {name}")
