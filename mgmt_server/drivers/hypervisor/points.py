"""Snapshots of simulated machines."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.faults import powered
from mgmt_server.drivers.storage import simulator as disks
from mgmt_server.errors import Failed
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.protocol.machine import Machine


def snapshot(tx: Session, call: str, host: HostRef, name: str, point: str, memory: bool) -> None:
    row = tx.scalar(select(SimulatedMachine).where(SimulatedMachine.name == name).with_for_update())
    if row is None or row.host not in (host.uuid, ""):
        raise Failed(f"machine {name} is not on host {host.name}")
    if memory and row.state != "Running":
        raise Failed(f"machine {name} does not run on host {host.name}: it has no memory to keep")
    if point not in row.points:
        row.points = {**row.points, point: {"memory": memory, "disks": disks.contents(tx, row.disks)}}


def revert(tx: Session, call: str, host: HostRef, machine: Machine, point: str) -> str:
    powered(tx, host.uuid)
    table = SimulatedMachine
    row = tx.scalar(select(table).where(table.name == machine.name).with_for_update())
    if row is None or point not in row.points:
        raise Failed(f"machine {machine.name} has no snapshot {point} on host {host.name}")
    if row.call != call:
        kept = row.points[point]
        disks.restore(tx, kept["disks"])
        if row.state == "Running" and row.host != host.uuid:
            row.beside, row.doubled = row.host, row.doubled + 1
        row.state, row.host, row.call = "Running" if kept["memory"] else "Stopped", host.uuid, call
    return row.state


def delete_snapshot(tx: Session, name: str, point: str) -> None:
    row = tx.scalar(select(SimulatedMachine).where(SimulatedMachine.name == name).with_for_update())
    if row is not None:
        row.points = {k: v for k, v in row.points.items() if k != point}
