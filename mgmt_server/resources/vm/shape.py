"""How large a machine is: CPUs, speed and memory, from its offering and what the offering leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mgmt_server.errors import InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm

CHOSEN = ("cpuNumber", "cpuSpeed", "memory")  # what details say where the offering leaves it open
LIMITS = {"cpuNumber": ("mincpunumber", "maxcpunumber"), "memory": ("minmemory", "maxmemory")}
CPUS_AT_MOST, MEMORY_AT_MOST = "most_cpus", "most_memory"  # details: up to what a running machine grows
GROWTH = 4  # times what it starts with: a guest pays for memory that it might get
SCALING = Setting("enable.dynamic.scale.vm", "Whether machines that run may be given more CPUs and memory")
MOST_CPUS = Setting(
    "vm.serviceoffering.cpu.cores.max", "CPUs that a machine may have; 0: as many as its host", least=0, most=1024
)
MOST_MEMORY = Setting(
    "vm.serviceoffering.ram.size.max", "MiB of memory that a machine may have; 0: as much as its host", least=0
)


@dataclass(frozen=True)
class Shape:
    cpus: int
    speed: int  # MHz each
    memory: int  # MiB


def shape_of(offering: ServiceOffering, details: Mapping[str, Any]) -> Shape:
    """What a machine of the offering gets. Raises InvalidValue for what the offering does not allow."""
    if not offering.customized:
        given = [k for k in CHOSEN if k in details]
        if given:
            raise InvalidValue(f"The offering {offering.name} is fixed: leave {', '.join(given)} out of details")
        found = Shape(offering.cpus or 1, offering.speed or 0, offering.memory or 0)
    else:
        found = Shape(
            _number(offering, details, "cpuNumber", offering.cpus, 1),
            _number(offering, details, "cpuSpeed", offering.speed, 1),
            _number(offering, details, "memory", offering.memory, 32),
        )
    for name, have, setting in (("CPUs", found.cpus, MOST_CPUS), ("MiB", found.memory, MOST_MEMORY)):
        most = setting.number()
        if most and have > most:
            raise InvalidValue(f"The machine would have {have} {name}: the setting {setting.name} allows {most}")
    return found


def _number(offering: ServiceOffering, details: Mapping[str, Any], key: str, fixed: int | None, least: int) -> int:
    if fixed is not None:
        return fixed
    text = str(details.get(key, ""))
    if not text.isdecimal() or len(text) > 9 or int(text) < least:
        raise InvalidValue(f"The offering {offering.name} leaves {key} to you: send details[0].{key}, at least {least}")
    value = int(text)
    for name, wrong in zip(LIMITS.get(key, ()), (int.__lt__, int.__gt__), strict=False):
        limit = offering.details.get(name)
        if limit is not None and wrong(value, int(limit)):
            raise InvalidValue(f"{key}={value} is outside what the offering {offering.name} allows ({name} {limit})")
    return value


def grows(offering: ServiceOffering, template: Template, zone_id: int, wanted: bool) -> bool:
    """Whether a machine can be given more while it runs: its offering, its template and its zone have to agree."""
    if not wanted or not offering.dynamic_scaling or not template.dynamically_scalable:
        return False
    return SCALING.flag(Scope("Zone", zone_id))


def most_of(vm: Vm, offering: ServiceOffering, host: Host) -> Shape:
    """Up to what a running machine can grow on its host; decided when it starts, and the same as long as it runs."""
    open_ends = offering.details if offering.customized else {}
    cpus = int(open_ends.get("maxcpunumber") or MOST_CPUS.number() or GROWTH * vm.cpus)
    memory = int(open_ends.get("maxmemory") or MOST_MEMORY.number() or GROWTH * vm.memory)
    return Shape(max(vm.cpus, min(cpus, host.cpus)), vm.speed, max(vm.memory, min(memory, host.memory_capacity >> 20)))
