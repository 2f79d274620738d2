"""More of a host for a machine that runs there: one UPDATE whose WHERE is the check, as when it came."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from mgmt_server.db import changed
from mgmt_server.model.host import Host


def grow(tx: Session, host_id: int, cpu: int, memory: int) -> bool:
    """Take so many MHz and bytes more. False where the host has not enough any more."""
    taken = (
        update(Host)
        .where(
            Host.id == host_id,
            Host.cpu_capacity - Host.cpu_used >= cpu,
            Host.memory_capacity - Host.memory_used >= memory,
        )
        .values(cpu_used=Host.cpu_used + cpu, memory_used=Host.memory_used + memory)
        .execution_options(synchronize_session=False)
    )
    return changed(tx.execute(taken)) == 1


def shrink(tx: Session, host_id: int, cpu: int, memory: int) -> None:
    """Give back what `grow` took."""
    given = update(Host).where(Host.id == host_id)
    given = given.values(cpu_used=Host.cpu_used - cpu, memory_used=Host.memory_used - memory)
    tx.execute(given.execution_options(synchronize_session=False))
