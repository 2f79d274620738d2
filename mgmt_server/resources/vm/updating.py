"""Machines: changing what is written about them."""

from __future__ import annotations

from typing import Annotated, Any

from sqlalchemy import select
from sqlalchemy import update as change

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account
from mgmt_server.model.event import Annotation, ResourceDetail, Tag
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.userdata import UserData
from mgmt_server.model.vm import Vm, instance_name
from mgmt_server.resources.checks import LABEL, assign, hold_names
from mgmt_server.resources.instancegroup.rows import group_named
from mgmt_server.resources.nic import dhcp
from mgmt_server.resources.nic.rows import nics_of_machine
from mgmt_server.resources.userdata.rules import Given
from mgmt_server.resources.vm import details as rules
from mgmt_server.resources.vm import extra, leases
from mgmt_server.resources.vm.deploy import bad_name, free_host_name, own_uuid
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.release import OURS, free_instance_name
from mgmt_server.resources.vm.shape import grows
from mgmt_server.resources.vm.telling import forget_definition, give_user_data, later, routed, tell_routers
from mgmt_server.resources.vm.views import vm_view

Text = Annotated[str, Length(1_048_576)]
Extra = Annotated[str, Length(5120)]


@command(
    "updateVirtualMachine",
    roles=EVERYONE,
    answers=vm_view,
    event="VM.UPDATE",
    unsupported=("securitygroupids", "securitygroupnames"),
)
def update(
    ctx: Context,
    id: Operate[Vm],
    name: str | None = None,
    displayname: str | None = None,
    group: str | None = None,
    haenable: bool | None = None,
    ostypeid: Use[OsType] | None = None,
    userdata: Text | None = None,
    userdataid: Use[UserData] | None = None,
    userdatadetails: dict[str, str] | None = None,
    details: dict[str, str] | None = None,
    cleanupdetails: bool = False,
    displayvm: bool | None = None,
    deleteprotection: bool | None = None,
    isdynamicallyscalable: bool | None = None,
    customid: str | None = None,
    leaseduration: int | None = None,
    leaseexpiryaction: str | None = None,
    extraconfig: Extra | None = None,
    dhcpoptionsnetworklist: list[dict[str, str]] | None = None,
    instancename: str | None = None,
) -> Vm:
    """Change a machine. What concerns its inside holds from its next start.

    id: the machine
    name: its host name; while it is stopped
    displayname: what people call it
    group: a name to group machines by
    haenable: whether it is started elsewhere when its host is lost
    ostypeid: its guest operating system
    userdata: what it reads at its start, base64
    userdataid: registered user data that it reads instead
    userdatadetails: values of the variables in its user data
    details: free key-value pairs, instead of those that are there; while it is stopped
    cleanupdetails: whether to remove all details
    displayvm: whether users see it
    deleteprotection: whether it is protected from being destroyed
    isdynamicallyscalable: whether it may be scaled while it runs, from its next start
    customid: its new uuid; while it is stopped
    leaseduration: after how many days from now its lease ends; -1 cancels the lease
    leaseexpiryaction: what is done then: STOP or DESTROY
    instancename: what hosts call it; root administrators, while it is stopped
    dhcpoptionsnetworklist: what DHCP tells it besides the usual, instead of what it told there before
    extraconfig: pieces of libvirt's XML, URL-encoded, instead of those that it has; while it is stopped
    """
    only_users(id)
    _check(ctx, id, name, details is not None or cleanupdetails or customid or extraconfig)
    changes: dict[str, Any] = {
        "name": name,
        "display_name": displayname,
        "group_id": group_named(ctx, id.account_id, id.domain_id, group).id if group else None,
        "ha_enabled": _ha(ctx, id, haenable),
        "os_type_id": ostypeid and ostypeid.id,
        "display": displayvm,
        "delete_protection": deleteprotection,
        "dynamically_scalable": _scalable(ctx, id, isdynamicallyscalable),
    }
    added = extra.given(ctx.session, id.account_id, id.hypervisor, extraconfig)
    if details is not None or cleanupdetails:
        changes["details"] = rules.changed(ctx, id, details, cleanupdetails)
    assign(id, changes)
    if added:
        id.details = {k: v for k, v in id.details.items() if not extra.is_one(k)} | added
    if dhcpoptionsnetworklist:
        _tell_by_dhcp(ctx, id, dhcpoptionsnetworklist)
    leases.change(ctx.session, id, leaseduration, leaseexpiryaction)
    if userdata or userdataid is not None or userdatadetails:
        give_user_data(ctx, id, Given(userdata, userdataid, userdatadetails or {}))
    if instancename is not None and instancename != id.instance:
        _recall(ctx, id, instancename)
    if customid is not None and customid.lower() != id.uuid:
        rename(ctx, id, own_uuid(ctx, customid) or id.uuid)
    ctx.describe(f"changing machine {id.display_name}")
    return id


def _recall(ctx: Context, vm: Vm, name: str) -> None:
    """Have hosts call it so from its next start on; the last one forgets the definition under the old name."""
    if vm.state != "Stopped":
        raise InvalidValue(f"The machine {vm.display_name} is {vm.state}: stop it before hosts call it otherwise")
    own = instance_name(vm.kind, vm.account_id, vm.id)
    hold_names(ctx)
    free_instance_name(ctx.session, name)
    if OURS.fullmatch(name) and name != own:
        raise InvalidValue(f"instancename={name} is of the form that the cloud itself gives: choose another one")
    forget_definition(ctx, vm, vm.instance)
    vm.called = name if name != own else None


def _tell_by_dhcp(ctx: Context, vm: Vm, rows: list[dict[str, str]]) -> None:
    tx = ctx.session
    nics = {nic.network_id: nic for nic in nics_of_machine(tx, vm.id)}
    for network, options in dhcp.of_networks(tx, [tx.get_one(Network, n) for n in nics], rows).items():
        nics[network].dhcp_options = options
    tx.flush()
    if routed(tx, vm.id):
        later(ctx, tell_routers, vm)


def _check(ctx: Context, vm: Vm, name: str | None, other: object) -> None:
    if name is not None and name != vm.name:
        if not LABEL.fullmatch(name) or name.isdecimal():
            raise bad_name(name)
        if vm.state != "Stopped":
            raise InvalidValue(
                f"The machine {vm.display_name} is {vm.state}: stop it before giving it another host name"
            )
        inside = select(Network).join(Nic, Nic.network_id == Network.id)
        networks = ctx.session.scalars(inside.where(Nic.vm_id == vm.id, Nic.removed.is_(None)))
        owner = ctx.session.get_one(Account, vm.account_id)
        free_host_name(ctx.session, name, owner, list(networks))
    if other and vm.state != "Stopped":
        raise InvalidValue(f"The machine {vm.display_name} is {vm.state}: stop it before changing its details")


def _ha(ctx: Context, vm: Vm, wanted: bool | None) -> bool | None:
    if wanted and not ctx.session.get_one(ServiceOffering, vm.service_offering_id).offer_ha:
        raise InvalidValue("haenable=true: the machine's offering has no high availability: change the offering first")
    return wanted


def _scalable(ctx: Context, vm: Vm, wanted: bool | None) -> bool | None:
    if not wanted or vm.dynamically_scalable:
        return wanted
    offering = ctx.session.get_one(ServiceOffering, vm.service_offering_id)
    template = ctx.session.get(Template, vm.template_id) if vm.template_id is not None else None
    if template is None or not grows(offering, template, vm.zone_id, True):
        raise InvalidValue(
            "isdynamicallyscalable=true: the machine's template, its offering and the zone's setting "
            "enable.dynamic.scale.vm have to let machines grow while they run"
        )
    return True


def rename(ctx: Context, vm: Vm, uuid: str) -> None:
    """Another uuid, and all that is noted under the old one with it. Its old definition has to go from its host."""
    tx, old = ctx.session, vm.uuid
    for table, column in (
        (Tag, Tag.resource_uuid),
        (ResourceDetail, ResourceDetail.resource_uuid),
        (Annotation, Annotation.entity_uuid),
    ):
        noted = change(table).where(column == old).values({column.key: uuid})
        tx.execute(noted.execution_options(synchronize_session=False))
    vm.uuid = uuid
    tx.flush()
    forget_definition(ctx, vm)
