"""How figures are spoken, and from where on something counts as too full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from mgmt_server.allocation.thresholds import CPU_FULL, MEMORY_FULL, POOL_FULL, PROMISED_FULL
from mgmt_server.model.settings import Scope
from mgmt_server.resources.alert.conditions import CPU, MEMORY, POOL_PROMISED, POOL_USED

GIB = 1 << 30


def times(factor: float) -> str:
    return f" (x{factor:.1f})" if factor > 1 else ""


def ghz(mhz: float, factor: float = 1) -> str:
    return f"{mhz / 1000:.2f} Ghz{times(factor)}"


def gigabytes(count: float, factor: float = 1) -> str:
    return f"{count / GIB:.2f} GB{times(factor)}"


def from_kib(count: float, unit: str = "GB") -> str:
    return f"{count / (1 << (20 if unit == 'GB' else 10)):.2f} {unit}"


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole if whole else 0:.2f}%"


@dataclass(frozen=True)
class Load:
    """What one host has, uses and has promised: MHz and bytes. `used` is None where nothing was measured."""

    cpu: int
    cpu_capacity: int
    cpu_used: float | None
    cpu_allocated: int
    memory: int
    memory_capacity: int
    memory_used: float | None
    memory_allocated: int


def thresholds(loads: Sequence[Load], cluster: int | None) -> dict[str, bool]:
    """The eight marks of hosts, clusters and zones."""
    own = [Scope("Cluster", cluster)] if cluster is not None else []
    found: dict[str, bool] = {}
    for kind, told, full in (("cpu", CPU, CPU_FULL), ("memory", MEMORY, MEMORY_FULL)):
        used = sum(getattr(x, f"{kind}_used") or 0 for x in loads)
        there = sum(getattr(x, kind) for x in loads)
        promised = sum(getattr(x, f"{kind}_allocated") for x in loads)
        capacity = sum(getattr(x, f"{kind}_capacity") for x in loads)
        found |= {
            f"{kind}threshold": used > told.fraction(*own) * there,
            f"{kind}disablethreshold": used > full.fraction(*own) * there,
            f"{kind}allocatedthreshold": promised > told.fraction(*own) * capacity,
            f"{kind}allocateddisablethreshold": promised > full.fraction(*own) * capacity,
        }
    return found


def pool_marks(
    capacity: int, used: int, allocated: int, factor: float, pool: int, zone: int, cluster: int | None
) -> dict[str, bool]:
    own = [Scope("Cluster", cluster)] if cluster is not None else []
    here = (Scope("StoragePool", pool), Scope("Zone", zone))
    promised = capacity * factor
    return {
        "storageusagethreshold": used > POOL_USED.fraction(*own) * capacity,
        "storageusagedisablethreshold": used > POOL_FULL.fraction(*here) * capacity,
        "storageallocatedthreshold": allocated > POOL_PROMISED.fraction(*own) * promised,
        "storageallocateddisablethreshold": allocated > PROMISED_FULL.fraction(*here) * promised,
    }


def summed(loads: Sequence[Load]) -> dict[str, str]:
    """Totals of clusters and zones. What nobody measured is left out."""
    found = {
        "cputotal": ghz(sum(x.cpu for x in loads)),
        "cpuallocated": percent(sum(x.cpu_allocated for x in loads), sum(x.cpu_capacity for x in loads)),
        "memorytotal": gigabytes(sum(x.memory for x in loads)),
        "memoryallocated": percent(sum(x.memory_allocated for x in loads), sum(x.memory_capacity for x in loads)),
    }
    for kind in ("cpu", "memory"):
        measured = [x for x in loads if getattr(x, f"{kind}_used") is not None]
        shares = [getattr(x, f"{kind}_used") / (getattr(x, kind) or 1) for x in measured]
        mean = sum(shares) / len(shares) if shares else 0
        if mean:
            found[f"{kind}used"] = percent(mean, 1)
            found[f"{kind}maxdeviation"] = percent(max(shares) - mean, mean)
    return found


def imbalance(loads: Sequence[Load]) -> str:
    """How unevenly memory is promised: the standard deviation over hosts, in shares of the mean."""
    shares = [x.memory_allocated / (x.memory_capacity or 1) for x in loads]
    mean = sum(shares) / len(shares) if shares else 0
    deviation = sqrt(sum((s - mean) ** 2 for s in shares) / len(shares)) if shares else 0
    return percent(deviation, mean)
