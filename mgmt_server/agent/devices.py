"""Disks, drives and NICs of a machine as libvirt's XML: for a machine that starts, and for one that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement

from mgmt_server.protocol.machine import Disk, Nic

NIC_MODEL = re.compile(r"virtio|e1000|rtl8139")
PREFIXES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd"}
CACHES = ("none", "writeback", "writethrough", "directsync", "unsafe")
LARGEST_SECTION = 26  # names of one letter
# what Disk.limits calls it -> what libvirt calls it
LIMITS = {
    "bytes_read": "read_bytes_sec",
    "bytes_write": "write_bytes_sec",
    "iops_read": "read_iops_sec",
    "iops_write": "write_iops_sec",
    "bytes_read_max": "read_bytes_sec_max",
    "bytes_write_max": "write_bytes_sec_max",
    "iops_read_max": "read_iops_sec_max",
    "iops_write_max": "write_iops_sec_max",
    "bytes_read_max_length": "read_bytes_sec_max_length",
    "bytes_write_max_length": "write_bytes_sec_max_length",
    "iops_read_max_length": "read_iops_sec_max_length",
    "iops_write_max_length": "write_iops_sec_max_length",
}


def disk_element(disk: Disk, source: str, bus: str, target: str, backing: str = "") -> Element:
    """`backing`: the file that a disk on nfs:// stands on, as a URL."""
    remote = is_remote(source)
    element = Element("disk", type="network" if remote else "file", device="disk")
    # a live migration is only safe without the host's cache; QEMU's own NFS has none
    cache = disk.cache if disk.cache in CACHES else "writeback" if remote else "none"
    driver = SubElement(element, "driver", name="qemu", type="qcow2", cache=cache, discard="unmap")
    if disk.io and not remote and (disk.io != "native" or cache in ("none", "directsync")):
        driver.set("io", disk.io)  # QEMU refuses native with a cache, and its own NFS knows none of them
    if disk.threaded and bus == "virtio":
        driver.set("iothread", "1")
    put_source(element, source, backing)
    SubElement(element, "target", dev=target, bus=bus)
    if disk.device == 0:
        SubElement(element, "boot", order="1")
    if disk.serial:
        SubElement(element, "serial").text = disk.serial[:20]
    tune = limits(disk)
    if tune:
        inner = SubElement(element, "iotune")
        for name, value in tune.items():
            SubElement(inner, name).text = str(value)
    return element


def limits(disk: Disk) -> dict[str, int]:
    """libvirt's names of what is limited. Where reading and writing have limits of their own, the total has none."""
    found = {LIMITS[name]: value for name, value in disk.limits.items() if name in LIMITS and value > 0}
    for total, kind in ((disk.bytes_per_second, "bytes_sec"), (disk.operations_per_second, "iops_sec")):
        if total and not any(f"{way}_{kind}" in found for way in ("read", "write")):
            found[f"total_{kind}"] = total
    # a burst is one above a limit: without that QEMU refuses it
    for name in [n for n in found if n.endswith("_max") and n.removesuffix("_max") not in found]:
        del found[name]
    for name in [n for n in found if n.endswith("_max_length") and n.removesuffix("_length") not in found]:
        del found[name]
    return found


def is_remote(source: str) -> bool:
    return source.startswith("nfs://")


def put_source(element: Element, source: str, backing: str = "") -> None:
    """Have a disk element name this file, and nothing else."""
    for tag in ("source", "backingStore", "mirror"):
        for old in element.findall(tag):
            element.remove(old)
    element.set("type", "network" if is_remote(source) else "file")
    where = next((n for n, child in enumerate(element) if child.tag == "target"), len(element))
    if not source:
        return
    element.insert(where, _source(source))
    if is_remote(source) and element.get("device") == "disk":
        # libvirt looks into files for what they stand on, and not into nfs://: it would start the guest on an empty
        # disk
        element.insert(where + 1, _backing(backing))


def _source(source: str) -> Element:
    if not is_remote(source):
        return Element("source", file=source)
    parts = urlsplit(source)
    inner = Element("source", protocol="nfs", name=parts.path)
    SubElement(inner, "host", name=parts.hostname or "")
    SubElement(inner, "identity", user="+0", group="+0")
    return inner


def _backing(backing: str) -> Element:
    below = Element("backingStore")
    if backing:
        below.set("type", "network")
        SubElement(below, "format", type="qcow2" if backing.endswith(".qcow2") else "raw")
        below.append(_source(backing))
        SubElement(below, "backingStore")
    return below


def source_of(element: Element) -> str:
    """The file that a disk element names, as `put_source` takes it; empty for a drive with nothing in it."""
    source = element.find("source")
    if source is None:
        return ""
    if source.get("protocol") == "nfs":
        host = source.find("host")
        name = source.get("name", "")
        return f"nfs://{host.get('name') if host is not None else ''}/{name.lstrip('/')}"
    return source.get("file") or source.get("dev") or source.get("name") or ""


def sources_of(root: Element) -> set[str]:
    """All files that a machine has open: those of its disks and drives, what they stand on, what they are copied to."""
    return {source_of(each) for disk in root.iterfind("devices/disk") for each in disk.iter()} - {""}


def cdrom_element(iso: str, bus: str = "ide") -> Element:
    """A drive that is always there, so that an ISO can be put into it while the machine runs."""
    element = Element("disk", type="network" if is_remote(iso) else "file", device="cdrom")
    SubElement(element, "driver", name="qemu", type="raw")
    if iso:
        element.append(_source(iso))
    SubElement(element, "target", dev="hdc" if bus == "ide" else "sda", bus=bus)
    SubElement(element, "readonly")
    SubElement(element, "boot", order="2")
    return element


def nic_element(nic: Nic, bridge: str, model: str) -> Element:
    element = Element("interface", type="bridge")
    SubElement(element, "source", bridge=bridge)
    SubElement(element, "mac", address=nic.mac)
    kind = model if NIC_MODEL.fullmatch(model) else "virtio"
    SubElement(element, "model", type=kind)
    if kind == "virtio" and (nic.queues > 1 or nic.packed):
        driver = SubElement(element, "driver")
        if nic.queues > 1:
            driver.set("queues", str(nic.queues))
        if nic.packed:
            driver.set("packed", "on")
    SubElement(element, "rom", enabled="no")  # else the firmware runs a network boot program first
    if nic.mtu:
        SubElement(element, "mtu", size=str(nic.mtu))
    if nic.rate:
        limit = SubElement(element, "bandwidth")
        for direction in ("inbound", "outbound"):
            SubElement(limit, direction, average=str(nic.rate * 125), peak=str(nic.rate * 125))  # KB/s
    return element


def free_targets(bus: str, taken: set[str]) -> Iterator[str]:
    """Names that no disk has yet. hdc and sda are the CD drive's."""
    for number in range(LARGEST_SECTION):
        name = PREFIXES[bus] + chr(ord("a") + number)
        if name not in taken and name != "hdc" and not (bus == "sata" and name == "sda"):
            yield name


def disk_elements(root: Element) -> list[Element]:
    """The disks of a machine, its CD drive not among them."""
    return [d for d in root.iterfind("devices/disk") if d.get("device", "disk") == "disk"]


def disk_at(root: Element, source: str) -> Element | None:
    return next((d for d in disk_elements(root) if source_of(d) == source), None)


def target_of(element: Element) -> str:
    target = element.find("target")
    return target.get("dev", "") if target is not None else ""


def nic_with(root: Element, mac: str) -> Element | None:
    for each in root.iterfind("devices/interface"):
        found = each.find("mac")
        if found is not None and found.get("address", "").lower() == mac.lower():
            return each
    return None
