"""Simulated hosts: they do at once what they are asked, remember it in the database, and fail when told to.

Each change is one statement that is also the journal: a machine's row holds the last call that changed it, so that
a repeat finds its own id and changes nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, or_, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import Session

from mgmt_server.db import changed, engine, new_uuid, now, reading, write
from mgmt_server.db.prepared import Sent, sent_as, to_send
from mgmt_server.drivers.hypervisor import HostRef, points
from mgmt_server.drivers.hypervisor.faults import around, powered
from mgmt_server.drivers.storage import simulator as disks
from mgmt_server.errors import Failed
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.protocol.identity import CertificateRequest
from mgmt_server.protocol.machine import (
    Disk,
    HostFacts,
    HostStatistics,
    Machine,
    MachineState,
    MachineStatistics,
    Move,
    Nic,
    Pool,
    StageResult,
    Unmanaged,
    UnmanagedNic,
)
from mgmt_server.protocol.router import Applied, RouterDocument

CPUS, SOCKETS, SPEED, MEMORY = 4, 1, 8000, 8 << 30

documents: dict[str, RouterDocument] = {}  # what each router of this process was told last, for tests
STAGES = ("PreFlight", "PreMaintenance", "Maintenance", "PostMaintenance")


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

    def define(self, call: UUID, host: HostRef, machine: Machine) -> None:
        with around("define", host):
            write(_define, str(call), host, machine)

    def machines(self, host: HostRef) -> list[MachineState]:
        with around("machines", host), reading() as session:
            rows = session.execute(
                select(SimulatedMachine.name, SimulatedMachine.machine, SimulatedMachine.state).where(
                    or_(SimulatedMachine.host == host.uuid, SimulatedMachine.beside == host.uuid)
                )
            )
            return [MachineState(n, u, s, _port_of(n) if s == "Running" else 0) for n, u, s in rows]

    def statistics(self, host: HostRef, seconds: float) -> HostStatistics:
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

    def machine_statistics(self, host: HostRef, names: list[str], seconds: float) -> list[MachineStatistics]:
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
            write(_change, str(call), host, name, lambda row: _open(row, disk))

    def detach_disk(self, call: UUID, host: HostRef, name: str, disk: Disk) -> None:
        with around("detach_disk", host):
            write(_change, str(call), host, name, lambda row: _close(row, disk))

    def attach_nic(self, call: UUID, host: HostRef, name: str, nic: Nic) -> None:
        with around("attach_nic", host):
            write(_change, str(call), host, name, lambda row: _with(row, "nics", nic.mac))

    def detach_nic(self, call: UUID, host: HostRef, name: str, nic: Nic) -> None:
        with around("detach_nic", host):
            write(_change, str(call), host, name, lambda row: _without(row, "nics", nic.mac))

    def change_iso(self, call: UUID, host: HostRef, name: str, iso: str, pool: Pool | None = None) -> None:
        with around("change_iso", host):
            write(_put, str(call), host, name, iso, pool)

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
            write(points.snapshot, str(call), host, name, point, memory)

    def revert(self, call: UUID, host: HostRef, machine: Machine, point: str) -> MachineState:
        with around("revert", host):
            state = write(points.revert, str(call), host, machine, point)
        return MachineState(machine.name, machine.uuid, state, _port_of(machine.name) if state == "Running" else 0)

    def delete_snapshot(self, call: UUID, host: HostRef, name: str, point: str) -> None:
        with around("delete_snapshot", host):
            write(points.delete_snapshot, name, point)

    def describe(self, host: HostRef) -> list[Unmanaged]:
        with around("describe", host), reading() as session:
            rows = session.scalars(select(SimulatedMachine).where(SimulatedMachine.host == host.uuid))
            return [_described(session, row) for row in rows]

    def maintain(self, call: UUID, host: HostRef, stage: str, payload: str, timeout: int) -> StageResult:
        """Every simulated host has a script for each stage: it says what it was given."""
        with around("maintain", host):
            return StageResult(0, f"{stage} on {host.name} {payload}".strip(), STAGES)

    def configure_router(self, call: UUID, host: HostRef, document: RouterDocument) -> Applied:
        with around("configure_router", host):
            reason = write(_configure, host, document)
            if reason:
                return Applied(document.version, (), reason)
            documents[document.name] = document
        return Applied(document.version, ("dnsmasq",))

    def certificate_request(self, host: HostRef) -> CertificateRequest:
        raise Failed(f"host {host.name} is simulated: it has no certificate")

    def take_certificate(self, call: UUID, host: HostRef, certificate: str, relink: bool) -> None:
        raise Failed(f"host {host.name} is simulated: it has no certificate")


def _port_of(name: str) -> int:
    return 5900 + zlib.crc32(name.encode()) % 100


def _start(tx: Session, call: str, host: str, machine: Machine) -> None:
    powered(tx, host)
    row = {
        "uuid": new_uuid(),
        "created": now(),
        "name": machine.name,
        "host": host,
        "beside": "",
        "doubled": 0,
        "machine": machine.uuid,
        "state": "Running",
        "cpus": machine.cpus,
        "memory": machine.memory,
        "document_version": 0,
        "call": call,
        "starts": 1,
        "disks": [d.name for d in machine.disks],
        "places": _places(machine),
        "nics": [n.mac for n in machine.nics],
        "iso": _disc(tx, machine.iso, machine.iso_pool),
        "points": {},
    }
    _starting(engine().dialect.name == "sqlite", tuple(row))(tx, sent_as(row))


@cache
def _starting(lite: bool, names: tuple[str, ...]) -> Sent:
    """INSERT of a machine that runs; one that is there is started again, unless this very call did."""
    table = SimulatedMachine.__table__
    made: Any = sqlite.insert(table) if lite else mysql.insert(table)  # type: ignore[arg-type]
    made = made.values(to_send(table.c, names))
    old, new = table.c, made.excluded if lite else made.inserted
    repeated = old.call == new.call
    elsewhere = ~repeated & (old.state == "Running") & (old.host != new.host)
    changes = {
        "doubled": old.doubled + case((elsewhere, 1), else_=0),
        "beside": case((elsewhere, old.host), else_=old.beside),
        "starts": old.starts + case((repeated | ((old.state == "Running") & (old.host == new.host)), 0), else_=1),
        "state": case((repeated, old.state), else_="Running"),
        "host": case((repeated, old.host), else_=new.host),
        "document_version": case((repeated, old.document_version), else_=0),
        **{name: new[name] for name in ("cpus", "memory", "disks", "places", "nics", "iso", "call")},
    }
    if lite:
        return Sent(made.on_conflict_do_update(index_elements=["name"], set_=changes))
    # assigned in this order: MariaDB sees the new values of the columns before
    return Sent(made.on_duplicate_key_update(list(changes.items())))


def _stop(tx: Session, call: str, host: str, name: str) -> None:
    table = SimulatedMachine
    running = update(table).where(table.name == name, table.host == host, table.beside == "", table.call != call)
    stopped = running.values(state="Stopped", call=call).execution_options(synchronize_session=False)
    if not changed(tx.execute(stopped)):
        leave(tx, host, table.name == name, table.call != call)


def leave(tx: Session, host: str, *which: Any) -> None:
    """Machines that run on the host and on another one run only there from now on."""
    table = SimulatedMachine
    here = update(table).where(table.host == host, table.beside != "", *which)
    there = update(table).where(table.beside == host, *which)
    for gone in (there.values(beside=""), here.ordered_values((table.host, table.beside), (table.beside, ""))):
        tx.execute(gone.execution_options(synchronize_session=False))


def _reboot(tx: Session, call: str, host: str, name: str) -> bool:
    table = SimulatedMachine
    running = update(table).where(table.name == name, table.host == host, table.state == "Running")
    done = running.values(
        starts=table.starts + case((table.call == call, 0), else_=1), document_version=0, call=call
    ).execution_options(synchronize_session=False)
    return changed(tx.execute(done)) == 1


def _forget(tx: Session, host: str, name: str) -> None:
    """A machine's snapshots are in its disks, and stay: the row holds them, on no host. So does what must never be."""
    table = SimulatedMachine
    row = tx.scalar(select(table).where(table.name == name, table.host == host, table.state != "Running"))
    if row is not None and (row.points or row.doubled):
        row.host = ""
    elif row is not None:
        gone = delete(table).where(table.id == row.id, table.state != "Running")
        tx.execute(gone.execution_options(synchronize_session=False))


def _define(tx: Session, call: str, host: HostRef, machine: Machine) -> None:
    """The row is on the new host from now on: a simulated machine is defined on one alone."""
    row = tx.scalar(select(SimulatedMachine).where(SimulatedMachine.name == machine.name).with_for_update())
    if row is not None and row.state == "Running":
        raise Failed(f"machine {machine.name} runs: it must be stopped before it is defined anew")
    if row is None:
        row = SimulatedMachine(name=machine.name, state="Stopped", starts=0, points={})
        tx.add(row)
    row.host, row.machine, row.call = host.uuid, machine.uuid, call
    row.cpus, row.memory = machine.cpus, machine.memory
    row.iso = _disc(tx, machine.iso, machine.iso_pool)
    row.disks, row.nics = [d.name for d in machine.disks], [n.mac for n in machine.nics]
    row.places = _places(machine)


def _change(tx: Session, call: str, host: HostRef, name: str, change: Callable[[SimulatedMachine], None]) -> None:
    """Change a running machine once for this call. Raises Failed where it does not run there."""
    table = SimulatedMachine
    row = tx.scalar(select(table).where(table.name == name, table.host == host.uuid).with_for_update())
    if row is None or row.state != "Running":
        raise Failed(f"machine {name} does not run on host {host.name}")
    if row.call != call:
        change(row)
        row.call = call


def _put(tx: Session, call: str, host: HostRef, name: str, iso: str, pool: Pool | None) -> None:
    disc = _disc(tx, iso, pool)
    _change(tx, call, host, name, lambda row: setattr(row, "iso", disc))


def _disc(tx: Session, iso: str, pool: Pool | None) -> str:
    """What is in a drive. Raises Failed for a disc that is not in the pool in which it should be."""
    return iso if pool is None else f"{pool.uuid}/{disks.find(tx, Disk(iso, pool, 0)).name}"


def _places(machine: Machine) -> dict[str, str]:
    return {d.name: d.pool.uuid for d in machine.disks}


def _open(row: SimulatedMachine, disk: Disk) -> None:
    _with(row, "disks", disk.name)
    row.places = {**row.places, disk.name: disk.pool.uuid}


def _close(row: SimulatedMachine, disk: Disk) -> None:
    _without(row, "disks", disk.name)
    row.places = {name: pool for name, pool in row.places.items() if name != disk.name}


def _with(row: SimulatedMachine, column: str, value: str) -> None:
    setattr(row, column, [*(v for v in getattr(row, column) if v != value), value])


def _without(row: SimulatedMachine, column: str, value: str) -> None:
    setattr(row, column, [v for v in getattr(row, column) if v != value])


def _migrate(tx: Session, call: str, host: HostRef, target: HostRef, machine: Machine, moves: tuple[Move, ...]) -> None:
    powered(tx, target.uuid)
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
    row.places = _places(machine)
    row.iso = _disc(tx, machine.iso, machine.iso_pool)


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
