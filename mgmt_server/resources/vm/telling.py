"""What changed about a machine, told to its networks' routers and to the host that has its definition."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.context import Context
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.jobs import Asker, Job, enqueue
from mgmt_server.model.account import SYSTEM_USER, Account
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm
from mgmt_server.resources.network.nics import served_by_router
from mgmt_server.resources.router import document
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.userdata.rules import Given, compose


def tell_routers(job: Job, vm_id: int) -> None:
    """Have the routers of the machine's networks know what it shall read: password, keys, user data."""
    for network in job.write(routed, vm_id):
        job.call(document.tell, network)


def routed(tx: Session, vm_id: int) -> list[int]:
    """The networks of the machine in which a router runs."""
    rows = select(Network).join(Nic, Nic.network_id == Network.id)
    networks = tx.scalars(rows.where(Nic.vm_id == vm_id, Nic.removed.is_(None)).order_by(Network.id))
    return [n.id for n in networks if served_by_router(tx, n)]


def note(tx: Session, vm: Vm, type: str, text: str, level: str = "WARN") -> None:
    """An event about a machine that nobody here asked for."""
    tx.add(
        Event(
            type=type, description=text, level=level, user_id=SYSTEM_USER, account_id=vm.account_id,
            domain_id=vm.domain_id, resource_type="VirtualMachine", resource_uuid=vm.uuid,
        )
    )  # fmt: skip


def give_user_data(ctx: Context, vm: Vm, given: Given) -> None:
    """What the machine reads from its next start on."""
    template = ctx.session.get(Template, vm.template_id) if vm.template_id is not None else None
    whose = ctx.session.get_one(Account, vm.account_id)
    reads = compose(ctx.session, given, template, whose)
    vm.user_data, vm.user_data_id, vm.user_data_details = reads.text, reads.registered, reads.values
    ctx.session.flush()
    if routed(ctx.session, vm.id):
        later(ctx, tell_routers, vm)


def later(ctx: Context, flow: object, vm: Vm, *arguments: object) -> None:
    """A job behind the machine's other ones, that nobody waits for."""
    asker = Asker(
        account_id=vm.account_id, domain_id=vm.domain_id, user_id=ctx.caller.user_id, correlation=ctx.correlation
    )
    lock = f"vm:{vm.id}"
    enqueue(ctx.session, flow, (vm.id, *arguments), lock=lock, instance=("VirtualMachine", vm.uuid), asker=asker)  # type: ignore[arg-type]


def forget_definition(ctx: Context, vm: Vm, name: str = "") -> None:
    """Have the host on which the machine ran last forget it: it will be another one when it starts again."""
    last = ctx.session.get(Host, vm.last_host_id) if vm.last_host_id is not None else None
    if last is not None and last.removed is None:
        named = name or vm.instance
        later(ctx, forget, vm, storage.ref(last), named)


def forget(job: Job, vm_id: int, host: HostRef, name: str) -> None:
    job.call(dispatch.forget, host, name)
