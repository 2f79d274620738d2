"""Disks: listing them. What makes and changes them is in the modules that are imported here."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Use
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.volume import (  # noqa: F401  more commands
    adopting,
    attaching,
    checking,
    creating,
    extracting,
    placing,
    removing,
    resizing,
    uploading,
)
from mgmt_server.resources.volume.views import volume_view


@command("listVolumes", roles=EVERYONE, answers=volume_view)
def list_volumes(
    ctx: Context,
    id: Use[Volume] | None = None,
    ids: list[Use[Volume]] | None = None,
    name: str | None = None,
    type: str | None = None,
    state: str | None = None,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
    clusterid: Use[Cluster] | None = None,
    hostid: Use[Host] | None = None,
    storageid: Use[Pool] | None = None,
    virtualmachineid: Use[Vm] | None = None,
    diskofferingid: Use[DiskOffering] | None = None,
    serviceofferingid: Use[ServiceOffering] | None = None,
    displayvolume: bool | None = None,
    isencrypted: bool | None = None,
    listsystemvms: bool = False,
    retrieveonlyresourcecount: bool = False,
) -> Rows:
    """List disks.

    id: this disk alone
    ids: these disks alone
    name: those of this name
    type: ROOT or DATADISK
    state: those in this state
    zoneid: those in this zone
    podid: those in this pod
    clusterid: those in this cluster
    hostid: those of machines on this host
    storageid: those in this pool
    virtualmachineid: those of this machine
    diskofferingid: those of this disk offering
    serviceofferingid: root disks of machines of this offering
    displayvolume: those that users see, or not
    isencrypted: true lists nothing: there are no encrypted disks
    listsystemvms: whether to list disks of system VMs too
    retrieveonlyresourcecount: tell how many there are, and no more
    """
    rows = Rows(volume_view).where(
        id=id and id.id,
        name=name,
        kind=one_of("type", type, ("ROOT", "DATADISK")),
        state=state,
        zone_id=zoneid,
        pool_id=storageid,
        vm_id=virtualmachineid,
        disk_offering_id=diskofferingid,
        display=displayvolume if ctx.caller.is_root else True,
    )
    rows = rows.where(Volume.id.in_([v.id for v in ids]) if ids else None)
    if state is None:  # what is deleted is gone for whoever deleted it, though its file takes a while
        rows = rows.where(Volume.state != "Expunging")
    if not listsystemvms and virtualmachineid is None and id is None:
        rows = rows.where(Volume.vm_id.is_(None) | Volume.vm_id.in_(select(Vm.id).where(Vm.kind == "User")))
    for condition in (
        Host.id == hostid.id if hostid else None,
        Host.cluster_id == clusterid.id if clusterid else None,
        Host.pod_id == podid.id if podid else None,
    ):
        if condition is not None:
            there = select(Vm.id).join(Host, Host.id == Vm.host_id).where(condition)
            rows = rows.where(Volume.vm_id.in_(there))
    if serviceofferingid is not None:
        of = select(Vm.id).where(Vm.service_offering_id == serviceofferingid.id)
        rows = rows.where(Volume.kind == "ROOT", Volume.vm_id.in_(of))
    return rows.where(Volume.id == -1) if isencrypted else rows
