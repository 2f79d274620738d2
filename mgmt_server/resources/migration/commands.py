"""Moving machines: to other hosts while they run, to other pools while they are stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from mgmt_server.allocation import hosts, pools
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.host.views import host_view
from mgmt_server.resources.migration import flows
from mgmt_server.resources.vm import target as targets
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.migrate import Wish, migrate
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vm.views import vm_view

candidate_view = host_view.extended(response="HostForMigrationResponse")


@command("migrateVirtualMachine", roles=ROOT, answers=vm_view, event="VM.MIGRATE")
def migrate_machine(
    ctx: Context,
    virtualmachineid: Operate[Vm],
    hostid: Use[Host] | None = None,
    storageid: Use[Pool] | None = None,
    autoselect: bool = False,
) -> Accepted:
    """Move a running machine to another host, or a stopped one's disks to another pool.

    virtualmachineid: the machine
    hostid: the host; disks that it does not reach move along
    storageid: the pool, for a machine that is stopped
    autoselect: whether to choose the host by itself, where none is named
    """
    vm = virtualmachineid
    only_users(vm)
    if hostid is not None and storageid is not None:
        raise InvalidValue("hostid and storageid exclude each other: one is for running machines, one for stopped ones")
    if storageid is not None:
        if vm.state != "Stopped":
            raise InvalidValue(
                f"{spoken(vm)} is {vm.state}: its disks move to a pool while it is stopped; while it runs, "
                "migrateVirtualMachineWithVolume moves both"
            )
        return move_disks(ctx, vm, {d.volume.id: storageid for d in targets.lying(ctx.session, vm.id)})
    return move_machine(ctx, vm, hostid, {}, autoselect)


@command("migrateVirtualMachineWithVolume", roles=ROOT, answers=vm_view, event="VM.MIGRATE")
def migrate_with_volumes(
    ctx: Context,
    virtualmachineid: Operate[Vm],
    hostid: Use[Host] | None = None,
    migrateto: list[dict[str, str]] | None = None,
    autoselect: bool = False,
) -> Accepted:
    """Move a machine with its disks: to another host while it runs, to other pools while it is stopped.

    virtualmachineid: the machine
    hostid: the host, for a machine that runs
    migrateto: which disk goes to which pool: migrateto[0].volume and .pool
    autoselect: whether to choose the host by itself, where none is named
    """
    vm = virtualmachineid
    only_users(vm)
    wanted = _wanted(ctx, migrateto or [])
    if vm.state != "Stopped":
        return move_machine(ctx, vm, hostid, wanted, autoselect)
    if hostid is not None:
        raise InvalidValue(f"{spoken(vm)} is stopped: leave hostid out, and choose its host when you start it")
    if not wanted:
        raise InvalidValue("migrateto is missing: say for each disk, which pool it goes to")
    return move_disks(ctx, vm, wanted)


def move_machine(ctx: Context, vm: Vm, host: Host | None, wanted: dict[int, Pool], autoselect: bool) -> Accepted:
    """Queue the migration of a running machine."""
    if vm.state != "Running":
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: only a running machine moves to another host")
    if host is None and not autoselect:
        raise InvalidValue("hostid is missing: name a host, or send autoselect=true to have one chosen")
    if host is not None:
        _check_host(vm, host)
    targets.check_pools(ctx.session, vm, wanted)
    ctx.describe(f"moving {spoken(vm)} to {f'the host {host.name}' if host else 'another host'}")
    return ctx.start(migrate, vm, Wish(host and host.id, {n: p.id for n, p in wanted.items()}))


def move_disks(ctx: Context, vm: Vm, wanted: dict[int, Pool]) -> Accepted:
    """Queue the move of a stopped machine's disks."""
    if not wanted:
        raise InvalidValue(f"{spoken(vm)} has never run: its disks are on no storage yet")
    targets.check_pools(ctx.session, vm, wanted)
    names = ", ".join(sorted({p.name for p in wanted.values()}))
    ctx.describe(f"moving the disks of {spoken(vm)} to {names}")
    return ctx.start(flows.move_disks, vm, {n: p.id for n, p in wanted.items()})


def _check_host(vm: Vm, host: Host) -> None:
    if host.id == vm.host_id:
        raise InvalidValue(f"{spoken(vm)} runs on {host.name} already: choose another host")
    if host.zone_id != vm.zone_id or host.hypervisor != vm.hypervisor or host.type != "Routing":
        raise InvalidValue(f"{spoken(vm)} cannot run on {host.name}: see findHostsForMigration for those that it can")


def _wanted(ctx: Context, entries: list[dict[str, str]]) -> dict[int, Pool]:
    found: dict[int, Pool] = {}
    for entry in entries:
        volume = _one(ctx, Volume, entry.get("volume", ""), Volume.operable_by(ctx.caller))
        pool = _one(ctx, Pool, entry.get("pool", ""), Pool.usable_by(ctx.caller))
        if volume is None or pool is None:
            raise InvalidValue("migrateto names a disk or a pool that there is not: send migrateto[0].volume and .pool")
        found[volume.id] = pool
    return found


def _one(ctx: Context, table: Any, uuid: str, mine: Any) -> Any:
    return ctx.session.scalar(select(table).where(table.uuid == uuid, table.removed.is_(None), mine))


@command("findHostsForMigration", roles=ROOT, key="", reads=True)
def find_hosts(ctx: Context, virtualmachineid: Use[Vm]) -> dict[str, Any]:
    """List the hosts of a running machine's zone, with whether it could move there and whether its disks had to.

    virtualmachineid: the machine
    """
    vm, tx = virtualmachineid, ctx.session
    if vm.state != "Running":
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: only a running machine moves to another host")
    rows = Rows(candidate_view, narrow=False).where(
        Host.id != vm.host_id, zone_id=vm.zone_id, hypervisor=vm.hypervisor, type="Routing"
    )
    count, page = rows.page(ctx, tx)
    need = targets.need_of(tx, vm, Wish())
    disks = targets.lying(tx, vm.id)
    usable = pools.usable(tx, vm.zone_id, vm.account_id)
    known = {h.uuid: h for h in tx.scalars(select(Host).where(Host.uuid.in_([o["id"] for o in page])))}
    for shown in page:
        host = known[shown["id"]]
        moves, against = targets.ways(disks, host, Wish(), usable)
        room = bool(hosts.candidates(tx, replace(need, host_id=host.id)))
        shown["hasenoughcapacity"] = (
            host.cpu_capacity - host.cpu_used >= need.cpu and host.memory_capacity - host.memory_used >= need.memory
        )
        shown["requiresStorageMotion"] = bool(moves)
        shown["suitableformigration"] = room and not against
    return {"count": count, "host": page} if count else {}
