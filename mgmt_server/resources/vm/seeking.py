"""A machine that its host has no more: before it counts as dead, the hosts that reach its disks are asked for it.

Somebody may have moved it by hand. With high availability it would else be started a second time, on the same disks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.errors import Unavailable
from mgmt_server.jobs import Job, enqueue
from mgmt_server.model.host import Host
from mgmt_server.model.storage import PoolHost
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.ha import guests
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.vm import elsewhere

log = logging.getLogger("cloudwright.power")


def lay_down(tx: Session, vms: Sequence[Vm], host: Host, why: str) -> None:
    """Lay down machines that their living host has no more, but first seek those that may run elsewhere.

    Many at once lost their power: nobody moves so many in a moment, and they are to come back soon.
    """
    few = len(vms) < guests.FEW
    sought = [v for v in vms if few and _others(tx, v, host)]
    for vm in sought:
        enqueue(tx, seek, (vm.id, host.id, why), lock=f"vm:{vm.id}", instance=elsewhere.instance_of(vm))
    guests.lay_down_all(tx, [v for v in vms if v not in sought], host, why, host_lives=True)


@dataclass(frozen=True)
class Sought:
    """A machine by what its hosts call it, where it should run, and who else could have it."""

    name: str
    home: HostRef
    others: tuple[HostRef, ...]


def seek(job: Job, vm_id: int, home_id: int, why: str) -> None:
    """Runs under the machine's lock. Fails where its host cannot tell any more: that host's next report, or its loss,
    decides. Another host that cannot tell is passed by, or it could keep all of them from being started again.
    """
    sought = job.write(_about, vm_id, home_id)
    if sought is None:
        return
    found = job.call(find, sought)
    if found == "":
        job.write(_lay_down, vm_id, home_id, why)
    elif found != sought.home.uuid:
        job.write(_moved, vm_id, found)


def find(call: UUID, sought: Sought) -> str:
    """The uuid of the host that has it; empty for none. Raises Unavailable when its own host cannot tell."""
    if elsewhere.runs(sought.home, sought.name):
        return sought.home.uuid
    for host in sought.others:
        try:
            if elsewhere.runs(host, sought.name):
                return host.uuid
        except Unavailable as unavailable:
            log.warning("%s cannot tell whether %s runs there: %s", host.name, sought.name, unavailable)
    return ""


def _about(tx: Session, vm_id: int, home_id: int) -> Sought | None:
    vm, home = tx.get_one(Vm, vm_id), tx.get_one(Host, home_id)
    if not _should_run(vm, home_id):
        return None
    return Sought(vm.instance, storage.ref(home), tuple(storage.ref(h) for h in _others(tx, vm, home)))


def _should_run(vm: Vm, home_id: int) -> bool:
    return vm.removed is None and vm.state == "Running" and vm.host_id == home_id


def _others(tx: Session, vm: Vm, home: Host) -> list[Host]:
    """The hosts besides its own that reach all its disks, those of its cluster first."""
    pools = set(tx.scalars(select(Volume.pool_id).where(Volume.vm_id == vm.id, Volume.pool_id.is_not(None))))
    rows = select(Host).where(
        Host.id != home.id, Host.zone_id == home.zone_id, Host.hypervisor == home.hypervisor, Host.state == "Up",
        Host.type == "Routing", Host.removed.is_(None),
    )  # fmt: skip
    if pools:
        reach = select(PoolHost.host_id).where(PoolHost.pool_id.in_(pools)).group_by(PoolHost.host_id)
        rows = rows.where(Host.id.in_(reach.having(func.count() == len(pools))))
    else:
        rows = rows.where(Host.cluster_id == home.cluster_id)
    return list(tx.scalars(rows.order_by(Host.cluster_id != home.cluster_id, Host.id)))


def _lay_down(tx: Session, vm_id: int, home_id: int, why: str) -> None:
    vm = tx.get_one(Vm, vm_id)
    if _should_run(vm, home_id):
        guests.lay_down(tx, vm, tx.get_one(Host, home_id), why, host_lives=True)


def _moved(tx: Session, vm_id: int, seen: str) -> None:
    host = tx.scalars(select(Host).where(Host.uuid == seen, Host.removed.is_(None))).one()
    elsewhere.moved(tx, vm_id, host.id)
