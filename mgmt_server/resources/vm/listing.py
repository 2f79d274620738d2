"""Machines: listing them, whole or in parts."""

from __future__ import annotations

from sqlalchemy import or_, select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import User
from mgmt_server.model.affinity import AffinityGroup, AffinityMember
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.model.userdata import InstanceGroup, UserData
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.vm import leases
from mgmt_server.resources.vm.views import PARTS, vm_view, vm_view_of

DESTROYED_SHOWN = Setting(
    "allow.user.view.destroyed.vm", "Whether users list their destroyed machines without asking for that state"
)
STATS_BY_DEFAULT = Setting(
    "list.vm.default.details.stats", "Whether lists of machines hold their statistics when no details are asked for"
)

INCREMENT = Setting(
    "vm.stats.increment.metrics",
    "Whether statistics of machines are those since their start where accumulate does not say it",
)


@command(
    "listVirtualMachines",
    roles=EVERYONE,
    answers=vm_view,
    unsupported=("extensionid", "gpuenabled"),
)
def list_machines(
    ctx: Context,
    id: Use[Vm] | None = None,
    ids: list[Use[Vm]] | None = None,
    name: str | None = None,
    state: str | None = None,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
    clusterid: Use[Cluster] | None = None,
    hostid: Use[Host] | None = None,
    storageid: Use[Pool] | None = None,
    hypervisor: str | None = None,
    templateid: Use[Template] | None = None,
    isoid: Use[Template] | None = None,
    networkid: Use[Network] | None = None,
    serviceofferingid: Use[ServiceOffering] | None = None,
    userid: Use[User] | None = None,
    keypair: str | None = None,
    haenable: bool | None = None,
    displayvm: bool | None = None,
    arch: str | None = None,
    details: list[str] | None = None,
    forvirtualnetwork: bool | None = None,
    groupid: Use[InstanceGroup] | None = None,
    affinitygroupid: Use[AffinityGroup] | None = None,
    autoscalevmgroupid: str | None = None,
    backupofferingid: str | None = None,
    securitygroupid: str | None = None,
    userdataid: Use[UserData] | None = None,
    vpcid: str | None = None,
    isvnf: bool | None = None,
    leased: bool = False,
    accumulate: bool | None = None,
    userdata: bool = False,
    showicon: bool = False,
    retrieveonlyresourcecount: bool = False,
) -> Rows:
    """List machines.

    id: this machine alone
    ids: these machines alone
    name: those with this in their name
    state: those in this state; Present means all but destroyed ones
    zoneid: those in this zone
    podid: those in this pod
    clusterid: those in this cluster
    hostid: those on this host
    storageid: those with a disk in this pool
    hypervisor: those on this hypervisor
    templateid: those deployed from this template
    isoid: those with this ISO attached
    networkid: those in this network
    serviceofferingid: those of this offering
    userid: those that this user deployed
    keypair: those with this SSH key pair
    haenable: those with high availability, or without
    displayvm: those that users see, or not
    arch: those of this architecture
    details: all, min or the parts of the answer that are wanted: group, nics, stats, tmpl, iso and others
    forvirtualnetwork: true means those in isolated networks
    groupid: those in this instance group
    affinitygroupid: those in this affinity group
    autoscalevmgroupid: lists nothing: there are no such groups
    backupofferingid: lists nothing: there are no backup offerings
    securitygroupid: lists nothing: there are no security groups
    userdataid: those with this registered user data
    vpcid: lists nothing: there are no VPCs
    isvnf: true lists nothing: there are no network appliances
    leased: those with a lease that has not ended
    accumulate: whether statistics are those since its start, and not between the last two readings alone
    userdata: whether to list what each machine reads at its start too
    showicon: accepted; there are no icons
    retrieveonlyresourcecount: tell how many there are, and no more
    """
    rows = Rows(vm_view_of(_parts(details), userdata, INCREMENT.flag() if accumulate is None else accumulate)).where(
        Vm.kind == "User",
        id=id and id.id,
        zone_id=zoneid,
        pod_id=podid,
        host_id=hostid,
        hypervisor=hypervisor,
        template_id=templateid,
        iso_id=isoid,
        group_id=groupid,
        user_data_id=userdataid,
        service_offering_id=serviceofferingid,
        user_id=userid,
        ha_enabled=haenable,
        display=displayvm if ctx.caller.is_root else True,
    )
    rows = rows.where(Vm.id.in_([v.id for v in ids]) if ids else None)
    if name:
        rows = rows.where(or_(Vm.name.contains(name, autoescape=True), Vm.display_name.contains(name, autoescape=True)))
    if state:
        gone = ("Destroyed", "Expunging")
        rows = rows.where(Vm.state.not_in(gone) if state.lower() == "present" else Vm.state == state.capitalize())
    elif ctx.caller.role not in ADMINS and not DESTROYED_SHOWN.flag(*of_account(ctx.session, ctx.caller.account_id)):
        rows = rows.where(Vm.state.not_in(("Destroyed", "Expunging")))
    if affinitygroupid is not None:
        members = select(AffinityMember.vm_id).where(AffinityMember.group_id == affinitygroupid.id)
        rows = rows.where(Vm.id.in_(members))
    if keypair:
        among = (f"{keypair},%", f"%,{keypair}", f"%,{keypair},%")
        rows = rows.where(or_(Vm.key_pairs == keypair, *(Vm.key_pairs.like(a) for a in among)))
    if clusterid is not None:
        rows = rows.where(Vm.host_id.in_(select(Host.id).where(Host.cluster_id == clusterid.id)))
    if storageid is not None:
        rows = rows.where(Vm.id.in_(select(Volume.vm_id).where(Volume.pool_id == storageid.id)))
    if networkid is not None:
        rows = rows.where(Vm.id.in_(select(Nic.vm_id).where(Nic.network_id == networkid.id, Nic.removed.is_(None))))
    if forvirtualnetwork is not None:
        isolated = select(Nic.vm_id).join(Network, Network.id == Nic.network_id).where(Network.guest_type == "Isolated")
        rows = rows.where(Vm.id.in_(isolated) if forvirtualnetwork else Vm.id.not_in(isolated))
    if arch and arch != "x86_64":
        rows = rows.where(Vm.id == -1)
    if leased:
        rows = rows.where(Vm.lease_expires.is_not(None) if leases.ENABLED.flag() else Vm.id == -1)
    absent = (autoscalevmgroupid, backupofferingid, securitygroupid, vpcid, isvnf)
    return rows.where(Vm.id == -1) if any(absent) else rows


def _parts(asked: list[str] | None) -> frozenset[str]:
    """The parts of the answer that are wanted."""
    if not asked:
        return frozenset(PARTS) - (set() if STATS_BY_DEFAULT.flag() else {"stats"})
    known = {"all", "min", *PARTS}
    if not known.issuperset(asked):
        allowed = ", ".join(sorted(known))
        raise InvalidValue(f"The details parameter contains a non permitted value. The allowed values are [{allowed}]")
    return frozenset(PARTS) if "all" in asked else frozenset(asked) - {"min"}
