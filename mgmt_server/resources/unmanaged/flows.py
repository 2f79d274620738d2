"""Taking machines of hosts over, and letting machines go without touching them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, hosts, pools
from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job, gives_up
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.network.nics import served_by_router
from mgmt_server.resources.router import document
from mgmt_server.resources.vm.release import free_nics, spoken
from mgmt_server.resources.vmsnapshot.rows import refuse_with_snapshots

AT_REST = ("Running", "Stopped")


def not_imported(tx: Session, vm_id: int, host: HostRef, name: str) -> None:
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is None:
        _forgotten(tx, vm)


@gives_up(not_imported)
def import_machine(job: Job, vm_id: int, host: HostRef, name: str) -> None:
    """The rows are there; its host forgets the name that it had. It is defined anew, by ours, when it starts."""
    job.call(dispatch.forget, host, name)


def let_go(job: Job, vm_id: int) -> None:
    """Forget a machine. It runs on, or stays stopped, on its host; its disks stay where they are."""
    for network in job.write(left, vm_id):
        job.call(document.tell, network)


def left(tx: Session, vm_id: int) -> list[int]:
    vm = tx.get_one(Vm, vm_id)
    check_leaves(tx, vm)
    if vm.state == "Running":
        hosts.give_back(tx, vm)
    return _forgotten(tx, vm)


def check_leaves(tx: Session, vm: Vm) -> None:
    """Raises InvalidValue for a machine that cannot be let go."""
    if vm.state not in AT_REST:
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: only a running or stopped machine is let go")
    there = tx.get(Host, vm.host_id or vm.last_host_id) if vm.host_id or vm.last_host_id else None
    if there is None or there.removed is not None:
        raise InvalidValue(f"{spoken(vm)} is on no host: nothing of it would be left but its disks. Start it once")
    if vm.iso_id is not None:
        raise InvalidValue(f"{spoken(vm)} has an ISO: take it out with detachIso first")
    refuse_with_snapshots(tx, vm.id, "it cannot be let go")
    kept = select(Snapshot.name).join(Volume, Volume.id == Snapshot.volume_id)
    kept = kept.where(Volume.vm_id == vm.id, Volume.removed.is_(None), Snapshot.removed.is_(None)).limit(1)
    snapshot = tx.scalar(kept)
    if snapshot is not None:
        raise InvalidValue(f"{spoken(vm)} has snapshots of disks ({snapshot}): delete them with deleteSnapshot first")


def _forgotten(tx: Session, vm: Vm) -> list[int]:
    """Remove the rows and give back what they hold, the outside left alone: networks whose router has to know."""
    volumes = list(tx.scalars(select(Volume).where(Volume.vm_id == vm.id, Volume.removed.is_(None))))
    for volume in volumes:
        if volume.pool_id is not None:
            pools.give_back(tx, volume.pool_id, volume.size)
        volume.removed, volume.slot = now(), None
    counted.volumes_go(tx, volumes)
    counted.machine_goes(tx, vm)
    networks = free_nics(tx, vm.id)
    vm.removed, vm.password, vm.vnc_password, vm.user_data = now(), None, None, None
    vm.host_id = vm.group_id = vm.user_data_id = None
    tx.flush()
    return [n for n in networks if served_by_router(tx, tx.get_one(Network, n))]
