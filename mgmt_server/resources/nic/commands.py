"""NICs of machines and their addresses: what may be asked."""

from __future__ import annotations

from sqlalchemy import func, select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.projects import check_active, check_allowed
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.network import Network, Nic, NicAddress
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import address as checked_address
from mgmt_server.resources.nic import dhcp, flows, rows
from mgmt_server.resources.nic.views import address_view, listed_nic_view
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.networks import to_implement
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vm.views import vm_view

MOST_ADDRESSES = Setting(
    "vm.network.nic.max.secondary.ipaddresses", "Secondary addresses that one NIC may have", least=0
)


@command("listNics", roles=EVERYONE, answers=listed_nic_view)
def list_nics(
    ctx: Context,
    virtualmachineid: Use[Vm],
    nicid: Use[Nic] | None = None,
    networkid: Use[Network] | None = None,
    fordisplay: bool | None = None,
) -> Rows:
    """List a machine's NICs with their addresses.

    virtualmachineid: the machine
    nicid: this NIC alone
    networkid: the one in this network
    fordisplay: false lists nothing: users see every NIC of their machines
    """
    found = Rows(listed_nic_view).where(vm_id=virtualmachineid, id=nicid and nicid.id, network_id=networkid)
    return found.where(Nic.id == -1) if fordisplay is False else found


@command("addNicToVirtualMachine", roles=EVERYONE, answers=vm_view, event="NIC.CREATE")
def add_nic(
    ctx: Context,
    virtualmachineid: Operate[Vm],
    networkid: Use[Network],
    ipaddress: str | None = None,
    macaddress: str | None = None,
    dhcpoptions: list[dict[str, str]] | None = None,
) -> Accepted:
    """Give a machine a NIC in another network.

    virtualmachineid: the machine, running or stopped
    networkid: the network
    ipaddress: its address there, instead of one that is free
    macaddress: its MAC, instead of one that the cloud chooses
    dhcpoptions: what DHCP tells it besides the usual: dhcpoptions[0].dhcp:66=value
    """
    vm, tx = virtualmachineid, ctx.session
    only_users(vm)
    flows.check_at_rest(vm)
    check_active(tx, vm)
    rows.check_network(tx, vm, networkid)
    rows.check_name(tx, vm, networkid)
    if networkid.guest_type == "L2" and ipaddress:
        raise InvalidValue(f"The network {networkid.name} has no addresses: leave ipaddress out")
    wanted = flows.Wanted(
        networkid.id,
        checked_address("ipaddress", ipaddress),
        rows.mac_of(tx, tx.get_one(Zone, vm.zone_id), macaddress),
        dhcp.of_nic(tx, networkid, dhcpoptions),
    )
    ctx.describe(f"adding a NIC in the network {networkid.name} to {spoken(vm)}")
    return ctx.start(flows.add, vm, wanted, to_implement(tx, [networkid]) if vm.state == "Running" else [])


@command("removeNicFromVirtualMachine", roles=EVERYONE, answers=vm_view, event="NIC.DELETE")
def remove_nic(ctx: Context, virtualmachineid: Operate[Vm], nicid: Operate[Nic]) -> Accepted:
    """Take a NIC from a machine and give back its addresses.

    virtualmachineid: the machine, running or stopped
    nicid: the NIC; not the default one
    """
    vm = virtualmachineid
    only_users(vm)
    flows.check_at_rest(vm)
    flows.check_removable(vm, rows.nic_of(ctx.session, vm, nicid.id))
    ctx.describe(f"removing a NIC from {spoken(vm)}")
    return ctx.start(flows.remove, vm, nicid.id)


@command("updateDefaultNicForVirtualMachine", roles=EVERYONE, answers=vm_view, event="NIC.UPDATE")
def update_default(ctx: Context, virtualmachineid: Operate[Vm], nicid: Operate[Nic]) -> Accepted:
    """Make another NIC the machine's default one. A guest that runs uses it from its next lease or start.

    virtualmachineid: the machine, running or stopped
    nicid: the NIC
    """
    vm = virtualmachineid
    only_users(vm)
    flows.check_at_rest(vm)
    if rows.nic_of(ctx.session, vm, nicid.id).is_default:
        raise InvalidValue(f"That NIC is the default one of {spoken(vm)} already")
    ctx.describe(f"changing the default NIC of {spoken(vm)}")
    return ctx.start(flows.make_default, vm, nicid.id)


@command("updateVmNicIp", roles=EVERYONE, answers=vm_view, event="NET.IPASSIGN")
def update_address(ctx: Context, nicid: Operate[Nic], ipaddress: str | None = None) -> Accepted:
    """Give a NIC of a stopped machine another address.

    nicid: the NIC
    ipaddress: the address, instead of one that is free
    """
    vm, network = _owner(ctx, nicid)
    only_users(vm)
    flows.check_stopped(vm)
    check_active(ctx.session, vm)
    if nicid.address is None:
        raise InvalidValue(f"The network {network.name} has no addresses")
    if ipaddress == nicid.address:
        raise InvalidValue(f"The NIC has the address {ipaddress} already")
    ctx.describe(f"changing an address of {spoken(vm)}")
    return ctx.start(flows.readdress, vm, nicid.id, checked_address("ipaddress", ipaddress))


@command("addIpToNic", roles=EVERYONE, answers=address_view, event="NIC.SECONDARY.IP.ASSIGN")
def add_address(ctx: Context, nicid: Operate[Nic], ipaddress: str | None = None) -> Accepted:
    """Give a NIC a secondary address. The guest configures it by itself.

    nicid: the NIC
    ipaddress: the address, instead of one that is free
    """
    tx = ctx.session
    vm, network = _owner(ctx, nicid)
    only_users(vm)
    check_active(tx, vm)
    if nicid.address is None:
        raise InvalidValue(f"The network {network.name} has no addresses: there are no secondary ones either")
    most = MOST_ADDRESSES.number(*of_account(tx, vm.account_id))
    tx.refresh(nicid, with_for_update=True)  # who counts at the same time waits
    count = select(func.count()).select_from(NicAddress).where(NicAddress.nic_id == nicid.id)
    if (tx.scalar(count.where(NicAddress.removed.is_(None))) or 0) >= most:
        raise InvalidValue(f"The NIC has {most} secondary addresses: more the setting {MOST_ADDRESSES.name} forbids")
    found = rows.add_address(tx, vm, nicid, network, checked_address("ipaddress", ipaddress))
    ctx.describe(f"adding the secondary address {found.address} to {spoken(vm)}")
    return ctx.start(flows.have_address, found, lock=f"vm:{vm.id}")


@command("removeIpFromNic", roles=EVERYONE, event="NIC.SECONDARY.IP.UNASSIGN")
def remove_address(ctx: Context, id: Operate[NicAddress]) -> Accepted:
    """Take a secondary address from its NIC.

    id: the address
    """
    nic = ctx.session.get_one(Nic, id.nic_id)
    ctx.describe(f"removing the secondary address {id.address}")
    return ctx.start(flows.lose_address, id, lock=f"vm:{nic.vm_id}")


def _owner(ctx: Context, nic: Nic) -> tuple[Vm, Network]:
    vm = ctx.session.get_one(Vm, nic.vm_id)
    check_allowed(ctx, vm)
    return vm, ctx.session.get_one(Network, nic.network_id)
