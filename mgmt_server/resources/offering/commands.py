"""Service offerings: what a machine gets."""

from __future__ import annotations

from mgmt_server.allocation import implicit, planners
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import after_commit, now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Domain
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import assign, one_of
from mgmt_server.resources.offering.fitting import at_least, for_machine
from mgmt_server.resources.offering.rules import (
    STATES,
    SYSTEM_VMS,
    absent,
    between,
    bounds,
    disk_columns,
    is_customized,
    storage_tags,
)
from mgmt_server.resources.offering.scope import check_tags, offer, offer_anew, usable_in
from mgmt_server.resources.offering.views import GIB, service_offering_view
from mgmt_server.resources.vm import leases


@command(
    "createServiceOffering",
    roles=ADMINS,
    answers=service_offering_view,
    event="SERVICE.OFFERING.CREATE",
    unsupported=(
        "externaldetails",
        "gpucount",
        "vgpuprofileid",
        "hypervisorsnapshotreserve",
        "storagepolicy",
    ),
)
def create(
    ctx: Context,
    name: str,
    displaytext: str | None = None,
    cpunumber: int | None = None,
    cpuspeed: int | None = None,
    memory: int | None = None,
    customized: bool | None = None,
    mincpunumber: int | None = None,
    maxcpunumber: int | None = None,
    minmemory: int | None = None,
    maxmemory: int | None = None,
    storagetype: str = "shared",
    provisioningtype: str = "thin",
    cachemode: str | None = None,
    tags: str | None = None,
    hosttags: str | None = None,
    offerha: bool = False,
    limitcpuuse: bool = False,
    isvolatile: bool = False,
    issystem: bool = False,
    systemvmtype: str | None = None,
    networkrate: int | None = None,
    deploymentplanner: str | None = None,
    dynamicscalingenabled: bool = True,
    rootdisksize: int | None = None,
    diskofferingid: Use[DiskOffering] | None = None,
    diskofferingstrictness: bool = False,
    encryptroot: bool = False,
    gpudisplay: bool = False,
    purgeresources: bool = False,
    customizediops: bool | None = None,
    miniops: int | None = None,
    maxiops: int | None = None,
    bytesreadrate: int | None = None,
    bytesreadratemax: int | None = None,
    bytesreadratemaxlength: int | None = None,
    byteswriterate: int | None = None,
    byteswriteratemax: int | None = None,
    byteswriteratemaxlength: int | None = None,
    iopsreadrate: int | None = None,
    iopsreadratemax: int | None = None,
    iopsreadratemaxlength: int | None = None,
    iopswriterate: int | None = None,
    iopswriteratemax: int | None = None,
    iopswriteratemaxlength: int | None = None,
    serviceofferingdetails: dict[str, str] | None = None,
    domainid: list[Use[Domain]] | None = None,
    zoneid: list[Use[Zone]] | None = None,
    leaseduration: int | None = None,
    leaseexpiryaction: str | None = None,
) -> ServiceOffering:
    """Offer machines of a size.

    name: its name
    displaytext: what users read; the name by default
    cpunumber: CPUs of a machine; without it users choose
    cpuspeed: MHz of a CPU
    memory: MiB
    customized: whether users choose CPUs, speed and memory
    mincpunumber: the fewest CPUs that users may choose
    maxcpunumber: the most CPUs that users may choose
    minmemory: the least MiB that users may choose
    maxmemory: the most MiB that users may choose
    storagetype: shared or local: where root disks are
    provisioningtype: thin, sparse or fat
    cachemode: none, writeback, writethrough or hypervisor_default
    tags: tags that a pool needs to hold the root disk
    hosttags: tag that a host needs to run the machine
    offerha: whether machines are started elsewhere when their host fails
    limitcpuuse: whether a machine never gets more than its CPUs at their speed
    isvolatile: whether the root disk is made anew at each reboot
    issystem: whether it is for system VMs
    systemvmtype: for which of them: domainrouter, consoleproxy or secondarystoragevm
    networkrate: Mbit/s of a machine's first NIC
    deploymentplanner: which planner places machines, of those that listDeploymentPlanners names
    dynamicscalingenabled: whether running machines may be resized
    rootdisksize: GiB of the root disk instead of the template's
    diskofferingid: the disk offering of root disks, instead of one of its own
    diskofferingstrictness: whether root disks may have no other disk offering
    encryptroot: not supported; false is accepted
    gpudisplay: not supported; false is accepted
    purgeresources: not supported; false is accepted
    customizediops: whether users choose the operations a second
    miniops: operations a second that the root disk always gets
    maxiops: operations a second that it gets at most
    bytesreadrate: bytes a second read from the root disk
    bytesreadratemax: the same in bursts
    bytesreadratemaxlength: seconds that such a burst may last
    byteswriterate: bytes a second written to the root disk
    byteswriteratemax: the same in bursts
    byteswriteratemaxlength: seconds that such a burst may last
    iopsreadrate: reads a second
    iopsreadratemax: the same in bursts
    iopsreadratemaxlength: seconds that such a burst may last
    iopswriterate: writes a second
    iopswriteratemax: the same in bursts
    iopswriteratemaxlength: seconds that such a burst may last
    serviceofferingdetails: free key-value pairs
    domainid: the domains that it is for; all by default
    zoneid: the zones that it is in; all by default
    leaseduration: after how many days the leases of its machines end, where nothing else is asked for
    leaseexpiryaction: what is done with them then: STOP or DESTROY
    """
    absent(encryptroot=encryptroot, gpudisplay=gpudisplay, purgeresources=purgeresources)
    details = bounds(cpuspeed, (mincpunumber, maxcpunumber), (minmemory, maxmemory))
    own = is_customized(customized, bool(details), cpunumber, cpuspeed, memory)
    system = _system(ctx, issystem, systemvmtype)
    planner, more = _planner(deploymentplanner, serviceofferingdetails or {})
    more |= _lease(leaseduration, leaseexpiryaction)
    disk = disk_columns(
        provisioningtype=provisioningtype, storagetype=storagetype, cachemode=cachemode, customizediops=customizediops,
        miniops=miniops, maxiops=maxiops, tags=tags, bytesreadrate=bytesreadrate, bytesreadratemax=bytesreadratemax,
        byteswriterate=byteswriterate, byteswriteratemax=byteswriteratemax, iopsreadrate=iopsreadrate,
        iopsreadratemax=iopsreadratemax, iopswriterate=iopswriterate, iopswriteratemax=iopswriteratemax,
        bytesreadratemaxlength=bytesreadratemaxlength,
        byteswriteratemaxlength=byteswriteratemaxlength, iopsreadratemaxlength=iopsreadratemaxlength,
        iopswriteratemaxlength=iopswriteratemaxlength,
    )  # fmt: skip
    root = diskofferingid or DiskOffering(name=name, display_text=displaytext or name, compute_only=True, **disk)
    ctx.session.add(root)
    ctx.session.flush()
    offering = ServiceOffering(
        name=name,
        display_text=displaytext or name,
        cpus=cpunumber,
        speed=cpuspeed,
        memory=memory,
        customized=own,
        disk_offering_id=root.id,
        disk_offering_strict=diskofferingstrictness,
        root_disk_size=(between("rootdisksize", rootdisksize, 1, unit=" GiB") or 0) * GIB or None,
        offer_ha=offerha,
        limit_cpu_use=limitcpuuse,
        volatile=isvolatile,
        host_tag=hosttags,
        network_rate=between("networkrate", networkrate, 0, unit=" Mbit/s"),
        deployment_planner=planner,
        dynamic_scaling=dynamicscalingenabled,
        is_system=issystem,
        system_vm_type=system,
        details={**(serviceofferingdetails or {}), **more, **details},
    )
    ctx.session.add(offering)
    ctx.session.flush()
    check_tags(ctx, tags, hosttags)
    offer(ctx, offering, domainid, zoneid)
    after_commit(implicit.forget)
    ctx.describe(f"creating service offering {name}")
    return offering


def _lease(days: int | None, action: str | None) -> dict[str, str]:
    lease = leases.given(days, action)
    return {} if lease is None else {"leaseduration": str(lease.days), "leaseexpiryaction": lease.action}


def _planner(name: str | None, details: dict[str, str]) -> tuple[str | None, dict[str, str]]:
    """The planner, and what is added to the details for it."""
    planner = one_of("deploymentplanner", name, planners.names())
    mode = details.get(implicit.MODE)
    if mode is not None and planner != planners.IMPLICIT:
        raise InvalidValue(f"{implicit.MODE} is for offerings with deploymentplanner={planners.IMPLICIT}")
    if planner != planners.IMPLICIT:
        return planner, {}
    return planner, {
        implicit.MODE: one_of(implicit.MODE, mode, (implicit.STRICT, implicit.PREFERRED)) or implicit.STRICT
    }


def _system(ctx: Context, issystem: bool, systemvmtype: str | None) -> str | None:
    if not issystem:
        if systemvmtype:
            raise InvalidValue("systemvmtype is for system offerings: send issystem=true too, or leave it out")
        return None
    if not ctx.caller.is_root:
        raise InvalidValue("only root administrators make offerings for system VMs: leave issystem out")
    if systemvmtype is None:
        raise InvalidValue(f"issystem needs systemvmtype, one of {', '.join(SYSTEM_VMS)}")
    return one_of("systemvmtype", systemvmtype, SYSTEM_VMS)


@command(
    "updateServiceOffering",
    roles=ADMINS,
    answers=service_offering_view,
    event="SERVICE.OFFERING.EDIT",
    unsupported=("externaldetails", "cleanupexternaldetails"),
)
def update(
    ctx: Context,
    id: Operate[ServiceOffering],
    name: str | None = None,
    displaytext: str | None = None,
    hosttags: str | None = None,
    storagetags: str | None = None,
    sortkey: int | None = None,
    state: str | None = None,
    domainid: str | None = None,
    zoneid: str | None = None,
    purgeresources: bool = False,
) -> ServiceOffering:
    """Change what a service offering is called, for whom it is and where it runs. Machines keep their size.

    id: the service offering
    name: its new name
    displaytext: what users read
    hosttags: tag that a host needs; empty: any host will do
    storagetags: tags that a pool needs; empty: any pool will do
    sortkey: its place in lists, the lowest first
    state: Active or Inactive; an inactive one is not offered any more
    domainid: ids of the domains that it is for, or public
    zoneid: ids of the zones that it is in, or all
    purgeresources: not supported; false is accepted
    """
    absent(purgeresources=purgeresources)
    changes = {
        "name": name,
        "display_text": displaytext,
        "host_tag": hosttags,
        "sort_key": sortkey,
        "state": one_of("state", state, STATES),
    }
    root = ctx.session.get_one(DiskOffering, id.disk_offering_id)
    free_host = ctx.emptied("hosttags") and bool(id.host_tag)
    free_pool = ctx.emptied("storagetags") and bool(root.tags)
    check_tags(ctx, hosttags, storagetags, gone=free_host or free_pool)
    assign(id, changes)
    if free_host:
        id.host_tag = None
    if storagetags is not None or free_pool:
        if not root.compute_only:
            raise InvalidValue(f"its root disks have the disk offering {root.name}: change the tags of that one")
        root.tags = storage_tags(storagetags)
    offer_anew(ctx, id, domainid, zoneid)
    ctx.describe(f"changing service offering {id.name}")
    return id


@command("deleteServiceOffering", roles=ADMINS, event="SERVICE.OFFERING.DELETE")
def delete(ctx: Context, id: Operate[ServiceOffering]) -> None:
    """Offer a service offering no longer. Machines that have it keep it.

    id: the service offering
    """
    if id.default_use:
        raise InvalidValue(f"{id.name} is the offering that system VMs start with: it stays")
    id.removed, id.state = now(), "Inactive"
    root = ctx.session.get_one(DiskOffering, id.disk_offering_id)
    if root.compute_only:
        root.removed, root.state = now(), "Inactive"
    ctx.describe(f"deleting service offering {id.name}")


@command(
    "listServiceOfferings",
    roles=EVERYONE,
    answers=service_offering_view,
    unsupported=("templateid", "vgpuprofileid"),
)
def list_offerings(
    ctx: Context,
    id: Use[ServiceOffering] | None = None,
    name: str | None = None,
    issystem: bool = False,
    systemvmtype: str | None = None,
    cpunumber: int | None = None,
    cpuspeed: int | None = None,
    memory: int | None = None,
    state: str | None = None,
    storagetype: str | None = None,
    encryptroot: bool = False,
    gpuenabled: bool = False,
    domainid: Use[Domain] | None = None,
    zoneid: Use[Zone] | None = None,
    virtualmachineid: Use[Vm] | None = None,
) -> Rows:
    """List service offerings.

    id: this one alone
    name: those of this name
    issystem: those for system VMs, which root administrators alone see
    systemvmtype: those for this kind of system VM
    cpunumber: those with at least so many CPUs, or that let users choose so many
    cpuspeed: those with at least so many MHz, or that let users choose so many
    memory: those with at least so many MiB, or that let users choose so many
    state: Active by default, Inactive or all
    storagetype: shared or local
    encryptroot: not supported; false is accepted
    gpuenabled: not supported; false is accepted
    domainid: those that this domain may use
    zoneid: those in this zone
    virtualmachineid: those that this machine could change to; while it runs, larger ones alone
    """
    absent(encryptroot=encryptroot, gpuenabled=gpuenabled)
    rows = Rows(service_offering_view).where(id=id and id.id, name=name, is_system=issystem)
    if id is None:
        wanted = one_of("state", state, (*STATES, "all")) or "Active"
        rows = rows.where(state=None if wanted == "all" else wanted)
    if virtualmachineid is not None:
        rows = rows.where(*for_machine(ctx.session, virtualmachineid))
    return rows.where(
        system_vm_type=one_of("systemvmtype", systemvmtype, SYSTEM_VMS),
    ).where(
        at_least(ctx.session, cpus=cpunumber, speed=cpuspeed, memory=memory),
        DiskOffering.storage_type == storagetype if storagetype else None,
        usable_in(ctx, ServiceOffering, domainid),
        ServiceOffering.in_zone(zoneid.id) if zoneid else None,
    )
