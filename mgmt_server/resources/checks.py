"""Checks of values that several resources take, each gives the value back or raises InvalidValue; and their taking."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from netaddr import AddrFormatError, IPAddress, IPNetwork
from sqlalchemy import ColumnElement, func, select

from mgmt_server.api.context import Context
from mgmt_server.errors import ApiError, InUse, InvalidValue
from mgmt_server.model.account import ROOT_DOMAIN, Domain
from mgmt_server.model.settings import Setting

LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")

ANY_RANGE = Setting(
    "allow.non.rfc1918.compliant.ips", "Whether guests behind a router may have addresses that others have too"
)
PRIVATE = tuple(map(IPNetwork, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))


def free_name(ctx: Context, table: Any, name: str, *within: ColumnElement[bool]) -> str:
    """Refuse a name that another row (not removed, of those `within`) has. Nobody else takes it until the call ends."""
    hold_names(ctx)
    taken = select(table.uuid).where(table.name == name, table.removed.is_(None), *within)
    if ctx.session.scalar(taken.limit(1)) is not None:
        raise InvalidValue(f"A {_spoken(table)} with the name {name} already exists: choose another name")
    return name


def hold_names(ctx: Context) -> None:
    """Make calls that give names wait for each other: a unique key cannot leave out what is removed."""
    ctx.session.scalar(select(Domain.id).where(Domain.id == ROOT_DOMAIN).with_for_update())


def one_of(parameter: str, value: str | None, allowed: Sequence[str]) -> str | None:
    """The allowed value that is meant, whatever its case."""
    if value is None:
        return None
    for each in allowed:
        if each.lower() == value.lower():
            return each
    raise InvalidValue(f"{parameter}={value[:100]} is none of {', '.join(allowed)}")


def address(parameter: str, value: str | None, version: int = 4) -> str | None:
    if value is None:
        return None
    try:
        return str(IPAddress(value, version, flags=0))
    except (AddrFormatError, ValueError):
        raise InvalidValue(f"{parameter}={value[:100]} is no IPv{version} address") from None


def cidr(parameter: str, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        found = IPNetwork(value)
    except (AddrFormatError, ValueError):
        raise InvalidValue(f"{parameter}={value[:100]} is no network: write it as 10.1.1.0/24") from None
    return f"{found.network}/{found.prefixlen}"


def guests_range(parameter: str, value: str | None) -> str | None:
    """A range of guests behind a router: one that nobody has on the Internet, unless a setting lets it be any."""
    found = cidr(parameter, value)
    if found is not None and not ANY_RANGE.flag() and not any(IPNetwork(found) in each for each in PRIVATE):
        told = ", ".join(str(each) for each in PRIVATE)
        raise InvalidValue(f"{parameter}={found} is no private range: choose one of {told} ({ANY_RANGE.name})")
    return found


def netmask(parameter: str, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        if IPAddress(value, 4).is_netmask():
            return value
    except (AddrFormatError, ValueError):
        pass
    raise InvalidValue(f"{parameter}={value[:100]} is no netmask: write it as 255.255.255.0")


def addresses(start: str, end: str, gateway: str | None = None, mask: str | None = None) -> list[str]:
    """All addresses of a range, both ends in it. It must lie in the gateway's network and leave the gateway out."""
    first, last = IPAddress(address("startip", start)), IPAddress(address("endip", end))
    if last < first:
        raise InvalidValue(f"the range ends at {end} before it starts at {start}")
    count = int(last) - int(first) + 1
    if count > 65_536:
        raise InvalidValue(f"the range {start} to {end} has {count} addresses: at most 65536 at once")
    if gateway and mask:
        network = IPNetwork(f"{gateway}/{mask}")
        if first not in network or last not in network:
            raise InvalidValue(f"the range {start} to {end} is not in {network.cidr}, the network of gateway {gateway}")
        if first <= IPAddress(gateway) <= last:
            raise InvalidValue(f"the gateway {gateway} lies in the range {start} to {end}: leave it out")
    return [str(IPAddress(n)) for n in range(int(first), int(last) + 1)]


def domain_name(parameter: str, value: str | None) -> str | None:
    """A network domain such as cs1.internal."""
    if value is None:
        return None
    if len(value) > 190 or not all(LABEL.fullmatch(label) for label in value.split(".")):
        raise InvalidValue(
            f"{parameter}={value[:100]} is no domain name: letters, digits and hyphens in labels of at most 63, with "
            "dots between"
        )
    return value


def host_name(parameter: str, value: str | None) -> str | None:
    """A single label, as a machine's name inside its network."""
    if value is None:
        return None
    if not LABEL.fullmatch(value) or value.isdecimal():
        raise InvalidValue(
            f"{parameter}={value[:100]} is no host name: 1 to 63 letters, digits and hyphens, a hyphen neither first "
            "nor last"
        )
    return value


def assign(row: Any, changes: Mapping[str, Any]) -> None:
    """Give a row's columns what was sent; None leaves them as they are."""
    for column, value in changes.items():
        if value is not None:
            setattr(row, column, value)


def unused(ctx: Context, what: str, *users: tuple[Any, ColumnElement[bool]], raises: type[ApiError] = InUse) -> None:
    """Refuse while rows of a table that meet a condition are there: (table, condition), ..."""
    for table, condition in users:
        rows = select(func.count()).select_from(table).where(condition, table.removed.is_(None))
        count = ctx.session.scalar(rows)
        if count:
            named = select(getattr(table, "name", table.uuid)).where(condition, table.removed.is_(None)).limit(3)
            names = ", ".join(str(n) for n in ctx.session.scalars(named))
            raise raises(f"{what} still has {count} {_spoken(table)}(s) ({names}): delete them first")


def _spoken(table: Any) -> str:
    return str(table.__tablename__).replace("_", " ")


def alone(ctx: Context, row: Any) -> None:
    """Hold a row until the transaction ends: others who check against what hangs on it wait, and then see this."""
    ctx.session.refresh(row, with_for_update=True)


def tag_ranges(parameter: str, text: str, least: int, most: int) -> list[tuple[int, int]]:
    """Ranges of VLANs or VNIs, "100-199,300": sorted pairs that do not overlap. At most 100000 tags."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,8})(?:\s*-\s*(\d{1,8}))?\s*", part)
        if match is None:
            raise InvalidValue(f"{parameter}={text[:100]} is no range: write it as 100-199 or 100-199,300-310")
        first, last = int(match[1]), int(match[2] or match[1])
        if not least <= first <= last <= most:
            raise InvalidValue(f"{parameter}: {part.strip()} is no range within {least} to {most}")
        found.append((first, last))
    found.sort()
    for (_, last), (first, _) in zip(found, found[1:], strict=False):
        if first <= last:
            raise InvalidValue(f"{parameter}={text[:100]} names {first} twice")
    if sum(last - first + 1 for first, last in found) > 100_000:
        raise InvalidValue(f"{parameter}={text[:100]} is too wide: at most 100000 tags for one physical network")
    return found


def pairs(parameter: str, entries: Sequence[Mapping[str, str]] | None, key: str, value: str) -> dict[str, str]:
    """The entries of a map as pairs, those of `key` -> those of `value`, whatever the case of these names."""
    found = {}
    for entry in entries or []:
        lower = {k.lower(): v for k, v in entry.items()}
        if not lower.get(key) or not lower.get(value):
            raise InvalidValue(f"{parameter} is incomplete: each entry has {key} and {value}")
        found[lower[key]] = lower[value]
    return found
