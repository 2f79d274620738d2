"""What a disk may do in a second, how its host caches it, and how its space is given: by its offering."""

from __future__ import annotations

from dataclasses import replace

from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Volume
from mgmt_server.protocol.machine import Disk

RATES = {
    f"{what}_{way}{burst}": f"{what}_{way}_rate{burst}"
    for what in ("bytes", "iops")
    for way in ("read", "write")
    for burst in ("", "_max", "_max_length")
}


def _usual(name: str, text: str) -> Setting:
    return Setting(
        f"vm.disk.throttling.{name}", f"{text} a second, of users' disks whose offering does not say; 0: any", least=0
    )


USUAL = {
    "bytes_read": _usual("bytes_read_rate", "Bytes read"),
    "bytes_write": _usual("bytes_write_rate", "Bytes written"),
    "iops_read": _usual("iops_read_rate", "Reads"),
    "iops_write": _usual("iops_write_rate", "Writes"),
}


def limited(disk: Disk, volume: Volume, offering: DiskOffering | None, *, system: bool = False) -> Disk:
    """The disk with the limits of its offering, and the operations a second that its owner chose where it leaves that
    open; with the usual ones where neither says any. `system`: it is one of a system VM, which has none of those."""
    found = {name: value for name, column in RATES.items() if (value := getattr(offering, column, None))}
    operations = volume.max_iops or (offering.max_iops if offering else None) or 0
    if not system:
        for name, setting in USUAL.items():
            usual = setting.number()
            if usual > 0 and name not in found and not (operations and name.startswith("iops")):
                found[name] = usual
    cache = offering.cache_mode if offering is not None else ""
    return replace(
        disk,
        limits=found,
        operations_per_second=operations,
        cache=cache if cache in ("writeback", "writethrough") else "",
        provisioning=offering.provisioning if offering is not None else volume.provisioning,
    )
