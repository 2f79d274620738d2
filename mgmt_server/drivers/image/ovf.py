"""The description in an OVA: which disks its machine has, in which order, and which network each of its NICs names.

It comes from outside: it is read as plain XML, and what it names is looked up in the archive, never opened by its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError, fromstring

from mgmt_server.errors import Failed

LONGEST = 2 << 20  # bytes
HARDWARE = ("Item", "StorageItem", "EthernetPortItem")
DISK, ETHERNET = "17", "10"  # types of hardware
UNITS = {"": 1, "byte": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20, "gigabytes": 1 << 30}
POWER = re.compile(r"byte\s*\*\s*2\^(\d{1,2})")


@dataclass(frozen=True)
class Disk:
    name: str
    file: str  # of the archive; empty for a blank disk
    size: int  # bytes, as the description has it


@dataclass(frozen=True)
class Nic:
    number: int  # what the description calls it: InstanceID
    name: str
    network: str


@dataclass(frozen=True)
class Described:
    """A machine: its disks in order, the one that it starts from first, and its NICs in order."""

    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()


def described(content: bytes) -> Described:
    """Raises Failed for what is no description, or one of something else than one machine."""
    root = _parsed(content)
    machines = [e for e in root.iter() if _tag(e) == "VirtualSystem"]
    if len(machines) > 1:
        raise Failed(f"the archive describes {len(machines)} machines: export each by itself")
    files = dict(_file(e) for e in root.iter() if _tag(e) == "File")
    disks = {_attribute(e, "diskId"): _disk(e, files) for e in root.iter() if _tag(e) == "Disk"}
    hardware = [_fields(e) for e in root.iter() if _tag(e) in HARDWARE]
    used = [_of_item(item, disks) for item in _in_order(hardware)]
    nics = tuple(_nic(item) for item in hardware if item.get("ResourceType") == ETHERNET)
    if len({n.number for n in nics}) < len(nics):
        raise Failed("the archive's description gives two NICs the same InstanceID")
    return Described(tuple(used or disks.values()), nics)


def _parsed(content: bytes) -> Element:
    if len(content) > LONGEST:
        raise Failed(f"the archive's description has {len(content)} bytes: at most {LONGEST} are read")
    text = content.decode("utf-8-sig", errors="replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text or "\0" in text:  # no entities: nothing is expanded, nothing fetched
        raise Failed("the archive's description is refused: it may have elements, attributes and text alone")
    try:
        return fromstring(text)  # noqa: S314  see above
    except ParseError as error:
        raise Failed(f"the archive's description is no XML: {error}") from None


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _attribute(element: Element, name: str) -> str:
    return next((v for k, v in element.attrib.items() if k.rpartition("}")[2] == name), "")


def _fields(item: Element) -> dict[str, str]:
    return {_tag(e): (e.text or "").strip() for e in item}


def _file(element: Element) -> tuple[str, str]:
    if _attribute(element, "chunkSize"):
        raise Failed("a disk of the archive is cut into chunks: export it in whole files")
    return _attribute(element, "id"), unquote(_attribute(element, "href"))


def _disk(element: Element, files: dict[str, str]) -> Disk:
    name, file = _attribute(element, "diskId"), _attribute(element, "fileRef")
    if _attribute(element, "parentRef"):
        raise Failed(f"the disk {name[:100]} holds only what differs from another one: export it with all that it has")
    if file and file not in files:
        raise Failed(f"the disk {name[:100]} is in a file that the archive's description does not name")
    return Disk(name, files[file] if file else "", _size(element, name))


def _size(element: Element, name: str) -> int:
    text, unit = _attribute(element, "capacity"), _attribute(element, "capacityAllocationUnits").strip().lower()
    power = POWER.fullmatch(unit)
    factor = 1 << int(power[1]) if power else UNITS.get(unit)
    if not text.isdecimal() or len(text) > 18 or factor is None:
        raise Failed(f"the size of the disk {name[:100]} cannot be read: {text[:50]!r} in units of {unit[:50]!r}")
    return int(text) * factor


def _in_order(hardware: list[dict[str, str]]) -> list[dict[str, str]]:
    """Items of disks by their controllers' order and their places there."""
    controllers = [item.get("InstanceID", "") for item in hardware]

    def place(item: dict[str, str]) -> tuple[int, int]:
        parent, address = item.get("Parent", ""), item.get("AddressOnParent", "")
        at = controllers.index(parent) if parent in controllers else len(controllers)
        return at, int(address) if address.isdecimal() and len(address) < 9 else 0

    return sorted((i for i in hardware if i.get("ResourceType") == DISK), key=place)


def _of_item(item: dict[str, str], disks: dict[str, Disk]) -> Disk:
    found = disks.get(item.get("HostResource", "").rpartition("/")[2])
    if found is None:
        raise Failed(f"{item.get('ElementName', 'a disk')[:100]} is no disk that the archive's description has")
    return found


def _nic(item: dict[str, str]) -> Nic:
    number = item.get("InstanceID", "")
    if not number.isdecimal() or len(number) > 9:
        raise Failed(f"the NIC {item.get('ElementName', '')[:100]} has no InstanceID")
    return Nic(int(number), item.get("ElementName", "")[:255], item.get("Connection", "")[:255])
