"""What hosts hold, counted from the machines that hold it; and hosts' figures put right by it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm

Figures = tuple[int, int, int]  # MHz, bytes, machines


@dataclass(frozen=True)
class Repair:
    """A host whose figures were not what its machines hold."""

    name: str
    told: Figures
    real: Figures


def _held(session: Session, host: int | None = None) -> dict[int, Figures]:
    """What machines hold of each host: where they are, and where they are moving to."""
    found: dict[int, Figures] = {}
    columns = (func.sum(Vm.cpus * Vm.speed), func.sum(Vm.memory), func.count())
    for column, holds in ((Vm.host_id, Vm.reserved), (Vm.target_host_id, Vm.target_host_id.is_not(None))):
        rows = select(column, *columns).where(holds, Vm.removed.is_(None), column.is_not(None)).group_by(column)
        for number, cpu, memory, count in session.execute(rows if host is None else rows.where(column == host)):
            before = found.get(number, (0, 0, 0))
            found[number] = (before[0] + int(cpu or 0), before[1] + int(memory or 0) * 2**20, before[2] + count)
    return found


def wrong() -> list[int]:
    """Hosts whose figures do not seem right. Work that goes on meanwhile may make some seem so."""
    with reading() as session:
        real = _held(session)
        rows = session.execute(
            select(Host.id, Host.cpu_used, Host.memory_used, Host.machines).where(Host.removed.is_(None))
        )
        return [number for number, *told in rows if tuple(told) != real.get(number, (0, 0, 0))]


def repair(tx: Session, number: int) -> Repair | None:
    """Count one host anew and put it right; None where it is right.

    Whoever takes or gives capacity writes the host in the transaction that writes the machine. With the host locked, a
    machine that has just come is seen; of one that is just going, the decrease comes after this and fits what it finds.
    """
    host = tx.scalar(select(Host).where(Host.id == number, Host.removed.is_(None)).with_for_update())
    if host is None:
        return None
    told = (host.cpu_used, host.memory_used, host.machines)
    real = _held(tx, number).get(number, (0, 0, 0))
    if told == real:
        return None
    tx.execute(
        update(Host)
        .where(Host.id == number)
        .values(cpu_used=real[0], memory_used=real[1], machines=real[2])
        .execution_options(synchronize_session=False)
    )
    return Repair(host.name, told, real)


def repair_all() -> list[Repair]:
    """Look without locks; count only those anew, locked, that seem wrong."""
    repairs = [write(repair, number) for number in wrong()]
    return [r for r in repairs if r is not None]
