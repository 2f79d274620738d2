"""Machines: starting and stopping them, destroying them and taking that back."""

from __future__ import annotations

from collections.abc import Sequence

from mgmt_server.allocation import counted, planners
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.projects import check_active
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.host import Host
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.model.vm import STATES, Vm, Volume
from mgmt_server.model.zone import Cluster, Pod
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.vm import ending, flows, restore
from mgmt_server.resources.vm.asking import check_setup
from mgmt_server.resources.vm.networks import unready_of
from mgmt_server.resources.vm.release import only_users
from mgmt_server.resources.vm.start import Options
from mgmt_server.resources.vm.views import vm_view

FORCED = Setting("allow.user.force.stop.vm", "Whether users may cut the power of their machines")
USERS_RECOVER = Setting("allow.user.expunge.recover.vm", "Whether users may expunge and recover their machines")


@command("startVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.START")
def start(
    ctx: Context,
    id: Operate[Vm],
    hostid: Use[Host] | None = None,
    clusterid: Use[Cluster] | None = None,
    podid: Use[Pod] | None = None,
    considerlasthost: bool = True,
    deploymentplanner: str | None = None,
    bootintosetup: bool = False,
) -> Accepted:
    """Start a machine.

    id: the machine
    hostid: on this host alone
    clusterid: in this cluster alone
    podid: in this pod alone
    considerlasthost: whether to try the host first on which it ran last
    deploymentplanner: which planner places it this time
    bootintosetup: not supported; false is accepted
    """
    only_users(id)
    if id.state not in ("Stopped", "Starting"):
        raise InvalidValue(f"The machine {id.display_name} is {id.state}: only a stopped one can be started")
    check_setup(bootintosetup)
    check_active(ctx.session, id)
    planner = one_of("deploymentplanner", deploymentplanner, planners.names()) or ""
    options = Options(
        hostid and hostid.id, clusterid and clusterid.id, podid and podid.id, considerlasthost, planner=planner
    )
    ctx.describe(f"starting machine {id.display_name}")
    return ctx.start(flows.start, id, options, unready_of(ctx.session, id), [])


@command("stopVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.STOP")
def stop(ctx: Context, id: Operate[Vm], forced: bool = False) -> Accepted:
    """Stop a machine. One that does not run is stopped already.

    id: the machine
    forced: cut its power instead of asking it to shut down
    """
    only_users(id)
    if forced and ctx.caller.role not in ADMINS and not FORCED.flag(*of_account(ctx.session, ctx.caller.account_id)):
        raise InvalidValue(f"Users may not stop machines with force here: setting {FORCED.name}")
    ctx.describe(f"stopping machine {id.display_name}")
    return ctx.start(flows.stop, id, forced)


@command("rebootVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.REBOOT")
def reboot(ctx: Context, id: Operate[Vm], forced: bool = False, bootintosetup: bool = False) -> Accepted:
    """Reboot a running machine. One of a volatile offering comes back with a new root disk.

    id: the machine
    forced: stop it hard and start it anew
    bootintosetup: not supported; false is accepted
    """
    only_users(id)
    check_setup(bootintosetup)
    if id.state != "Running":
        raise InvalidValue(f"The machine {id.display_name} is {id.state}: only a running one can be rebooted")
    ctx.describe(f"rebooting machine {id.display_name}")
    flow, arguments = restore.rebooting(ctx.session, id, forced)
    return ctx.start(flow, id, *arguments)


@command("destroyVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.DESTROY")
def destroy(
    ctx: Context, id: Operate[Vm], expunge: bool = False, volumeids: list[Operate[Volume]] | None = None
) -> Accepted:
    """Destroy a machine. It can be recovered until it is expunged.

    id: the machine
    expunge: whether to remove it for good at once; administrators, and users where the setting allows it
    volumeids: data disks of the machine that are destroyed with it, or deleted where it is expunged
    """
    only_users(id)
    if expunge:
        _may_expunge(ctx)
    if id.delete_protection:
        raise InvalidValue(f"The machine {id.display_name} is protected: switch deleteprotection off first")
    if id.state == "Expunging":
        raise InvalidValue(f"The machine {id.display_name} is being expunged already")
    _check_disks(id, volumeids or [])
    ctx.describe(f"destroying machine {id.display_name}")
    if volumeids:
        return ctx.start(ending.destroy_with_disks, id, expunge, [v.id for v in volumeids])
    return ctx.start(flows.destroy, id, expunge)


def _check_disks(vm: Vm, disks: Sequence[Volume]) -> None:
    for volume in disks:
        if volume.vm_id != vm.id or volume.kind != "DATADISK":
            raise InvalidValue(f"The disk {volume.name} is no data disk of the machine {vm.display_name}: leave it out")
        if volume.delete_protection:
            raise InvalidValue(f"The disk {volume.name} is protected: switch deleteprotection off first")


@command("recoverVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.RECOVER")
def recover(ctx: Context, id: Operate[Vm]) -> Vm:
    """Take back the destruction of a machine that has not been expunged.

    id: the machine
    """
    only_users(id)
    _may_expunge(ctx)
    if id.state != "Destroyed":
        raise InvalidValue(f"The machine {id.display_name} is {id.state}: only a destroyed one can be recovered")
    check_active(ctx.session, id)
    STATES.move(ctx.session, id.id, "Destroyed", "Stopped")
    counted.machine_comes(ctx.session, id)
    flows.take_back_root(ctx.session, id.id)
    ctx.session.expire(id)
    ctx.describe(f"recovering machine {id.display_name}")
    return id


@command("expungeVirtualMachine", roles=EVERYONE, event="VM.EXPUNGE")
def expunge(ctx: Context, id: Operate[Vm]) -> Accepted:
    """Remove a destroyed machine for good.

    id: the machine
    """
    only_users(id)
    _may_expunge(ctx)
    if id.state not in ("Destroyed", "Expunging", "Error"):
        raise InvalidValue(f"The machine {id.display_name} is {id.state}: destroy it first")
    ctx.describe(f"expunging machine {id.display_name}")
    return ctx.start(flows.expunge, id)


def _may_expunge(ctx: Context) -> None:
    if ctx.caller.role not in ADMINS and not USERS_RECOVER.flag(*of_account(ctx.session, ctx.caller.account_id)):
        raise InvalidValue("Users may not expunge or recover machines here: setting allow.user.expunge.recover.vm")
