"""A machine as libvirt's XML. Built from elements, never from pasted text, so that no value can become markup.

Of a machine's details only those in ALLOWED reach the XML, and only with values of the given form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from mgmt_server.protocol.machine import Disk, Machine, Nic

NAMESPACE = "urn:cloudwright:machine"
AGENT_PORT = "cloudwright.agent.0"
OEM_PREFIX = "cloudwright:"
OEM_LENGTH = 200  # bytes of one SMBIOS string; some firmware cuts longer ones
VNC_PASSWORD = 8  # characters that the protocol looks at

ALLOWED = {
    "rootDiskController": re.compile(r"virtio|scsi|ide|sata"),
    "dataDiskController": re.compile(r"virtio|scsi|ide|sata"),
    "nicAdapter": re.compile(r"virtio|e1000|rtl8139"),
    "video.hardware": re.compile(r"vga|cirrus|virtio|qxl"),
    "video.ram": re.compile(r"\d{4,6}"),  # KiB
    "keyboard": re.compile(r"[a-z]{2}(-[a-z]{2})?"),
    "cpu.corespersocket": re.compile(r"[1-9]\d{0,2}"),
}
PREFIXES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd"}

register_namespace("cw", NAMESPACE)


@dataclass(frozen=True)
class Surroundings:
    """What a machine's XML takes from its host. `disks` and `bridges` stand in the order of the machine's own."""

    accelerator: str  # kvm, qemu
    emulator: str
    disks: tuple[str, ...]  # paths, or nfs:// URLs
    bridges: tuple[str, ...]
    console_log: str
    iso: str = ""
    vnc_listen: str = "127.0.0.1"


def build(machine: Machine, host: Surroundings) -> str:
    details = {k: v for k, v in machine.details.items() if k in ALLOWED and ALLOWED[k].fullmatch(v)}
    root = Element("domain", type=host.accelerator)
    _text(root, "name", machine.name)
    _text(root, "uuid", machine.uuid)
    SubElement(SubElement(root, "metadata"), f"{{{NAMESPACE}}}machine", kind=machine.kind)
    _text(root, "memory", str(machine.memory // 1024), unit="KiB")
    _text(root, "vcpu", str(machine.cpus))
    if host.accelerator == "kvm":
        # relative weight; hosts that only emulate are test beds without the cgroup for it
        _text(SubElement(root, "cputune"), "shares", str(max(2, min(262144, machine.cpus * machine.speed))))
    _firmware(root, machine)
    features = SubElement(root, "features")
    for name in ("acpi", "apic", "pae"):
        SubElement(features, name)
    _cpu(root, machine, host, details)
    SubElement(root, "clock", offset="localtime" if "windows" in machine.os.lower() else "utc")
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(root, event, action)
    _devices(root, machine, host, details)
    return tostring(root, encoding="unicode")


def _text(parent: Element, tag: str, text: str, **attributes: str) -> Element:
    child = SubElement(parent, tag, attributes)
    child.text = text
    return child


def _firmware(root: Element, machine: Machine) -> None:
    system = SubElement(root, "os")
    _text(system, "type", "hvm", arch="x86_64", machine="pc")
    entries = oem_strings(machine.boot_arguments) if machine.kind != "User" else []
    info = SubElement(root, "sysinfo", type="smbios")
    about = SubElement(info, "system")
    for name, value in (("manufacturer", "Cloudwright"), ("product", "Cloudwright machine"), ("uuid", machine.uuid)):
        _text(about, "entry", value, name=name)
    if entries:
        strings = SubElement(info, "oemStrings")
        for entry in entries:
            _text(strings, "entry", entry)
    SubElement(system, "smbios", mode="sysinfo")


def oem_strings(arguments: str) -> list[str]:
    """The words of the boot arguments in strings of bounded length, each with the prefix that the machine looks for."""
    lines: list[str] = []
    for word in arguments.split():
        if lines and len(lines[-1].encode()) + 1 + len(word.encode()) <= OEM_LENGTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f"{OEM_PREFIX}{word}")
    return lines


def _cpu(root: Element, machine: Machine, host: Surroundings, details: dict[str, str]) -> None:
    if host.accelerator == "kvm":
        cpu = SubElement(root, "cpu", mode="host-model")
    else:
        cpu = SubElement(root, "cpu", mode="custom", match="exact")
        _text(cpu, "model", "qemu64")  # "max" is slower to emulate
    cores = int(details.get("cpu.corespersocket", "1"))
    if machine.cpus % cores == 0:
        SubElement(cpu, "topology", sockets=str(machine.cpus // cores), cores=str(cores), threads="1")


def _devices(root: Element, machine: Machine, host: Surroundings, details: dict[str, str]) -> None:
    devices = SubElement(root, "devices")
    _text(devices, "emulator", host.emulator)
    taken: dict[str, int] = {}
    buses = set()
    for disk, source in zip(machine.disks, host.disks, strict=True):
        name = "rootDiskController" if disk.device == 0 else "dataDiskController"
        bus = details.get(name, disk.bus if disk.bus in PREFIXES else "virtio")
        buses.add(bus)
        _disk(devices, disk, source, bus, _target(bus, taken))
    if "scsi" in buses:
        SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    if host.iso:
        _cdrom(devices, host.iso)
    for nic, bridge in zip(machine.nics, host.bridges, strict=True):
        _nic(devices, nic, bridge, details.get("nicAdapter", nic.model))
    _consoles(devices, machine, host, details)
    memory = SubElement(devices, "memballoon", model="virtio")
    SubElement(memory, "stats", period="10")
    _text(SubElement(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")


def _target(bus: str, taken: dict[str, int]) -> str:
    prefix = PREFIXES[bus]
    number = taken.get(prefix, 0)
    if prefix == "hd" and number == 2:
        number += 1  # hdc is the CD drive
    taken[prefix] = number + 1
    return prefix + chr(ord("a") + number)


def _disk(devices: Element, disk: Disk, source: str, bus: str, target: str) -> None:
    remote = source.startswith("nfs://")
    element = SubElement(devices, "disk", type="network" if remote else "file", device="disk")
    # a live migration is only safe without the host's cache; QEMU's own NFS has none
    cache = "writeback" if remote else "none"
    SubElement(element, "driver", name="qemu", type="qcow2", cache=cache, discard="unmap")
    _source(element, source)
    if remote:
        _backing(element, disk, source)
    SubElement(element, "target", dev=target, bus=bus)
    if disk.device == 0:
        SubElement(element, "boot", order="1")
    if disk.serial:
        _text(element, "serial", disk.serial[:20])
    if disk.bytes_per_second or disk.operations_per_second:
        tune = SubElement(element, "iotune")
        if disk.bytes_per_second:
            _text(tune, "total_bytes_sec", str(disk.bytes_per_second))
        if disk.operations_per_second:
            _text(tune, "total_iops_sec", str(disk.operations_per_second))


def _source(element: Element, source: str) -> None:
    if source.startswith("nfs://"):
        parts = urlsplit(source)
        inner = SubElement(element, "source", protocol="nfs", name=parts.path)
        SubElement(inner, "host", name=parts.hostname or "")
        SubElement(inner, "identity", user="+0", group="+0")
    else:
        SubElement(element, "source", file=source)


def _backing(element: Element, disk: Disk, source: str) -> None:
    # libvirt looks into files for what they stand on, and not into nfs://: it would start the guest on an empty disk
    below = SubElement(element, "backingStore")
    if disk.backing:
        below.set("type", "network")
        SubElement(below, "format", type="qcow2" if disk.backing.endswith(".qcow2") else "raw")
        _source(below, f"{source.rpartition('/')[0]}/{disk.backing}")
        SubElement(below, "backingStore")


def _cdrom(devices: Element, iso: str) -> None:
    element = SubElement(devices, "disk", type="network" if iso.startswith("nfs://") else "file", device="cdrom")
    SubElement(element, "driver", name="qemu", type="raw")
    _source(element, iso)
    SubElement(element, "target", dev="hdc", bus="ide")
    SubElement(element, "readonly")
    SubElement(element, "boot", order="2")


def _nic(devices: Element, nic: Nic, bridge: str, model: str) -> None:
    element = SubElement(devices, "interface", type="bridge")
    SubElement(element, "source", bridge=bridge)
    SubElement(element, "mac", address=nic.mac)
    SubElement(element, "model", type=model if ALLOWED["nicAdapter"].fullmatch(model) else "virtio")
    SubElement(element, "rom", enabled="no")  # else the firmware runs a network boot program first
    if nic.mtu:
        SubElement(element, "mtu", size=str(nic.mtu))
    if nic.rate:
        limit = SubElement(element, "bandwidth")
        for direction in ("inbound", "outbound"):
            SubElement(limit, direction, average=str(nic.rate * 125), peak=str(nic.rate * 125))  # KB/s


def _consoles(devices: Element, machine: Machine, host: Surroundings, details: dict[str, str]) -> None:
    serial = SubElement(devices, "serial", type="file")
    SubElement(serial, "source", path=host.console_log, append="on")
    SubElement(serial, "target", port="0")
    ports = ["org.qemu.guest_agent.0"] if machine.kind == "User" else ["org.qemu.guest_agent.0", AGENT_PORT]
    for name in ports:
        # without a path libvirt makes one that the machine's confinement allows
        channel = SubElement(devices, "channel", type="unix")
        SubElement(channel, "target", type="virtio", name=name)
    graphics = SubElement(devices, "graphics", type="vnc", port="-1", autoport="yes", listen=host.vnc_listen)
    if machine.vnc_password:
        graphics.set("passwd", machine.vnc_password[:VNC_PASSWORD])
    if "keyboard" in details:
        graphics.set("keymap", details["keyboard"])
    video = SubElement(devices, "video")
    SubElement(video, "model", type=details.get("video.hardware", "vga"), vram=details.get("video.ram", "16384"))
    if machine.kind == "User":
        SubElement(devices, "input", type="tablet", bus="usb")
