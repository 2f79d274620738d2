"""The system VM image on secondary storage: where it is, what is known of it, how it gets there."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.image.inspect import inspect
from mgmt_server.errors import Failed

NUMBERS = {"KVM": 3}  # hypervisor -> number of its system template
PROPERTIES = "template.properties"


@dataclass(frozen=True)
class SystemImage:
    path: str  # below the store
    checksum: str
    size: int  # bytes, virtual
    physical_size: int


def folder(hypervisor: str) -> str:
    number = NUMBERS.get(hypervisor)
    if number is None:
        raise Failed(f"there is no system VM image for hypervisor {hypervisor}: {', '.join(NUMBERS)} have one")
    return f"template/tmpl/1/{number}"


def find(store_url: str, hypervisor: str = "KVM") -> SystemImage | None:
    """The image that is on a store; None where there is none, or only a part of one."""
    content = nfs.read(store_url, f"{folder(hypervisor)}/{PROPERTIES}")
    if content is None:
        return None
    told = dict(line.split("=", 1) for line in content.decode(errors="replace").splitlines() if "=" in line)
    path = f"{folder(hypervisor)}/{told.get('filename', '')}"
    try:
        image = SystemImage(path, told.get("checksum", ""), int(told["virtualsize"]), int(told["physicalSize"]))
    except (KeyError, ValueError):
        return None
    return image if told.get("filename") and nfs.stat(store_url, path) == image.physical_size else None


def install_system(file: Path, store_url: str, hypervisor: str = "KVM") -> bool:
    """Put the image on the store unless it is there: whether something was done. Raises Failed, Unavailable."""
    if not file.is_file():
        raise Failed(f"{file} is no file: build the image first (`cloudwright systemvm build`)")
    seen = inspect(file, "QCOW2")
    checksum = _digest(file)
    there = find(store_url, hypervisor)
    if there is not None and there.checksum == checksum:
        return False
    name = f"{uuid5(NAMESPACE_URL, checksum)}.qcow2"
    nfs.put(file, store_url, f"{folder(hypervisor)}/{name}")
    number = NUMBERS[hypervisor]
    properties = {
        "filename": name,
        "description": f"SystemVM Template ({hypervisor})",
        "hvm": "true",
        "size": seen.physical_size,
        "id": number,
        "public": "true",
        "uniquename": f"routing-{number}",
        "virtualsize": seen.virtual_size,
        "physicalSize": seen.physical_size,
        "checksum": checksum,
        "qcow2": "true",
        "qcow2.filename": name,
        "qcow2.size": seen.physical_size,
        "qcow2.virtualsize": seen.virtual_size,
    }
    with tempfile.TemporaryDirectory(prefix="cloudwright-") as place:
        written = Path(place) / PROPERTIES
        written.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        nfs.put(written, store_url, f"{folder(hypervisor)}/{PROPERTIES}")
    if there is not None and there.path != f"{folder(hypervisor)}/{name}":
        nfs.remove(store_url, there.path)
    return True


def _digest(file: Path) -> str:
    with open(file, "rb") as source:
        return "{SHA-256}" + hashlib.file_digest(source, "sha256").hexdigest()
