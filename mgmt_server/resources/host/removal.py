"""Taking a host out of the cloud, with what is on it: nothing is left that nobody looks after."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import uuid4

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.db import Conflict, now, write
from mgmt_server.drivers.hypervisor import dispatch
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError, Failed, InUse
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.host import RESOURCE_STATES, Host
from mgmt_server.model.storage import Pool, TemplateOnPool
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.protocol.machine import Disk
from mgmt_server.resources.ha import guests
from mgmt_server.resources.host import rows
from mgmt_server.resources.host.maintenance import machines_of
from mgmt_server.resources.reconcile import moves
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template.caches import needed
from mgmt_server.resources.vm import flows as vm_flows
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.volume.moving import doubted
from mgmt_server.resources.volume.places import Place, gone

log = logging.getLogger("cloudwright.hosts")


def remove(host: Host, forced: bool, destroying: bool) -> None:
    """Raises Failed or InUse with what is in the way. What it asks of the host may be asked again."""
    machines = write(_check, host.id, forced, destroying)
    for number in machines:
        _stop(host, number)
    if destroying:
        if host.state != "Up":
            write(_decide, host.id)
        for number in write(_destroyed_with, host.id):
            _expunge(number)
        _clear(host, _remains)
        write(_lose_disks, host.id)
    _clear(host, _copies)
    _forget(host)
    write(_vanish, host.id)


def _check(tx: Session, host_id: int, forced: bool, destroying: bool) -> list[int]:
    """No more machines come to the host: those that are there."""
    host = tx.get_one(Host, host_id, with_for_update=True)
    if not forced and host.resource_state != "Maintenance":
        raise Failed(
            f"host {host.name} is not in maintenance: call prepareHostForMaintenance first, or send forced=true"
        )
    found = _local_disks(tx, host_id)
    if found and not destroying:
        names = ", ".join(d.name for d in found[:3])
        raise Failed(
            f"{len(found)} disks are on local storage of host {host.name} ({names}): move or delete them, or send "
            "forcedestroylocalstorage=true to lose them with their machines"
        )
    there = machines_of(tx, host_id)
    theirs = {d.vm_id for d in found if d.vm_id is not None}
    locks = {f"vm:{n}" for n in {vm.id for vm in there} | theirs}
    busy = set(tx.scalars(select(JobRow.lock).where(JobRow.lock.in_(locks), JobRow.state.in_(OPEN))))
    if busy:
        names = ", ".join(spoken(tx.get_one(Vm, int(lock.partition(":")[2]))) for lock in sorted(busy)[:3])
        raise InUse(f"jobs work on machines of host {host.name} ({names}): wait for them, then delete it")
    if host.machines and not there:
        raise Failed(f"{host.machines} machine(s) are on host {host.name}: call releaseHostReservation, then try again")
    if host.resource_state in ("Enabled", "PrepareForMaintenance", "ErrorInMaintenance", "Degraded"):
        RESOURCE_STATES.move(tx, host_id, (host.resource_state,), "Disabled")
    return [vm.id for vm in there]


def _local_pools(host_id: int) -> Select[tuple[int]]:
    return select(Pool.id).where(Pool.host_id == host_id, Pool.scope == "HOST", Pool.removed.is_(None))


def _local_disks(tx: Session, host_id: int) -> list[Volume]:
    """Without those that are perhaps where they were to go, which the reconciler finds out once the host is gone."""
    mine = select(Volume).where(Volume.pool_id.in_(_local_pools(host_id)), Volume.removed.is_(None))
    away = Volume.target_pool_id.not_in(_local_pools(host_id)) & (Volume.last_pool_id == Volume.target_pool_id)
    return list(tx.scalars(mine.where(Volume.target_pool_id.is_(None) | ~away)))


def _stop(host: Host, number: int) -> None:
    """Cut a machine's power. A host that is lost cannot be asked: who forces its removal knows that it is off."""
    vm = write(_get, number)
    if host.state == "Up":
        dispatch.stop(uuid4(), storage.ref(host), vm.instance, True)
    try:
        write(_stopped, number, host.id)
    except Conflict:  # the host has told by itself, at the same moment, that it does not run
        write(_stopped, number, host.id)


def _decide(tx: Session, host_id: int) -> None:
    """Disks in doubt of a host that cannot tell any more. One that goes with the one pool is in the other.

    Of those in two pools that stay, the reconciler looks at the files, unless their machines go now.
    """
    local, lost = set(tx.scalars(_local_pools(host_id))), _rootless(tx, host_id)
    rows = select(Volume).join(Vm, Vm.id == Volume.vm_id).where(Volume.removed.is_(None), Volume.state == "Migrating")
    for volume in tx.scalars(rows.where(Vm.last_host_id == host_id, Vm.host_id.is_(None))):
        if doubted(volume) and (volume.vm_id in lost or local & {volume.pool_id, volume.target_pool_id}):
            moves.settle_unknown(tx, volume.id, volume.pool_id not in local, volume.target_pool_id not in local)


def _get(tx: Session, number: int) -> Vm:
    return tx.get_one(Vm, number)


def _stopped(tx: Session, number: int, host_id: int) -> None:
    vm, host = tx.get_one(Vm, number), tx.get_one(Host, host_id)
    if vm.host_id == host_id and vm.state in guests.LIVELY:
        guests.lay_down(tx, vm, host, f"was stopped: its host {host.name} is deleted")


def _destroyed_with(tx: Session, host_id: int) -> list[int]:
    """Machines whose root disk is lost are destroyed with it."""
    found = list(tx.scalars(select(Vm).where(Vm.id.in_(_rootless(tx, host_id)), Vm.removed.is_(None))))
    for vm in found:
        if vm.state not in ("Destroyed", "Expunging"):
            vm_flows.destroyed(tx, vm.id)
    return [vm.id for vm in found]


def _rootless(tx: Session, host_id: int) -> set[int]:
    return {d.vm_id for d in _local_disks(tx, host_id) if d.kind == "ROOT" and d.vm_id is not None}


def _expunge(number: int) -> None:
    plan = write(vm_flows.begin_expunge, number)
    for left in plan.disks:
        _delete(left)
    write(vm_flows.expunged, number)


def _delete(left: Place) -> None:
    try:
        disks.delete_disk(uuid4(), left.host, left.disk)
    except ApiError as error:
        log.warning("the disk %s stays on %s: %s", left.disk.name, left.host.name, error)


def _clear(host: Host, what: Callable[[Session, int], list[Place]]) -> None:
    """Nobody looks after files of a removed host. One that is lost cannot be asked to delete them."""
    for left in write(what, host.id) if host.state == "Up" else ():
        _delete(left)


def _remains(tx: Session, host_id: int) -> list[Place]:
    """Files of disks that are lost with the host."""
    return [left for volume in _local_disks(tx, host_id) if (left := gone(tx, volume)) is not None]


def _copies(tx: Session, host_id: int) -> list[Place]:
    """Templates on its local storage."""
    host = storage.ref(tx.get_one(Host, host_id))
    rows = select(TemplateOnPool, Pool).join(Pool, Pool.id == TemplateOnPool.pool_id)
    found = tx.execute(rows.where(TemplateOnPool.pool_id.in_(_local_pools(host_id)), ~needed())).all()
    return [Place(host, Disk(copy.name, storage.as_seen(pool), copy.size)) for copy, pool in found]


def _forget(host: Host) -> None:
    """No machine of ours stays defined there."""
    if host.state != "Up":
        return
    reference = storage.ref(host)
    try:
        there = [m for m in dispatch.machines(reference) if m.state == "Stopped" and m.uuid]
        ours = write(_ours, [m.uuid for m in there])
        for name in (m.name for m in there if m.uuid in ours):
            dispatch.forget(uuid4(), reference, name)
    except ApiError as error:
        log.warning("machines stay defined on %s: %s", host.name, error)


def _ours(tx: Session, uuids: list[str]) -> set[str]:
    """Those of machines that were let go are their owners'."""
    mine = Vm.removed.is_(None) | (Vm.state == "Expunging")
    return set(tx.scalars(select(Vm.uuid).where(Vm.uuid.in_(uuids), mine)))


def _lose_disks(tx: Session, host_id: int) -> None:
    """Data disks on local storage, of machines that live on elsewhere or of none."""
    for volume in _local_disks(tx, host_id):
        counted.volumes_go(tx, [volume])
        VOLUME_STATES.move(tx, volume.id, volume.state, "Expunged", removed=now(), slot=None)


def _vanish(tx: Session, host_id: int) -> None:
    host = tx.get_one(Host, host_id, with_for_update=True, populate_existing=True)
    copies = delete(TemplateOnPool).where(TemplateOnPool.pool_id.in_(_local_pools(host_id)))
    tx.execute(copies.execution_options(synchronize_session=False))
    if not rows.vanish(tx, host):
        raise Failed(f"{host.machines} machine(s) are on host {host.name}: they came meanwhile; try again")
    last = select(Vm).where(Vm.host_id == host_id, Vm.removed.is_(None), Vm.state == "Stopped")
    for vm in tx.scalars(last):
        vm.host_id = None
