"""What a disk may do in a second, how its host caches it, and how its space is given: by its offering."""

from __future__ import annotations

from dataclasses import replace

from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.vm import Volume
from mgmt_server.protocol.machine import Disk

RATES = {
    f"{what}_{way}{burst}": f"{what}_{way}_rate{burst}"
    for what in ("bytes", "iops")
    for way in ("read", "write")
    for burst in ("", "_max", "_max_length")
}


def limited(disk: Disk, volume: Volume, offering: DiskOffering | None) -> Disk:
    """The disk with the limits of its offering, and the operations a second that its owner chose where it leaves that
    open."""
    found = {name: value for name, column in RATES.items() if (value := getattr(offering, column, None))}
    cache = offering.cache_mode if offering is not None else ""
    return replace(
        disk,
        limits=found,
        operations_per_second=volume.max_iops or (offering.max_iops if offering else None) or 0,
        cache=cache if cache in ("writeback", "writethrough") else "",
        provisioning=offering.provisioning if offering is not None else volume.provisioning,
    )
