"""What hypervisors bear: how many machines on a host, how many disks at a machine. Operators change it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, select

from mgmt_server.db import cache_of_rows, reading
from mgmt_server.model.host import MOST_MACHINES, Host, HypervisorLimits

STANDS = 3.0  # seconds that what was read stands on other nodes
OTHERS = 50  # machines on a host of a hypervisor that nothing is known about
DATA_DISKS = 6


@dataclass(frozen=True)
class Limits:
    machines: int
    data_disks: int
    hosts: int | None = None  # in one cluster; None: any number


_lock = threading.Lock()
_cached: tuple[float, dict[str, Limits]] = (0.0, {})


def limits_of(hypervisor: str) -> Limits:
    built_in = Limits(MOST_MACHINES.get(hypervisor, OTHERS), DATA_DISKS)
    return _changed().get(hypervisor, built_in)


def stamp() -> object:
    """Another object whenever the limits were read anew."""
    return _changed()


def has_room() -> ColumnElement[bool]:
    """Hosts that have fewer machines than their hypervisor bears."""
    most = {name: limits_of(name).machines for name in {*MOST_MACHINES, *_changed()}}
    return Host.machines < case(most, value=Host.hypervisor, else_=OTHERS)


def _changed() -> dict[str, Limits]:
    global _cached
    until, found = _cached
    if until > time.monotonic():
        return found
    with _lock:
        until, found = _cached
        if until <= time.monotonic():
            row = HypervisorLimits
            with reading() as session:
                rows = session.execute(select(row.hypervisor, row.machines, row.data_disks, row.hosts))
                found = {name: Limits(machines, disks, hosts) for name, machines, disks, hosts in rows}
            _cached = (time.monotonic() + STANDS, found)
    return found


@cache_of_rows
def forget() -> None:
    global _cached
    _cached = (0.0, {})
