"""Machines that are let go: this cloud forgets them, and a host keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import hosts, pools
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.view import View, always
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted, Job
from mgmt_server.model.host import Host
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.protocol.machine import Machine
from mgmt_server.resources.router import document
from mgmt_server.resources.storage.rows import ref
from mgmt_server.resources.unmanaged.flows import AT_REST, forgotten
from mgmt_server.resources.vm import start as starting
from mgmt_server.resources.vm import target
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vmsnapshot.rows import refuse_with_remains
from mgmt_server.resources.volume.locks import check_settled, disks_of

left_view = View(
    "unmanagevirtualmachineresponse",
    Vm,
    response="UnmanageVMInstanceResponse",
    hides_removed=False,  # the row is removed when the job is done
    success=always(True),
)


@command("unmanageVirtualMachine", roles=ROOT, answers=left_view, event="VM.UNMANAGE")
def unmanage(ctx: Context, id: Operate[Vm], hostid: Use[Host] | None = None, forced: bool = False) -> Accepted:
    """Let a machine go: this cloud forgets it, its host keeps it, and its disks stay where they are.

    id: the machine, running or stopped
    hostid: the host that keeps it, of one that is stopped; by default that on which it ran last
    forced: whether a disc is taken out of its drive first
    """
    only_users(id)
    keeper = host_for(ctx.session, id, hostid and hostid.id)
    check_leaves(ctx.session, id, forced)
    if id.delete_protection:
        raise InvalidValue(f"{spoken(id)} is protected: switch deleteprotection off first")
    ctx.describe(f"letting {spoken(id)} go, which {keeper.name} keeps")
    return ctx.start(let_go, id, hostid and hostid.id, forced)


@dataclass(frozen=True)
class Leaving:
    """What is told to whom: `machine` where it does not run, to be defined; `former`: the host that had it before."""

    host: HostRef
    name: str
    machine: Machine | None = None
    former: HostRef | None = None
    disc: bool = False  # in the drive of a machine that runs, to be taken out
    remark: str = ""


def let_go(job: Job, vm_id: int, host_id: int | None, forced: bool) -> None:
    """Forget a machine. It runs on, or is defined on a host as it would be started; its disks stay where they are."""
    plan = job.write(leaving, vm_id, host_id, forced)
    if plan.machine is not None:
        job.call(dispatch.define, plan.host, plan.machine)
    if plan.former is not None:
        job.call(dispatch.forget, plan.former, plan.name)
    if plan.disc:
        job.call(dispatch.change_iso, plan.host, plan.name, "")
    for network in job.write(left, vm_id):
        job.call(document.tell, network)
    job.answer(hostid=plan.host.uuid, details=plan.remark or f"{plan.host.name} keeps it as {plan.name}")


def leaving(tx: Session, vm_id: int, host_id: int | None, forced: bool) -> Leaving:
    vm = tx.get_one(Vm, vm_id)
    host = host_for(tx, vm, host_id)
    check_leaves(tx, vm, forced)
    check_settled(disks_of(tx, vm_id))
    if vm.state == "Running":
        return Leaving(ref(host), vm.instance, disc=vm.iso_id is not None)
    vm.iso_id = None
    tx.flush()
    places = {disk.volume.id: disk.pool for disk in target.lying(tx, vm_id)}
    machine, _ = starting.described(tx, vm_id, places, host.hypervisor)
    last = tx.get(Host, vm.last_host_id) if vm.last_host_id not in (None, host.id) else None
    if last is None or last.removed is not None:
        return Leaving(ref(host), vm.instance, machine)
    if last.state == "Up":
        return Leaving(ref(host), vm.instance, machine, ref(last))
    remark = (
        f"{host.name} keeps it as {vm.instance}. {last.name} is {last.state} and may know it too: undefine it there"
    )
    return Leaving(ref(host), vm.instance, machine, remark=remark)


def left(tx: Session, vm_id: int) -> list[int]:
    """The rows go: the networks whose routers have to know."""
    vm = tx.get_one(Vm, vm_id)
    if vm.state == "Running":
        hosts.give_back(tx, vm)
    vm.iso_id = None
    return forgotten(tx, vm)


def host_for(tx: Session, vm: Vm, wanted: int | None) -> Host:
    """The host that keeps the machine. Raises InvalidValue where there is none, or it cannot be that one."""
    if vm.state not in AT_REST:
        raise InvalidValue(f"{spoken(vm)} is {vm.state}: only a running or stopped machine is let go")
    number = wanted or vm.host_id or vm.last_host_id
    host = tx.get(Host, number) if number is not None else None
    if host is None or host.removed is not None:
        raise InvalidValue(f"{spoken(vm)} is on no host: say with hostid which one shall keep it")
    if vm.state == "Running":
        if vm.host_id != host.id:
            raise InvalidValue(f"{spoken(vm)} runs elsewhere than on {host.name}: move it there first, or stop it")
        return host
    if host.state != "Up" or (host.zone_id, host.hypervisor, host.type) != (vm.zone_id, vm.hypervisor, "Routing"):
        raise InvalidValue(
            f"{host.name} ({host.hypervisor}, {host.state}) cannot keep {spoken(vm)}: name another host with hostid"
        )
    disks = select(Volume, Pool).outerjoin(Pool, Pool.id == Volume.pool_id)
    for disk, pool in tx.execute(disks.where(Volume.vm_id == vm.id, Volume.removed.is_(None))):
        if pool is None or disk.state != "Ready":
            raise InvalidValue(f"The disk {disk.name} of {spoken(vm)} has not been made yet: start the machine once")
        if not pools.reachable(pool, host):
            raise InvalidValue(f"{host.name} does not reach the pool {pool.name} of the disk {disk.name}: name another")
    return host


def check_leaves(tx: Session, vm: Vm, forced: bool) -> None:
    """Raises InvalidValue for a machine that cannot be let go."""
    if vm.iso_id is not None and not forced:
        raise InvalidValue(f"{spoken(vm)} has an ISO: send forced=true to have it taken out of the drive")
    refuse_with_remains(tx, vm.id, "it cannot be let go")
    kept = select(Snapshot.name).join(Volume, Volume.id == Snapshot.volume_id)
    kept = kept.where(Volume.vm_id == vm.id, Volume.removed.is_(None), Snapshot.removed.is_(None)).limit(1)
    snapshot = tx.scalar(kept)
    if snapshot is not None:
        raise InvalidValue(f"{spoken(vm)} has snapshots of disks ({snapshot}): delete them with deleteSnapshot first")
