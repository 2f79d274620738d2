"""Routers and system VMs: what may be asked."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ADMIN, ADMINS, RESOURCE_ADMIN
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.router.views import router_view, system_vm_view

KINDS = {"consoleproxy": "ConsoleProxy", "secondarystoragevm": "SecondaryStorageVm"}


@command("listRouters", roles=ADMINS, answers=router_view)
def list_routers(
    ctx: Context,
    id: Use[Vm] | None = None,
    name: str | None = None,
    state: str | None = None,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
    clusterid: Use[Cluster] | None = None,
    hostid: Use[Host] | None = None,
    networkid: Use[Network] | None = None,
    version: str | None = None,
    arch: str | None = None,
    vpcid: str | None = None,
    forvpc: bool | None = None,
    healthchecksfailed: bool | None = None,
    fetchhealthcheckresults: bool = False,
) -> Rows:
    """List virtual routers.

    id: this router alone
    name: the one of this name
    state: those in this state
    zoneid: those in this zone
    podid: those in this pod
    clusterid: those in this cluster
    hostid: those on this host
    networkid: those of this network
    version: those with this software
    arch: those of this architecture
    vpcid: lists nothing: there are no VPCs
    forvpc: true lists nothing: there are no VPCs
    healthchecksfailed: true lists nothing: checks are not recorded yet
    fetchhealthcheckresults: accepted; there are none
    """
    rows = Rows(router_view).where(
        Vm.kind == "DomainRouter",
        id=id and id.id,
        name=name,
        state=state,
        zone_id=zoneid,
        pod_id=podid,
        host_id=hostid,
        network_id=networkid,
        software_version=version,
    )
    if clusterid is not None:
        rows = rows.where(Vm.host_id.in_(select(Host.id).where(Host.cluster_id == clusterid.id)))
    nothing = vpcid or forvpc or healthchecksfailed or (arch and arch != "x86_64")
    return rows.where(Vm.id == -1) if nothing else rows


@command("listSystemVms", roles=(ADMIN, RESOURCE_ADMIN), answers=system_vm_view)
def list_system_vms(
    ctx: Context,
    id: Use[Vm] | None = None,
    name: str | None = None,
    state: str | None = None,
    systemvmtype: str | None = None,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
    hostid: Use[Host] | None = None,
    storageid: Use[Pool] | None = None,
    arch: str | None = None,
) -> Rows:
    """List secondary storage VMs and console proxies.

    id: this one alone
    name: the one of this name
    state: those in this state
    systemvmtype: consoleproxy or secondarystoragevm
    zoneid: those in this zone
    podid: those in this pod
    hostid: those on this host
    storageid: those with a disk in this pool
    arch: those of this architecture
    """
    kind = one_of("systemvmtype", systemvmtype, tuple(KINDS))
    rows = Rows(system_vm_view, narrow=False).where(
        Vm.kind.in_([KINDS[kind]] if kind else list(KINDS.values())),
        id=id and id.id,
        name=name,
        state=state,
        zone_id=zoneid,
        pod_id=podid,
        host_id=hostid,
    )
    if storageid is not None:
        rows = rows.where(Vm.id.in_(select(Volume.vm_id).where(Volume.pool_id == storageid.id)))
    return rows.where(Vm.id == -1) if arch and arch != "x86_64" else rows
