"""Secondary storage VMs and console proxies: starting, stopping, moving and replacing them.

They are listed by listSystemVms. A zone has one of each: one that is destroyed is made anew, one that is stopped is
started again when its zone looks after them.
"""

from __future__ import annotations

from dataclasses import replace

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.vm import Vm
from mgmt_server.resources.migration.commands import move_disks, move_machine
from mgmt_server.resources.router.views import system_vm_view
from mgmt_server.resources.systemvm import flows
from mgmt_server.resources.vm import flows as machines
from mgmt_server.resources.vm import target as targets

EVENTS = {"ConsoleProxy": "PROXY", "SecondaryStorageVm": "SSVM"}


def _begin(ctx: Context, vm: Vm, what: str) -> None:
    """Raises InvalidValue for what is no system VM; names the event by its kind."""
    if vm.kind not in EVENTS:
        kind = "a router" if vm.kind == "DomainRouter" else "a user's machine"
        raise InvalidValue(f"{vm.display_name or vm.name} is {kind}, no secondary storage VM or console proxy")
    told = (ctx.command.event or "").partition(".")[2]
    ctx.command = replace(ctx.command, event=f"{EVENTS[vm.kind]}.{told}")
    ctx.describe(f"{what} {vm.name}")


@command("startSystemVm", roles=ROOT, answers=system_vm_view, event="SSVM.START")
def start(ctx: Context, id: Operate[Vm]) -> Accepted:
    """Start a system VM.

    id: the system VM
    """
    _begin(ctx, id, "starting")
    if id.state != "Stopped":
        raise InvalidValue(f"{id.name} is {id.state}: only a stopped system VM can be started")
    return ctx.start(flows.start, id)


@command("stopSystemVm", roles=ROOT, answers=system_vm_view, event="SSVM.STOP")
def stop(ctx: Context, id: Operate[Vm], forced: bool = False) -> Accepted:
    """Stop a system VM. Its zone starts it again when it next looks after its system VMs.

    id: the system VM
    forced: cut its power instead of asking it to shut down
    """
    _begin(ctx, id, "stopping")
    return ctx.start(flows.stop, id, forced)


@command("rebootSystemVm", roles=ROOT, answers=system_vm_view, event="SSVM.REBOOT")
def reboot(ctx: Context, id: Operate[Vm], forced: bool = False) -> Accepted:
    """Reboot a running system VM.

    id: the system VM
    forced: stop it hard and start it anew
    """
    _begin(ctx, id, "rebooting")
    if id.state != "Running":
        raise InvalidValue(f"{id.name} is {id.state}: only a running system VM can be rebooted")
    return ctx.start(flows.reboot, id, forced)


@command("destroySystemVm", roles=ROOT, answers=system_vm_view, event="SSVM.DESTROY")
def destroy(ctx: Context, id: Operate[Vm]) -> Accepted:
    """Destroy a system VM with its disk. Its zone makes another.

    id: the system VM
    """
    _begin(ctx, id, "destroying")
    return ctx.start(machines.destroy, id, True)


@command("migrateSystemVm", roles=ROOT, answers=system_vm_view, event="VM.MIGRATE")
def migrate(
    ctx: Context,
    virtualmachineid: Operate[Vm],
    hostid: Use[Host] | None = None,
    storageid: Use[Pool] | None = None,
    autoselect: bool = False,
) -> Accepted:
    """Move a running system VM or router to another host, or a stopped one's disk to another pool.

    virtualmachineid: the system VM, or the router
    hostid: the host
    storageid: the pool, for one that is stopped
    autoselect: whether to choose the host by itself, where none is named
    """
    vm = virtualmachineid
    if vm.kind == "User":
        raise InvalidValue(f"{vm.display_name or vm.name} is a user's machine: move it with migrateVirtualMachine")
    if hostid is not None and storageid is not None:
        raise InvalidValue("hostid and storageid exclude each other: one is for what runs, one for what is stopped")
    if storageid is None:
        return move_machine(ctx, vm, hostid, {}, autoselect)
    if vm.state != "Stopped":
        raise InvalidValue(f"{vm.name} is {vm.state}: its disk moves to another pool while it is stopped")
    return move_disks(ctx, vm, {d.volume.id: storageid for d in targets.lying(ctx.session, vm.id)})
