"""Machines: starting and stopping them, destroying them and taking that back."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.allocation import counted
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.projects import check_active
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.model.vm import STATES, Vm
from mgmt_server.model.zone import Cluster, Pod
from mgmt_server.resources.vm import flows
from mgmt_server.resources.vm.networks import to_implement
from mgmt_server.resources.vm.start import Options
from mgmt_server.resources.vm.views import vm_view

USERS_RECOVER = Setting("allow.user.expunge.recover.vm", "Whether users may expunge and recover their machines")


@command(
    "startVirtualMachine",
    roles=EVERYONE,
    answers=vm_view,
    event="VM.START",
    unsupported=("bootintosetup", "deploymentplanner"),
)
def start(
    ctx: Context,
    id: Operate[Vm],
    hostid: Use[Host] | None = None,
    clusterid: Use[Cluster] | None = None,
    podid: Use[Pod] | None = None,
    considerlasthost: bool = True,
) -> Accepted:
    """Start a machine.

    id: the machine
    hostid: on this host alone
    clusterid: in this cluster alone
    podid: in this pod alone
    considerlasthost: whether to try the host first on which it ran last
    """
    only_users(id)
    if id.state not in ("Stopped", "Starting"):
        raise InvalidValue(f"The machine {id.display_name} is {id.state}: only a stopped one can be started")
    check_active(ctx.session, id)
    options = Options(hostid and hostid.id, clusterid and clusterid.id, podid and podid.id, considerlasthost)
    networks = ctx.session.scalars(
        select(Network).join(Nic, Nic.network_id == Network.id).where(Nic.vm_id == id.id, Nic.removed.is_(None))
    )
    ctx.describe(f"starting machine {id.display_name}")
    return ctx.start(flows.start, id, options, to_implement(ctx.session, list(networks)), [])


@command("stopVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.STOP")
def stop(ctx: Context, id: Operate[Vm], forced: bool = False) -> Accepted:
    """Stop a machine. One that does not run is stopped already.

    id: the machine
    forced: cut its power instead of asking it to shut down
    """
    only_users(id)
    ctx.describe(f"stopping machine {id.display_name}")
    return ctx.start(flows.stop, id, forced)


@command("rebootVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.REBOOT", unsupported=("bootintosetup",))
def reboot(ctx: Context, id: Operate[Vm], forced: bool = False) -> Accepted:
    """Reboot a running machine.

    id: the machine
    forced: stop it hard and start it anew
    """
    only_users(id)
    if id.state != "Running":
        raise InvalidValue(f"The machine {id.display_name} is {id.state}: only a running one can be rebooted")
    ctx.describe(f"rebooting machine {id.display_name}")
    return ctx.start(flows.reboot, id, forced)


@command("destroyVirtualMachine", roles=EVERYONE, answers=vm_view, event="VM.DESTROY", unsupported=("volumeids",))
def destroy(ctx: Context, id: Operate[Vm], expunge: bool = False) -> Accepted:
    """Destroy a machine. It can be recovered until it is expunged.

    id: the machine
    expunge: whether to remove it for good at once; administrators, and users where the setting allows it
    """
    only_users(id)
    if expunge:
        _may_expunge(ctx)
    if id.delete_protection:
        raise InvalidValue(f"The machine {id.display_name} is protected: switch deleteprotection off first")
    if id.state == "Expunging":
        raise InvalidValue(f"The machine {id.display_name} is being expunged already")
    ctx.describe(f"destroying machine {id.display_name}")
    return ctx.start(flows.destroy, id, expunge)


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


def only_users(vm: Vm) -> None:
    if vm.kind != "User":
        raise InvalidValue(f"{vm.name} is a system VM: it has commands of its own")


def _may_expunge(ctx: Context) -> None:
    if ctx.caller.role not in ADMINS and not USERS_RECOVER.flag(*of_account(ctx.session, ctx.caller.account_id)):
        raise InvalidValue("Users may not expunge or recover machines here: setting allow.user.expunge.recover.vm")
