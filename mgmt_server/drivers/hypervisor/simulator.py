"""Simulated hosts: they do at once what they are asked, remember it in the database, and fail when told to.

Each change is one statement that is also the journal: a machine's row holds the last call that changed it, so that
a repeat finds its own id and changes nothing.
"""

from __future__ import annotations

import zlib
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import Session

from mgmt_server.db import changed, engine, new_uuid, now, reading, write
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.faults import around
from mgmt_server.errors import Failed
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.protocol.machine import (
    Disk,
    HostFacts,
    HostStatistics,
    Image,
    Machine,
    MachineState,
    MachineStatistics,
    Pool,
)
from mgmt_server.protocol.router import Applied, RouterDocument

CPUS, SOCKETS, SPEED, MEMORY = 4, 1, 8000, 8 << 30
POOL_SIZE = 1 << 40
EMPTY_CLONE = 196_616  # bytes of a fresh clone on disk

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

    def add_pool(self, call: UUID, host: HostRef, pool: Pool) -> tuple[int, int]:
        with around("add_pool", host):
            return 0, POOL_SIZE

    def remove_pool(self, call: UUID, host: HostRef, pool: Pool) -> None:
        with around("remove_pool", host):
            return

    def cache_template(self, call: UUID, host: HostRef, pool: Pool, image: Image) -> str:
        with around("cache_template", host):
            write(_keep_disk, str(call), pool.uuid, image.uuid, image.virtual_size, "")
        return image.uuid

    def create_disk(self, call: UUID, host: HostRef, disk: Disk) -> int:
        with around("create_disk", host):
            write(_keep_disk, str(call), disk.pool.uuid, disk.name, disk.size, disk.backing)
        return EMPTY_CLONE

    def delete_disk(self, call: UUID, host: HostRef, disk: Disk) -> None:
        with around("delete_disk", host):
            write(_delete_disk, disk.pool.uuid, disk.name)

    def configure_router(self, call: UUID, host: HostRef, document: RouterDocument) -> Applied:
        with around("configure_router", host):
            reason = write(_configure, host, document)
            if reason:
                return Applied(document.version, (), reason)
            documents[document.name] = document
        return Applied(document.version, ("dnsmasq",))


def _port_of(name: str) -> int:
    return 5900 + zlib.crc32(name.encode()) % 100


def _insert(table: Any, key: list[str], row: dict[str, Any], update_with: dict[str, Any] | None) -> Any:
    """INSERT that leaves a row with this key alone, or changes it by `update_with` (column -> expression)."""
    row = {"uuid": new_uuid(), "created": now(), **row}
    if engine().dialect.name == "sqlite":
        lite = sqlite.insert(table).values(row)
        if update_with is None:
            return lite.on_conflict_do_nothing(index_elements=key)
        return lite.on_conflict_do_update(index_elements=key, set_=update_with)
    insert = mysql.insert(table).values(row)
    # assigned in this order: MariaDB sees the new values of the columns before
    return insert.on_duplicate_key_update(list(update_with.items()) if update_with else [("id", table.id)])


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
    }
    repeated = table.call == call
    changes = {
        "starts": table.starts + case((repeated | ((table.state == "Running") & (table.host == host)), 0), else_=1),
        "state": case((repeated, table.state), else_="Running"),
        "host": case((repeated, table.host), else_=host),
        "document_version": case((repeated, table.document_version), else_=0),
        "cpus": machine.cpus,
        "memory": machine.memory,
        "call": call,
    }
    tx.execute(_insert(table, ["name"], fresh, changes))


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
    table = SimulatedMachine
    gone = delete(table).where(table.name == name, table.host == host, table.state != "Running")
    tx.execute(gone.execution_options(synchronize_session=False))


def _keep_disk(tx: Session, call: str, pool: str, name: str, size: int, backing: str) -> None:
    row = {"pool": pool, "name": name, "size": size, "backing": backing, "call": call}
    tx.execute(_insert(SimulatedDisk, ["pool", "name"], row, None))


def _delete_disk(tx: Session, pool: str, name: str) -> None:
    gone = delete(SimulatedDisk).where(SimulatedDisk.pool == pool, SimulatedDisk.name == name)
    tx.execute(gone.execution_options(synchronize_session=False))


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
