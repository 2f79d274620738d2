"""Where a running machine can move to: a host with room, and pools for those of its disks that the host does not reach.

Capacity there is held beside that of the source until the move has ended: Vm.target_host_id, Volume.target_pool_id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import hosts, hypervisors, pools
from mgmt_server.allocation.hosts import Need
from mgmt_server.allocation.pools import Space
from mgmt_server.db import changed, now
from mgmt_server.errors import InvalidValue, NoCapacity
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import STATES, VOLUME_STATES, Vm, Volume
from mgmt_server.resources.network.nics import pod_of
from mgmt_server.resources.vm import placing
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vmsnapshot.rows import of_machine, refuse_with_snapshots
from mgmt_server.resources.volume import leftovers

GUARDED = "it cannot move to other storage"
ACROSS = Setting(
    "migrate.vm.across.clusters",
    "Whether a machine that moves without a host being named may leave its cluster; one that is named may be anywhere",
)


@dataclass(frozen=True)
class Wish:
    """Where a machine shall move to. Without a host the allocator chooses one."""

    host_id: int | None = None
    pools: dict[int, int] = field(default_factory=dict)  # volume id -> pool id, of disks that shall move too
    avoid_hosts: tuple[int, ...] = ()
    with_storage: bool = True  # whether disks that the host does not reach move along


@dataclass(frozen=True)
class Target:
    """What was taken: the host, and where each disk that moves goes to: volume id -> pool."""

    host: Host
    moves: dict[int, Pool]


@dataclass(frozen=True)
class Lying:
    """A disk, the pool that it lies in, and what it needs of another."""

    volume: Volume
    pool: Pool
    space: Space


def lying(tx: Session, vm_id: int) -> list[Lying]:
    """The machine's disks that are on storage."""
    parts = placing.parts_of(tx, vm_id)
    known = {p.id: p for p in placing.pools_of(tx, parts)}
    found = []
    for volume, offering in parts.volumes:
        pool = known.get(volume.pool_id or 0)
        if pool is not None:
            space = replace(placing.space_of(volume, offering or parts.root), local=pool.is_local)
            found.append(Lying(volume, pool, space))
    return found


def need_of(tx: Session, vm: Vm, wish: Wish) -> Need:
    """What the machine needs of another host."""
    parts = placing.parts_of(tx, vm.id)
    need = placing.need_of(parts, placing.Options(host_id=wish.host_id), [])
    here = (vm.host_id,) if vm.host_id is not None else ()
    need = replace(need, avoid=(*need.avoid, *wish.avoid_hosts, *here))
    if vm.kind in ("ConsoleProxy", "SecondaryStorageVm"):
        return replace(need, pod_id=vm.pod_id)  # its management address is the pod's
    if parts.zone_type == "Basic":
        return replace(need, pod_id=pod_of(tx, vm.id) or need.pod_id)
    return need


def ways(disks: Iterable[Lying], host: Host, wish: Wish, usable: list[Pool]) -> tuple[dict[int, list[Pool]], list[str]]:
    """For each disk that would have to move, the pools that it could go to; and what speaks against the host."""
    found: dict[int, list[Pool]] = {}
    told = []
    for disk in disks:
        wanted = wish.pools.get(disk.volume.id)
        if wanted is None and pools.reachable(disk.pool, host):
            continue
        if wanted == disk.pool.id and pools.reachable(disk.pool, host):
            continue
        stays = hypervisors.moves_disks(host.hypervisor)
        if stays:
            told.append(f"the disk {disk.volume.name} would have to move, and {stays}")
            continue
        fitting = [p for p in usable if pools.reachable(p, host) and p.id != disk.pool.id]
        space = disk.space
        if wanted is not None:
            fitting = [p for p in fitting if p.id == wanted]
            space = replace(space, local=any(p.is_local for p in fitting))
        elif not wish.with_storage:
            told.append(f"it does not reach the pool {disk.pool.name} of the disk {disk.volume.name}")
            continue
        takes = [p for p in fitting if not pools.why_not(p, space)]
        if not takes:
            why = "; ".join(f"{p.name} {pools.why_not(p, space)}" for p in fitting) or "it reaches no such pool"
            told.append(f"no pool for the disk {disk.volume.name}: {why}")
        found[disk.volume.id] = takes
    return found, told


def take(tx: Session, vm: Vm, wish: Wish) -> Target:
    """Running -> Migrating: hold a host and pools. Raises NoCapacity with what spoke against each."""
    need = need_of(tx, vm, wish)
    disks = lying(tx, vm.id)
    usable = pools.usable(tx, vm.zone_id, vm.account_id)
    guard = hosts.guard(tx, need)
    kept = bool(of_machine(tx, vm.id))
    told: list[str] = []
    asking = nearest_first(tx, vm, need)
    for host, moves in _ordered(tx, vm, asking, wish, disks, usable, told):
        if moves:
            pools.check_moves()
        if moves and kept:
            refuse_with_snapshots(tx, vm.id, GUARDED)
        if not hosts.take(tx, host.id, need.cpu, need.memory, condition=guard):
            continue
        chosen = _pools(tx, disks, moves)
        if chosen is None:
            untake(tx, host.id, vm)
            told.append(f"{host.name}: its pools have just been filled")
            continue
        STATES.move(tx, vm.id, "Running", "Migrating", target_host_id=host.id, last_host_id=None, state_changed=now())
        for volume, pool in chosen.items():
            disk_leaves(tx, tx.get_one(Volume, volume), pool)
        return Target(host, chosen)
    if told:
        text = f"No host can take {spoken(vm)} with its disks"
        raise NoCapacity(text, inventory=f"{text}: {'; '.join(told)}")
    raise hosts.refused(tx, asking[-1], spoken(vm))


def nearest_first(tx: Session, vm: Vm, need: Need) -> list[Need]:
    """Where to look: in its cluster, then in others where that is allowed."""
    here = tx.get(Host, vm.host_id) if vm.host_id is not None else None
    if here is None or need.cluster_id is not None or need.host_id is not None:
        return [need]
    near = replace(need, cluster_id=here.cluster_id)
    return [near, need] if ACROSS.flag(Scope("Zone", vm.zone_id)) else [near]


def _ordered(
    tx: Session, vm: Vm, asking: list[Need], wish: Wish, disks: list[Lying], usable: list[Pool], told: list[str]
) -> Iterable[tuple[Host, dict[int, list[Pool]]]]:
    """Hosts with room, in this order; of each kind those first for which fewer disks have to move."""
    looked = {vm.host_id, *wish.avoid_hosts}
    for asked in asking:
        found = []
        for host in hosts.candidates(tx, asked):
            if host.id in looked:
                continue
            looked.add(host.id)
            moves, against = ways(disks, host, wish, usable)
            if against:
                told.append(f"{host.name}: {', '.join(against)}")
            else:
                found.append((host, moves))
        yield from sorted(found, key=lambda one: len(one[1]))


def _pools(tx: Session, disks: list[Lying], moves: dict[int, list[Pool]]) -> dict[int, Pool] | None:
    """Take space for each disk that moves; None, and nothing taken, where one finds none."""
    sizes = {d.volume.id: d.volume.size for d in disks}
    chosen: dict[int, Pool] = {}
    for volume, fitting in moves.items():
        pool = next((p for p in fitting if pools.take(tx, p.id, sizes[volume])), None)
        if pool is None:
            for other, taken in chosen.items():
                pools.give_back(tx, taken.id, sizes[other])
            return None
        chosen[volume] = pool
    return chosen


def untake(tx: Session, host_id: int, vm: Vm) -> None:
    """Give back what a host holds for a machine that goes or does not come."""
    tx.execute(
        update(Host)
        .where(Host.id == host_id)
        .values(
            cpu_used=Host.cpu_used - vm.cpus * vm.speed,
            memory_used=Host.memory_used - vm.memory * 2**20,
            machines=Host.machines - 1,
        )
        .execution_options(synchronize_session=False)
    )


def let_go(tx: Session, vm_id: int, *, unsure: bool = False) -> None:
    """Give back what a move has taken at its target, once: the machine and its disks stay where they are.

    `unsure`: nobody knew at the time where it ran, so that copies of its disks may be there.
    """
    _let_go_of_host(tx, vm_id)
    moving = select(Volume).where(Volume.vm_id == vm_id, Volume.target_pool_id.is_not(None))
    for volume in tx.scalars(moving.execution_options(populate_existing=True)):
        pool = tx.get_one(Pool, volume.target_pool_id)
        disk_stays(tx, volume)
        if unsure:
            leftovers.queue(tx, pool.uuid, volume.path or volume.uuid)


def _let_go_of_host(tx: Session, vm_id: int) -> None:
    vm = tx.get_one(Vm, vm_id, populate_existing=True)
    host = vm.target_host_id
    if host is not None:
        held = update(Vm).where(Vm.id == vm_id, Vm.target_host_id == host).values(target_host_id=None)
        if changed(tx.execute(held.execution_options(synchronize_session=False))) == 1:
            untake(tx, host, vm)


def doubted(vm: Vm) -> bool:
    """Whether a move has ended with nobody able to tell where the machine runs."""
    return vm.target_host_id is not None and vm.last_host_id == vm.target_host_id


def lose(tx: Session, vm_id: int) -> None:
    """As `let_go`, of a machine that was lost on its way. What disks it had last is not known where the move is in
    doubt: they stay so, with both files.
    """
    if doubted(tx.get_one(Vm, vm_id)):
        moving = Volume.target_pool_id.is_not(None) & (Volume.state == "Migrating")
        mine = update(Volume).where(Volume.vm_id == vm_id, moving).values(last_pool_id=Volume.target_pool_id)
        tx.execute(mine.execution_options(synchronize_session=False))
        _let_go_of_host(tx, vm_id)
    else:
        let_go(tx, vm_id, unsure=True)


def disk_leaves(tx: Session, volume: Volume, pool: Pool) -> None:
    """Ready -> Migrating. That it lay in that pool before is forgotten: it would stand for a move in doubt."""
    last = None if volume.last_pool_id == pool.id else volume.last_pool_id
    values = {"target_pool_id": pool.id, "last_pool_id": last}
    VOLUME_STATES.move(tx, volume.id, "Ready", "Migrating", state_changed=now(), **values)


def disk_stays(tx: Session, volume: Volume) -> None:
    """A disk does not move after all."""
    pool = volume.target_pool_id
    if pool is not None:
        VOLUME_STATES.move(tx, volume.id, "Migrating", "Ready", target_pool_id=None, state_changed=now())
        pools.give_back(tx, pool, volume.size)


def disk_moved(tx: Session, volume: Volume) -> None:
    """A disk is where it was to go: what its old pool held for it is free."""
    before, pool_id = volume.pool_id, volume.target_pool_id
    if before is None or pool_id is None:
        return
    pool = tx.get_one(Pool, pool_id)
    values = {"pool_id": pool_id, "last_pool_id": before, "target_pool_id": None, "pod_id": pool.pod_id}
    VOLUME_STATES.move(tx, volume.id, "Migrating", "Ready", state_changed=now(), **values)
    pools.give_back(tx, before, volume.size)


def check_pools(tx: Session, vm: Vm, wanted: dict[int, Pool]) -> None:
    """Raises InvalidValue for a disk that cannot go to the pool that was named for it."""
    for number, pool in wanted.items():
        volume = tx.get_one(Volume, number)
        if volume.vm_id != vm.id:
            raise InvalidValue(f"The disk {volume.name} is not one of {spoken(vm)}: name disks that it has")
        if pool.zone_id != vm.zone_id:
            raise InvalidValue(f"The pool {pool.name} is in another zone than {spoken(vm)}")
        if pool.state != "Up":
            raise InvalidValue(f"The pool {pool.name} is {pool.state}: enable it, or choose another")
