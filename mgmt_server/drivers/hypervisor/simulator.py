"""Simulated hosts: they do at once what they are asked, remember it in the database, and fail when told to.

Each change is one statement that is also the journal: a machine's row holds the last call that changed it, so that
a repeat finds its own id and changes nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import Session

from mgmt_server.db import changed, engine, new_uuid, now, reading, write
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.faults import around
from mgmt_server.drivers.storage import simulator as disks
from mgmt_server.errors import Failed
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.protocol.machine import (
    Disk,
    HostFacts,
    HostStatistics,
    Machine,
    MachineState,
    MachineStatistics,
    Move,
    Nic,
    Unmanaged,
    UnmanagedNic,
)
from mgmt_server.protocol.router import Applied, RouterDocument

CPUS, SOCKETS, SPEED, MEMORY = 4, 1, 8000, 8 << 30

documents: dict[str, RouterDocument] = {}  # what each router of this process was told last, for tests


def facts_of(name: str, address: str) -> HostFacts:
    """What a simulated host says of itself."""
    return HostFacts(
        name=name,
        address=address,
        hypervisor="Simulator",
        hypervisor_version="",
        cpus=CPUS,
        sockets=SOCKETS,
        speed=SPEED,
        memory=MEMORY,
        capabilities="hvm",
        local_pool_path=f"/mnt/{name}",
    )


class Simulator:
    def start(self, call: UUID, host: HostRef, machine: Machine) -> MachineState:
        with around("start", host):
            write(_start, str(call), host.uuid, machine)
        return MachineState(machine.name, machine.uuid, "Running", _port_of(machine.name))

    def stop(self, call: UUID, host: HostRef, name: str, forced: bool) -> None:
        with around("stop", host):
            write(_stop, str(call), host.uuid, name)

    def reboot(self, call: UUID, host: HostRef, name: str) -> None:
        with around("reboot", host):
            if not write(_reboot, str(call), host.uuid, name):
                raise Failed(f"machine {name} does not run on host {host.name}: start it instead")

    def forget(self, call: UUID, host: HostRef, name: str) -> None:
        with around("forget", host):
            write(_forget, host.uuid, name)

    def machines(self, host: HostRef) -> list[MachineState]:
        with around("machines", host), reading() as session:
            rows = session.execute(
                select(SimulatedMachine.name, SimulatedMachine.machine, SimulatedMachine.state).where(
                    SimulatedMachine.host == host.uuid
                )
            )
            return [MachineState(n, u, s, _port_of(n) if s == "Running" else 0) for n, u, s in rows]

    def statistics(self, host: HostRef) -> HostStatistics:
        with around("statistics", host), reading() as session:
            sums = select(func.count(), func.sum(SimulatedMachine.memory)).where(
                SimulatedMachine.host == host.uuid, SimulatedMachine.state == "Running"
            )
            count, memory = session.execute(sums).one()
        return HostStatistics(
            cpu_used=float(min(2 * count, 100)),
            memory_used=int(memory or 0),
            memory_total=MEMORY,
            load=0.0,
            network_read=32768,
            network_written=16384,
        )

    def machine_statistics(self, host: HostRef, names: list[str]) -> list[MachineStatistics]:
        with around("machine_statistics", host), reading() as session:
            rows = session.execute(
                select(SimulatedMachine.name, SimulatedMachine.memory).where(
                    SimulatedMachine.host == host.uuid,
                    SimulatedMachine.state == "Running",
                    SimulatedMachine.name.in_(names),
                )
            )
            return [MachineStatistics(n, 10.0, 32768, 16384, 0, 0, 0, 0, m >> 10, m >> 11) for n, m in rows]

    def attach_disk(self, call: UUID, host: HostRef, name: str, disk: Disk) -> None:
        with around("attach_disk", host):
            write(_change, str(call), host, name, lambda row: _with(row, "disks", disk.name))

    def detach_disk(self, call: UUID, host: HostRef, name: str, disk: Disk) -> None:
        with around("detach_disk", host):
            write(_change, str(call), host, name, lambda row: _without(row, "disks", disk.name))

    def attach_nic(self, call: UUID, host: HostRef, name: str, nic: Nic) -> None:
        with around("attach_nic", host):
            write(_change, str(call), host, name, lambda row: _with(row, "nics", nic.mac))

    def detach_nic(self, call: UUID, host: HostRef, name: str, nic: Nic) -> None:
        with around("detach_nic", host):
            write(_change, str(call), host, name, lambda row: _without(row, "nics", nic.mac))

    def change_iso(self, call: UUID, host: HostRef, name: str, iso: str) -> None:
        with around("change_iso", host):
            write(_change, str(call), host, name, lambda row: setattr(row, "iso", iso))

    def scale(self, call: UUID, host: HostRef, name: str, cpus: int, speed: int, memory: int) -> None:
        def grow(row: SimulatedMachine) -> None:
            row.cpus, row.memory = cpus, memory

        with around("scale", host):
            write(_change, str(call), host, name, grow)

    def migrate(
        self, call: UUID, host: HostRef, target: HostRef, machine: Machine, moves: tuple[Move, ...]
    ) -> MachineState:
        with around("migrate", host), around("migrate", target):
            write(_migrate, str(call), host, target, machine, moves)
        return MachineState(machine.name, machine.uuid, "Running", _port_of(machine.name))

    def snapshot(self, call: UUID, host: HostRef, name: str, point: str, memory: bool) -> None:
        with around("snapshot", host):
            write(_snapshot, str(call), host, name, point, memory)

    def revert(self, call: UUID, host: HostRef, machine: Machine, point: str) -> MachineState:
        with around("revert", host):
            state = write(_revert, str(call), host, machine, point)
        return MachineState(machine.name, machine.uuid, state, _port_of(machine.name) if state == "Running" else 0)

    def delete_snapshot(self, call: UUID, host: HostRef, name: str, point: str) -> None:
        with around("delete_snapshot", host):
            write(_delete_snapshot, name, point)

    def describe(self, host: HostRef) -> list[Unmanaged]:
        with around("describe", host), reading() as session:
            rows = session.scalars(select(SimulatedMachine).where(SimulatedMachine.host == host.uuid))
            return [_described(session, row) for row in rows]

    def configure_router(self, call: UUID, host: HostRef, document: RouterDocument) -> Applied:
        with around("configure_router", host):
            reason = write(_configure, host, document)
            if reason:
                return Applied(document.version, (), reason)
            documents[document.name] = document
        return Applied(document.version, ("dnsmasq",))


def _port_of(name: str) -> int:
    return 5900 + zlib.crc32(name.encode()) % 100


def insert(table: Any, key: list[str], row: dict[str, Any], update_with: dict[str, Any] | None) -> Any:
    """INSERT that leaves a row with this key alone, or changes it by `update_with` (column -> expression)."""
    row = {"uuid": new_uuid(), "created": now(), **row}
    if engine().dialect.name == "sqlite":
        lite = sqlite.insert(table).values(row)
        if update_with is None:
            return lite.on_conflict_do_nothing(index_elements=key)
        return lite.on_conflict_do_update(index_elements=key, set_=update_with)
    full = mysql.insert(table).values(row)
    # assigned in this order: MariaDB sees the new values of the columns before
    return full.on_duplicate_key_update(list(update_with.items()) if update_with else [("id", table.id)])


def _start(tx: Session, call: str, host: str, machine: Machine) -> None:
    table = SimulatedMachine
    fresh = {
        "name": machine.name,
        "host": host,
        "machine": machine.uuid,
        "state": "Running",
        "cpus": machine.cpus,
        "memory": machine.memory,
        "document_version": 0,
        "call": call,
        "starts": 1,
        "disks": [d.name for d in machine.disks],
        "nics": [n.mac for n in machine.nics],
        "iso": machine.iso,
        "points": {},
    }
    repeated = table.call == call
    changes = {
        "starts": table.starts + case((repeated | ((table.state == "Running") & (table.host == host)), 0), else_=1),
        "state": case((repeated, table.state), else_="Running"),
        "host": case((repeated, table.host), else_=host),
        "document_version": case((repeated, table.document_version), else_=0),
        "cpus": machine.cpus,
        "memory": machine.memory,
        "disks": fresh["disks"],
        "nics": fresh["nics"],
        "iso": machine.iso,
        "call": call,
    }
    tx.execute(insert(table, ["name"], fresh, changes))


def _stop(tx: Session, call: str, host: str, name: str) -> None:
    table = SimulatedMachine
    running = update(table).where(table.name == name, table.host == host, table.call != call)
    tx.execute(running.values(state="Stopped", call=call).execution_options(synchronize_session=False))


def _reboot(tx: Session, call: str, host: str, name: str) -> bool:
    table = SimulatedMachine
    running = update(table).where(table.name == name, table.host == host, table.state == "Running")
    done = running.values(
        starts=table.starts + case((table.call == call, 0), else_=1), document_version=0, call=call
    ).execution_options(synchronize_session=False)
    return changed(tx.execute(done)) == 1


def _forget(tx: Session, host: str, name: str) -> None:
    """A machine's snapshots are in its disks, and stay: the row holds them, on no host."""
    table = SimulatedMachine
    row = tx.scalar(select(table).where(table.name == name, table.host == host, table.state != "Running"))
    if row is not None and row.points:
        row.host = ""
    elif row is not None:
        gone = delete(table).where(table.id == row.id, table.state != "Running")
        tx.execute(gone.execution_options(synchronize_session=False))


def _change(tx: Session, call: str, host: HostRef, name: str, change: Callable[[SimulatedMachine], None]) -> None:
    """Change a running machine once for this call. Raises Failed where it does not run there."""
    table = SimulatedMachine
    row = tx.scalar(select(table).where(table.name == name, table.host == host.uuid).with_for_update())
    if row is None or row.state != "Running":
        raise Failed(f"machine {name} does not run on host {host.name}")
    if row.call != call:
        change(row)
        row.call = call


def _with(row: SimulatedMachine, column: str, value: str) -> None:
    setattr(row, column, [*(v for v in getattr(row, column) if v != value), value])


def _without(row: SimulatedMachine, column: str, value: str) -> None:
    setattr(row, column, [v for v in getattr(row, column) if v != value])


def _migrate(tx: Session, call: str, host: HostRef, target: HostRef, machine: Machine, moves: tuple[Move, ...]) -> None:
    table = SimulatedMachine
    row = tx.scalar(select(table).where(table.name == machine.name).with_for_update())
    if row is not None and row.call == call:
        return
    if row is None or row.host != host.uuid or row.state != "Running":
        raise Failed(f"machine {machine.name} does not run on host {host.name}")
    for move in moves:
        disks.copy(tx, call, move.source, move.target)
    row.host, row.call = target.uuid, call
    row.disks, row.nics = [d.name for d in machine.disks], [n.mac for n in machine.nics]


def _snapshot(tx: Session, call: str, host: HostRef, name: str, point: str, memory: bool) -> None:
    row = tx.scalar(select(SimulatedMachine).where(SimulatedMachine.name == name).with_for_update())
    if row is None or row.host not in (host.uuid, ""):
        raise Failed(f"machine {name} is not on host {host.name}")
    if memory and row.state != "Running":
        raise Failed(f"machine {name} does not run on host {host.name}: it has no memory to keep")
    if point not in row.points:
        row.points = {**row.points, point: {"memory": memory, "disks": disks.contents(tx, row.disks)}}


def _revert(tx: Session, call: str, host: HostRef, machine: Machine, point: str) -> str:
    table = SimulatedMachine
    row = tx.scalar(select(table).where(table.name == machine.name).with_for_update())
    if row is None or point not in row.points:
        raise Failed(f"machine {machine.name} has no snapshot {point} on host {host.name}")
    if row.call != call:
        kept = row.points[point]
        disks.restore(tx, kept["disks"])
        row.state, row.host, row.call = "Running" if kept["memory"] else "Stopped", host.uuid, call
    return row.state


def _delete_snapshot(tx: Session, name: str, point: str) -> None:
    row = tx.scalar(select(SimulatedMachine).where(SimulatedMachine.name == name).with_for_update())
    if row is not None:
        row.points = {k: v for k, v in row.points.items() if k != point}


def _described(session: Session, row: SimulatedMachine) -> Unmanaged:
    return Unmanaged(
        name=row.name,
        uuid=row.machine,
        state=row.state,
        cpus=row.cpus,
        memory=row.memory,
        os="Linux",
        disks=tuple(disks.described(session, row.disks)),
        nics=tuple(UnmanagedNic(mac, "cloudbr0") for mac in row.nics),
    )


def _configure(tx: Session, host: HostRef, document: RouterDocument) -> str:
    """Note the document's version with its router: why not, or nothing."""
    table = SimulatedMachine
    mine = update(table).where(
        table.name == document.name,
        table.host == host.uuid,
        table.state == "Running",
        table.document_version <= document.version,
    )
    if changed(tx.execute(mine.values(document_version=document.version).execution_options(synchronize_session=False))):
        return ""
    row = tx.scalar(select(table).where(table.name == document.name))
    if row is None or row.host != host.uuid or row.state != "Running":
        raise Failed(f"router {document.name} does not run on host {host.name}: start it first")
    return f"version {document.version} is older than {row.document_version}, which {document.name} has"
