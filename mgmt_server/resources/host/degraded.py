"""Hosts that an operator knows to be dead: the word of a person is the proof, and their machines start elsewhere."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mgmt_server.errors import Failed
from mgmt_server.jobs import Job
from mgmt_server.model.host import RESOURCE_STATES, Host
from mgmt_server.model.vm import Vm
from mgmt_server.resources.ha import hosts as lost_hosts
from mgmt_server.resources.host import flows
from mgmt_server.resources.host.maintenance import machines_of


def degrade(job: Job, host_id: int) -> None:
    job.write(_degrade, host_id)


def _degrade(tx: Session, host_id: int) -> None:
    host = tx.get_one(Host, host_id, with_for_update=True)
    if host.state == "Up" and machines_of(tx, host_id):
        raise Failed(
            f"host {host.name} is Up, and machines run on it: call prepareHostForMaintenance, which moves them. A host "
            "is declared degraded when it is lost and known to be off"
        )
    if host.resource_state not in ("Enabled", "Disabled"):
        raise Failed(f"host {host.name} is in {host.resource_state}: cancel that first")
    RESOURCE_STATES.move(tx, host_id, (host.resource_state,), "Degraded")
    lost_hosts.let_go(tx, host, f"was on host {host.name}, which was declared degraded")


def restore(job: Job, host_id: int) -> None:
    """Degraded to Enabled; it is looked at anew."""
    job.write(_restore, host_id)
    flows.connect(job, host_id)


def _restore(tx: Session, host_id: int) -> None:
    host = tx.get_one(Host, host_id, with_for_update=True)
    if host.resource_state != "Degraded":
        raise Failed(f"host {host.name} is {host.resource_state}, not degraded")
    RESOURCE_STATES.move(tx, host_id, ("Degraded",), "Enabled")


def release(job: Job, host_id: int) -> None:
    job.write(recount, host_id)


def recount(tx: Session, host_id: int) -> bool:
    """Set what the host has promised to the sum of what machines hold of it. Whether it was wrong."""
    host = tx.get_one(Host, host_id, with_for_update=True)
    sums = select(
        func.count(), func.coalesce(func.sum(Vm.cpus * Vm.speed), 0), func.coalesce(func.sum(Vm.memory), 0)
    ).where(Vm.removed.is_(None))
    held = tx.execute(sums.where(Vm.host_id == host_id, Vm.reserved)).one()
    coming = tx.execute(sums.where(Vm.target_host_id == host_id)).one()
    machines, cpu, memory = (int(a) + int(b) for a, b in zip(held, coming, strict=True))
    right = {"machines": machines, "cpu_used": cpu, "memory_used": memory * 2**20}
    if all(getattr(host, name) == value for name, value in right.items()):
        return False
    mine = update(Host).where(Host.id == host_id).values(right)
    tx.execute(mine.execution_options(synchronize_session=False))
    return True
