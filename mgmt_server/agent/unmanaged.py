"""All machines of this host as they are, whoever started them."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import libvirt

from mgmt_server.agent.devices import disk_elements, source_of, target_of
from mgmt_server.agent.guests import tree
from mgmt_server.agent.images import described
from mgmt_server.agent.storage import Storage
from mgmt_server.agent.virt import Virt, state_of, told
from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Unmanaged, UnmanagedDisk, UnmanagedNic

OS_ID = "{http://libosinfo.org/xmlns/libvirt/domain/1.0}os"


def describe(virt: Virt, storage: Storage) -> list[Unmanaged]:
    with told():
        domains = virt.connection().listAllDomains()
    found = []
    for domain in domains:
        try:
            found.append(_machine(domain, storage))
        except (libvirt.libvirtError, Failed):
            continue  # it went while we looked
    return found


def _machine(domain: Any, storage: Storage) -> Unmanaged:
    root = tree(domain, libvirt.VIR_DOMAIN_XML_SECURE)
    state = state_of(domain).state
    info = domain.info()
    graphics = root.find("devices/graphics[@type='vnc']")
    system = root.find(f".//{OS_ID}")
    return Unmanaged(
        name=domain.name(),
        uuid=domain.UUIDString(),
        state=state,
        cpus=info[3],
        memory=info[2] * 1024,
        os=system.get("id", "") if system is not None else "",
        disks=tuple(_disk(domain, d, storage) for d in disk_elements(root) if source_of(d)),
        nics=tuple(_nic(domain, n, state) for n in root.iterfind("devices/interface")),
        vnc_password=graphics.get("passwd", "") if graphics is not None else "",
    )


def _disk(domain: Any, element: Element, storage: Storage) -> UnmanagedDisk:
    source, target, driver = source_of(element), element.find("target"), element.find("driver")
    format = driver.get("type", "raw") if driver is not None else "raw"
    pool, name = storage.pool_of(source)
    return UnmanagedDisk(
        label=target_of(element),
        source=source,
        size=_size(domain, element, source, format),
        bus=target.get("bus", "") if target is not None else "",
        format=format,
        pool=pool,
        name=name,
    )


def _size(domain: Any, element: Element, source: str, format: str) -> int:
    try:
        return int(domain.blockInfo(target_of(element))[0])
    except libvirt.libvirtError:
        pass  # not running, on what libvirt does not look into
    try:
        return int(described(source, format)["virtual-size"])
    except Failed:
        return 0


def _nic(domain: Any, element: Element, state: str) -> UnmanagedNic:
    mac, source, model = element.find("mac"), element.find("source"), element.find("model")
    tag = element.find("vlan/tag")
    address = mac.get("address", "") if mac is not None else ""
    bridge = ""
    if source is not None:
        bridge = source.get("bridge") or source.get("network") or source.get("dev") or ""
    return UnmanagedNic(
        mac=address,
        bridge=bridge,
        model=model.get("type", "") if model is not None else "",
        vlan=int(tag.get("id", "0")) if tag is not None else _vlan_of(bridge),
        addresses=_addresses(domain, address) if state == "Running" else (),
    )


def _vlan_of(bridge: str) -> int:
    """As our bridges of VLANs are named."""
    number = bridge.rpartition("-")[2] if bridge.startswith("br") and not bridge.startswith("brvx-") else ""
    return int(number) if number.isdigit() and int(number) < 4095 else 0


def _addresses(domain: Any, mac: str) -> tuple[str, ...]:
    """As the host's own table of neighbours knows them; a guest's agent is not waited for."""
    try:
        found = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP)
    except libvirt.libvirtError:
        return ()
    return tuple(
        a["addr"] for i in found.values() if i["hwaddr"].lower() == mac.lower() for a in i["addrs"] or () if a["addr"]
    )
