"""What hypervisors bear: how many machines on a host, how many disks at a machine. Operators change it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, select
from sqlalchemy.orm import Session

from mgmt_server.db.kept import Kept
from mgmt_server.model.host import MOST_MACHINES, Host, HypervisorLimits

OTHERS = 50  # machines on a host of a hypervisor that nothing is known about
DATA_DISKS = 6


@dataclass(frozen=True)
class Limits:
    machines: int
    data_disks: int
    hosts: int | None = None  # in one cluster; None: any number
    storage_motion: bool = True  # whether disks may move while their machine runs
    vm_snapshots: bool = True


def limits_of(hypervisor: str) -> Limits:
    built_in = Limits(MOST_MACHINES.get(hypervisor, OTHERS), DATA_DISKS)
    return _changed().get(hypervisor, built_in)


def moves_disks(hypervisor: str) -> str:
    """Why disks stay where they are while their machine runs; nothing: they may move."""
    if limits_of(hypervisor).storage_motion:
        return ""
    return f"disks of machines that run on {hypervisor} are not moved (storagemotionenabled of its capabilities)"


def stamp() -> object:
    """Another object whenever a limit has changed."""
    return _changed()


def has_room() -> ColumnElement[bool]:
    """Hosts that have fewer machines than their hypervisor bears."""
    most = {name: limits_of(name).machines for name in {*MOST_MACHINES, *_changed()}}
    return Host.machines < case(most, value=Host.hypervisor, else_=OTHERS)


def _read(session: Session) -> dict[str, Limits]:
    row = HypervisorLimits
    columns = (row.machines, row.data_disks, row.hosts, row.storage_motion, row.vm_snapshots)
    return {name: Limits(*told) for name, *told in session.execute(select(row.hypervisor, *columns))}


_changed = Kept(_read)
forget = _changed.forget
