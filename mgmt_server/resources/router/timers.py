"""An enabled simulated zone has its two system VMs; what of it can be done elsewhere on KVM is done there."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now, reading, write
from mgmt_server.jobs import Asker, Job, enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.account import ROOT_DOMAIN, SYSTEM_ACCOUNT, SYSTEM_USER
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.router import SOFTWARE
from mgmt_server.resources.router.create import create_keeper
from mgmt_server.resources.vm import flows as vm_flows
from mgmt_server.resources.vm.start import Options

KINDS = ("SecondaryStorageVm", "ConsoleProxy")


@every(3, "have system VMs in simulated zones")
def have_system_vms() -> None:
    with reading() as session:
        simulated = select(Host.zone_id).where(
            Host.hypervisor == "Simulator", Host.state == "Up", Host.removed.is_(None)
        )
        full = (
            select(Vm.zone_id)
            .where(Vm.kind.in_(KINDS), Vm.removed.is_(None), Vm.state.in_(("Running", "Starting")))
            .group_by(Vm.zone_id, Vm.kind)
        )
        rows = select(Zone.id).where(Zone.allocation_state == "Enabled", Zone.removed.is_(None), Zone.type == "Core")
        zones = list(session.scalars(rows.where(Zone.id.in_(simulated))))
        present = list(session.scalars(full))
    for zone in zones:
        if present.count(zone) < len(KINDS):
            write(_queue, zone)


def _queue(tx: Session, zone_id: int) -> None:
    lock = f"keepers:{zone_id}"
    if tx.scalar(select(JobRow.id).where(JobRow.lock == lock, JobRow.state.in_(OPEN)).limit(1)) is None:
        asker = Asker(account_id=SYSTEM_ACCOUNT, domain_id=ROOT_DOMAIN, user_id=SYSTEM_USER)
        enqueue(tx, keep, (zone_id,), lock=lock, asker=asker)


def keep(job: Job, zone_id: int) -> None:
    """Make and start what is missing."""
    for number in job.write(missing, zone_id):
        job.wait(vm_flows.start, number, Options(), [], [], lock=f"vm:{number}", instance=("SystemVm", ""))
        job.write(up, number)


def missing(tx: Session, zone_id: int) -> list[int]:
    zone = tx.get_one(Zone, zone_id)
    pod = tx.scalar(select(Host.pod_id).where(Host.zone_id == zone_id, Host.state == "Up").limit(1))
    if pod is None:
        return []
    found = []
    for kind in KINDS:
        rows = select(Vm).where(Vm.zone_id == zone_id, Vm.kind == kind, Vm.removed.is_(None))
        vm = tx.scalar(rows.limit(1)) or create_keeper(tx, zone, kind, pod)
        if vm.state == "Stopped":
            found.append(vm.id)
    return found


def up(tx: Session, vm_id: int) -> None:
    vm = tx.get_one(Vm, vm_id)
    vm.agent_state, vm.software_version, vm.state_changed = "Up", SOFTWARE, now()
