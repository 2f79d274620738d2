"""Taking machines of hosts over, and forgetting them again."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, hosts, pools
from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.jobs import Job, gives_up
from mgmt_server.model.network import Network
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.migration import flows as moving
from mgmt_server.resources.network import flows as network_flows
from mgmt_server.resources.network.nics import served_by_router
from mgmt_server.resources.vm.migrate import Wish, migrate
from mgmt_server.resources.vm.release import free_nics
from mgmt_server.resources.vm.telling import tell_routers
from mgmt_server.resources.volume import moving as disks
from mgmt_server.resources.volume.locks import disks_of

AT_REST = ("Running", "Stopped")


def not_imported(tx: Session, vm_id: int, host: HostRef | None, name: str, places: dict[int, int]) -> None:
    vm = tx.get_one(Vm, vm_id)
    if vm.removed is None:
        forgotten(tx, vm)


@gives_up(not_imported)
def import_machine(job: Job, vm_id: int, host: HostRef | None, name: str, places: dict[int, int]) -> None:
    """The rows are there; its host, where it had one, forgets the name that it had. It is defined anew, by ours, when
    it starts.

    `places`: the pools to which disks go, by number. They stay whole where they were until the host has forgotten.
    """
    copies = moving.bring(job, vm_id, places) if places else []
    if host is not None:
        job.call(dispatch.forget, host, name)
    if copies:
        moving.settle(job, vm_id, copies)


def not_adopted(tx: Session, vm_id: int, networks: list[int], places: dict[int, int], leaves: bool) -> None:
    vm = tx.get_one(Vm, vm_id)
    if any(v.state == "Migrating" for v in disks_of(tx, vm_id)):
        return  # nobody knows where that disk lies: it is ours until its host has told
    if vm.removed is None and vm.state == "Running":  # one that may be on either of two hosts is left to its reports
        hosts.give_back(tx, vm)
        forgotten(tx, vm)


@gives_up(not_adopted)
def adopt_running(job: Job, vm_id: int, networks: list[int], places: dict[int, int], leaves: bool) -> None:
    """The rows are there, and the machine goes on: its networks are made ready, and their routers told of it.

    `places` are the pools to which disks go, by number; `leaves`: it goes to another host.
    """
    for network in networks:
        job.wait(network_flows.implement, network, lock=f"network:{network}", shared=True)
    tell_routers(job, vm_id)
    if leaves:
        migrate(job, vm_id, Wish(pools=places))
        return
    for volume, pool in places.items():
        disks.migrate(job, volume, vm_id, pool, None)


def forgotten(tx: Session, vm: Vm) -> list[int]:
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
