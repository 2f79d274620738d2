"""A machine as libvirt's XML. Built from elements, never from pasted text, so that no value can become markup.

Of a machine's details only those in ALLOWED reach the XML, and only with values of the given form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from mgmt_server.agent.devices import NIC_MODEL, PREFIXES, cdrom_element, disk_element, free_targets, nic_element
from mgmt_server.agent.firmware import Firmware
from mgmt_server.errors import Failed
from mgmt_server.protocol import extra
from mgmt_server.protocol.machine import Disk, Machine

NAMESPACE = "urn:cloudwright:machine"
AGENT_PORT = "cloudwright.agent.0"
OEM_PREFIX = "cloudwright:"
OEM_LENGTH = 200  # bytes of one SMBIOS string; some firmware cuts longer ones
VNC_PASSWORD = 8  # characters that the protocol looks at

# keyboards by the names that people say, and by QEMU's, which does not start with one that it does not know
KEYMAPS = {k: k for k in ("de", "de-ch", "en-us", "es", "fi", "fr", "fr-be", "fr-ch", "is", "it", "no", "pt")}
KEYMAPS |= {"us": "en-us", "uk": "en-gb", "jp": "ja", "nl-be": "nl", "es-latam": "es"}
ALLOWED = {
    "rootDiskController": re.compile(r"virtio|scsi|ide|sata"),
    "dataDiskController": re.compile(r"virtio|scsi|ide|sata"),
    "nicAdapter": NIC_MODEL,
    "video.hardware": re.compile(r"vga|cirrus|virtio|qxl"),
    "video.ram": re.compile(r"\d{4,6}"),  # KiB
    "keyboard": re.compile("|".join(KEYMAPS)),
    "cpu.corespersocket": re.compile(r"[1-9]\d{0,2}"),
}
PERIOD = 100_000  # microseconds, of which a CPU with a limit may have its quota
HOT_PLUGS = 16  # of a q35 board, which takes a device at run time only where a port was left for it

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
    backings: dict[str, str] = field(default_factory=dict)  # of disks on nfs://: what they stand on
    firmware: Firmware | None = None
    speed: int = 0  # MHz of its CPUs

    @property
    def board(self) -> str:
        return "q35" if self.firmware is not None and self.firmware.secure else "pc"


def quota(limit: int, speed: int) -> int:
    """Microseconds of each period that a CPU may run, so that it is worth `limit` MHz on a host of `speed`; -1: all.

    >>> quota(500, 2000), quota(1, 2000), quota(2000, 2000), quota(500, 0)
    (25000, 1000, -1, -1)
    """
    if limit >= speed:
        return -1
    return max(1000, PERIOD * limit // speed)  # libvirt takes no less


def build(machine: Machine, host: Surroundings) -> str:
    details = {k: v for k, v in machine.details.items() if k in ALLOWED and ALLOWED[k].fullmatch(v)}
    root = Element("domain", type=host.accelerator)
    _text(root, "name", machine.name)
    _text(root, "uuid", machine.uuid)
    SubElement(SubElement(root, "metadata"), f"{{{NAMESPACE}}}machine", kind=machine.kind)
    _text(root, "memory", str(max(machine.memory, machine.most_memory) // 1024), unit="KiB")
    _text(root, "currentMemory", str(machine.memory // 1024), unit="KiB")
    cpus = max(machine.cpus, machine.most_cpus)
    _text(root, "vcpu", str(cpus), **({"current": str(machine.cpus)} if cpus > machine.cpus else {}))
    if any(d.threaded for d in machine.disks):
        _text(root, "iothreads", "1")
    if host.accelerator == "kvm":
        # relative weight; hosts that only emulate are test beds without the cgroup for it
        tune = SubElement(root, "cputune")
        _text(tune, "shares", str(max(2, min(262144, machine.cpus * machine.speed))))
        if machine.speed_limit:
            _text(tune, "period", str(PERIOD))
            _text(tune, "quota", str(quota(machine.speed_limit, host.speed)))
    _firmware(root, machine, host)
    features = SubElement(root, "features")
    for name in ("acpi", "apic", "pae"):
        SubElement(features, name)
    if host.board == "q35":
        SubElement(features, "smm", state="on")
    _cpu(root, cpus, host, details)
    SubElement(root, "clock", offset="localtime" if "windows" in machine.os.lower() else "utc")
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(root, event, action)
    _devices(root, machine, host, details)
    for piece in machine.extra:
        extra.merge(root, piece)
    return tostring(root, encoding="unicode")


def _text(parent: Element, tag: str, text: str, **attributes: str) -> Element:
    child = SubElement(parent, tag, attributes)
    child.text = text
    return child


def _firmware(root: Element, machine: Machine, host: Surroundings) -> None:
    system = SubElement(root, "os")
    _text(system, "type", "hvm", arch="x86_64", machine=host.board)
    if host.firmware is not None:
        secure = {"secure": "yes"} if host.firmware.secure else {}
        _text(system, "loader", host.firmware.code, readonly="yes", type="pflash", **secure)
        SubElement(system, "nvram", template=host.firmware.variables)
    entries = oem_strings(machine.boot_arguments) if machine.kind != "User" else []
    info = SubElement(root, "sysinfo", type="smbios")
    about = SubElement(info, "system")
    told = {"manufacturer": machine.manufacturer, "product": machine.product, "uuid": machine.uuid}
    for name, value in told.items():
        if value:
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


def _cpu(root: Element, cpus: int, host: Surroundings, details: dict[str, str]) -> None:
    if host.accelerator == "kvm":
        cpu = SubElement(root, "cpu", mode="host-model")
    else:
        cpu = SubElement(root, "cpu", mode="custom", match="exact")
        _text(cpu, "model", "qemu64")  # "max" is slower to emulate
    cores = int(details.get("cpu.corespersocket", "1"))
    if cpus % cores == 0:
        SubElement(cpu, "topology", sockets=str(cpus // cores), cores=str(cores), threads="1")


def _devices(root: Element, machine: Machine, host: Surroundings, details: dict[str, str]) -> None:
    devices = SubElement(root, "devices")
    _text(devices, "emulator", host.emulator)
    taken: set[str] = set()
    buses = set()
    for disk, source in zip(machine.disks, host.disks, strict=True):
        bus = _bus(disk, host, details)
        buses.add(bus)
        target = next(free_targets(bus, taken), None)
        if target is None:
            raise Failed(f"{machine.name} has more disks than its {bus} can have")
        taken.add(target)
        devices.append(disk_element(disk, source, bus, target, host.backings.get(source, "")))
    if "scsi" in buses:
        SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    if host.board == "q35":
        SubElement(devices, "controller", type="pci", index="0", model="pcie-root")
        for number in range(1, HOT_PLUGS + 1):
            SubElement(devices, "controller", type="pci", index=str(number), model="pcie-root-port")
    devices.append(cdrom_element(host.iso, "ide" if host.board == "pc" else "sata"))
    for nic, bridge in zip(machine.nics, host.bridges, strict=True):
        devices.append(nic_element(nic, bridge, details.get("nicAdapter", nic.model)))
    _consoles(devices, machine, host, details)
    memory = SubElement(devices, "memballoon", model="virtio")
    SubElement(memory, "stats", period="10")
    _text(SubElement(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")


def _bus(disk: Disk, host: Surroundings, details: dict[str, str]) -> str:
    name = "rootDiskController" if disk.device == 0 else "dataDiskController"
    bus = details.get(name, disk.bus if disk.bus in PREFIXES else "virtio")
    return "sata" if bus == "ide" and host.board == "q35" else bus


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
        graphics.set("keymap", KEYMAPS[details["keyboard"]])
    video = SubElement(devices, "video")
    SubElement(video, "model", type=details.get("video.hardware", "vga"), vram=details.get("video.ram", "16384"))
    if machine.kind == "User":
        SubElement(devices, "input", type="tablet", bus="usb")
