"""How large disks may be, and how many operations a second their owners may choose."""

from __future__ import annotations

from mgmt_server.errors import InvalidValue
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Volume

LARGEST = Setting("storage.max.volume.size", "The largest disk, in GiB", least=1)
LEAST_CUSTOM = Setting("custom.diskoffering.size.min", "The smallest disk of a size that users choose, in GiB", least=1)
MOST_CUSTOM = Setting("custom.diskoffering.size.max", "The largest disk of a size that users choose, in GiB", least=1)
GIB = 2**30


def size_of(offering: DiskOffering, size: int | None, least: int = 0) -> int:
    """Bytes of a new disk. `least`: what it has to hold, such as a snapshot; GiB are rounded up to that.

    Raises InvalidValue for a size that is missing, out of range, or not the caller's to choose.
    """
    if not offering.customized:
        if size is not None and size * GIB != offering.size:
            raise InvalidValue(
                f"The disk offering {offering.name} has a size of its own, {offering.size // GIB} GiB: leave size out, "
                "or choose an offering that is customized"
            )
        return checked(max(offering.size, least))
    if size is None:
        if least:
            return checked(least)
        raise InvalidValue("This disk offering requires a custom size specified")
    check_custom(size)
    if size * GIB < least:
        raise InvalidValue(f"size={size} GiB is less than the {-(-least // GIB)} GiB that the disk has to hold")
    return checked(size * GIB)


def check_custom(size: int) -> None:
    """Raises InvalidValue for a size (GiB) that users may not choose."""
    least, most = LEAST_CUSTOM.number(), MOST_CUSTOM.number()
    if not least <= size <= most:
        raise InvalidValue(f"Volume size: {size} GB is out of allowed range. Min: {least}. Max: {most}")


def checked(size: int) -> int:
    """Bytes that are no more than the largest disk has."""
    if size > LARGEST.number() * GIB:
        raise InvalidValue(
            f"The disk would have {-(-size // GIB)} GiB: at most {LARGEST.number()} are allowed ({LARGEST.name})"
        )
    return size


def operations(
    offering: DiskOffering, least: int | None, most: int | None, before: Volume | None = None
) -> tuple[int | None, int | None]:
    """miniops and maxiops of a disk. Raises InvalidValue where they are not the caller's to choose."""
    if not offering.customized_iops:
        if least is not None or most is not None:
            raise InvalidValue(
                f"The disk offering {offering.name} leaves no operations a second to you: leave miniops and maxiops out"
            )
        return offering.min_iops, offering.max_iops
    if least is None and most is None:
        return (before.min_iops, before.max_iops) if before is not None else (None, None)
    if least is None or most is None or not 0 <= least <= most:
        raise InvalidValue("miniops and maxiops go together, miniops being no more than maxiops: send both, or neither")
    return least, most
