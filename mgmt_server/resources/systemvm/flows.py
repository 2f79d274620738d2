"""The life of secondary storage VMs and console proxies, with what their rows say of their agent."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mgmt_server.jobs import Job
from mgmt_server.model.vm import Vm
from mgmt_server.resources.router.timers import up
from mgmt_server.resources.vm import flows as machines
from mgmt_server.resources.vm.start import Options


def start(job: Job, vm_id: int) -> None:
    machines.start(job, vm_id, Options(), [], [])
    job.write(up, vm_id)


def stop(job: Job, vm_id: int, forced: bool) -> None:
    machines.stop(job, vm_id, forced)
    job.write(down, vm_id)


def reboot(job: Job, vm_id: int, forced: bool) -> None:
    machines.reboot(job, vm_id, forced)
    job.write(up, vm_id)


def down(tx: Session, vm_id: int) -> None:
    tx.get_one(Vm, vm_id).agent_state = "Disconnected"
