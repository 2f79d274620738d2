"""Which figures an offering may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mgmt_server.errors import InvalidValue
from mgmt_server.model.settings import Setting
from mgmt_server.resources.checks import one_of

MOST = 2**31 - 1
LEAST_MEMORY = 32  # MiB
LONGEST_BURST = 24 * 3600  # seconds
PROVISIONING, STORAGE, STATES = ("thin", "sparse", "fat"), ("shared", "local"), ("Active", "Inactive")
CACHE = ("none", "writeback", "writethrough", "hypervisor_default")
RATES = ("bytes_read_rate", "bytes_write_rate", "iops_read_rate", "iops_write_rate")
BURSTS = {
    f"{what}_{way}_rate": Setting(
        f"vm.disk.{what}.maximum.{way}.length",
        f"Seconds that an offering may let a burst of {text} last; 0: a day",
        least=0,
        most=LONGEST_BURST,
    )
    for what, way, text in (
        ("bytes", "read", "bytes read"),
        ("bytes", "write", "bytes written"),
        ("iops", "read", "reads"),
        ("iops", "write", "writes"),
    )
}
SYSTEM_VMS = ("domainrouter", "consoleproxy", "secondarystoragevm")


def between(name: str, value: int | None, least: int, most: int = MOST, unit: str = "") -> int | None:
    """A figure inside its range; None stays None."""
    if value is not None and not least <= value <= most:
        raise InvalidValue(f"{name}={value} is out of range: choose {least} to {most}{unit}")
    return value


def bounds(
    speed: int | None, cpus: tuple[int | None, int | None], memory: tuple[int | None, int | None]
) -> dict[str, str]:
    """Details of an offering whose user chooses between bounds; empty when none was given."""
    given = {
        "mincpunumber": between("mincpunumber", cpus[0], 1),
        "maxcpunumber": between("maxcpunumber", cpus[1], 1),
        "minmemory": between("minmemory", memory[0], LEAST_MEMORY, unit=" MiB"),
        "maxmemory": between("maxmemory", memory[1], LEAST_MEMORY, unit=" MiB"),
    }
    if all(value is None for value in given.values()):
        return {}
    missing = [name for name, value in {**given, "cpuspeed": speed}.items() if value is None]
    if missing:
        raise InvalidValue(f"an offering with bounds needs all of them and cpuspeed: {', '.join(missing)} is missing")
    for least, most in (("mincpunumber", "maxcpunumber"), ("minmemory", "maxmemory")):
        if given[least] > given[most]:  # type: ignore[operator]
            raise InvalidValue(f"{least}={given[least]} is above {most}={given[most]}")
    return {name: str(value) for name, value in given.items()}


def is_customized(
    customized: bool | None, bounded: bool, cpus: int | None, speed: int | None, memory: int | None
) -> bool:
    """Whether users choose the figures. Raises InvalidValue for a contradiction."""
    figures = {"cpunumber": cpus, "cpuspeed": speed, "memory": memory}
    missing = [name for name, value in figures.items() if value is None]
    chosen = bounded or (customized if customized is not None else bool(missing))
    if chosen and (cpus is not None or memory is not None):
        if customized is None and not bounded:
            raise InvalidValue(
                f"{' and '.join(missing)} missing: send cpunumber, cpuspeed and memory, or customized=true"
            )
        raise InvalidValue("cpunumber and memory are for fixed offerings: leave them out, or customized")
    if chosen and speed is not None and not bounded:
        raise InvalidValue("cpuspeed alone is for offerings with bounds: give the four bounds too, or leave it out")
    if not chosen and missing:
        raise InvalidValue(f"a fixed offering needs {', '.join(missing)}; with customized=true users choose")
    between("cpunumber", cpus, 1)
    between("cpuspeed", speed, 0)
    between("memory", memory, LEAST_MEMORY, unit=" MiB")
    return chosen


def disk_columns(
    *,
    provisioningtype: str | None = None,
    storagetype: str | None = None,
    cachemode: str | None = None,
    customizediops: bool | None = None,
    miniops: int | None = None,
    maxiops: int | None = None,
    tags: str | None = None,
    **rates: int | None,
) -> dict[str, Any]:
    """Columns of a disk offering that a service offering's root disk has as well; what is None is left out.

    rates: bytesreadrate, iopswriteratemax and so on, per second
    """
    if (miniops is None) != (maxiops is None):
        raise InvalidValue("miniops and maxiops go together: send both, or neither")
    if miniops is not None and maxiops is not None and not 0 <= miniops <= maxiops:
        raise InvalidValue(f"miniops={miniops} is not between 0 and maxiops={maxiops}")
    if customizediops and miniops is not None:
        raise InvalidValue("with customizediops users choose the operations a second: leave miniops and maxiops out")
    columns: dict[str, Any] = {
        "provisioning": one_of("provisioningtype", provisioningtype, PROVISIONING),
        "storage_type": one_of("storagetype", storagetype, STORAGE),
        "cache_mode": one_of("cachemode", cachemode, CACHE),
        "customized_iops": customizediops,
        "min_iops": miniops,
        "max_iops": maxiops,
        "tags": storage_tags(tags),
        **rate_columns(rates),
    }
    check_bursts(columns.get)
    return {name: value for name, value in columns.items() if value is not None}


def rate_columns(rates: Mapping[str, int | None]) -> dict[str, int | None]:
    """bytesreadratemax=5 -> bytes_read_rate_max=5, checked: a maximum is no lower than its sustained rate.

    What is sent with bytesreadratemaxlength is the seconds that a burst may last.
    """
    found: dict[str, int | None] = {}
    for column in RATES:
        wire = column.replace("_", "")
        sustained, most = rates.get(wire), rates.get(f"{wire}max")
        for name, value in ((wire, sustained), (f"{wire}max", most)):
            between(name, value, 0, 2**63 - 1)
        if sustained is not None and most is not None and most < sustained:
            raise InvalidValue(f"{wire}max={most} is below {wire}={sustained}")
        found[column], found[f"{column}_max"] = sustained, most
        most_length = BURSTS[column].number() or LONGEST_BURST
        length = between(f"{wire}maxlength", rates.get(f"{wire}maxlength"), 1, most_length, " seconds")
        found[f"{column}_max_length"] = length
    return found


def check_bursts(told: Callable[[str], int | None]) -> None:
    """Refuse the length of a burst where there is none. `told`: the offering's columns by name, as they will be."""
    for column in RATES:
        wire = column.replace("_", "")
        sustained, most, length = (told(f"{column}{end}") for end in ("", "_max", "_max_length"))
        if length and not most:
            raise InvalidValue(f"{wire}maxlength={length} is the length of bursts of {wire}max: send that too")
        if length and not sustained:
            raise InvalidValue(f"{wire}maxlength={length} is for bursts beyond {wire}: send that too")


def storage_tags(text: str | None) -> str | None:
    """Tags with commas between, without spaces."""
    if text is None:
        return None
    return ",".join(part.strip() for part in text.split(",") if part.strip())


def absent(**asked: Any) -> None:
    """Refuse what this version does not have, when somebody asks for it rather than for its absence."""
    for name, value in asked.items():
        if value:
            raise InvalidValue(f"{name}={value} is not supported in this version: leave it out")
