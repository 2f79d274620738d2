"""Machines made of disks that lie in pools and are none of this cloud's yet."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import pools
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Use
from mgmt_server.db import write
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import InvalidValue, Unavailable
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Domain, Project
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.protocol.machine import Unmanaged, UnmanagedDisk
from mgmt_server.resources.checks import LABEL, hold_names, one_of
from mgmt_server.resources.network.nics import add_nic
from mgmt_server.resources.nic import rows as nics
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.unmanaged import fitting, flows
from mgmt_server.resources.unmanaged.adopting import Adoption, adopt
from mgmt_server.resources.vm import details as rules
from mgmt_server.resources.vm.release import spoken
from mgmt_server.resources.vm.views import vm_view
from mgmt_server.resources.volume.adopting import known_in

SOURCES = ("shared", "local", "unmanaged", "external", "vmware")


@command(
    "importVm",
    roles=ROOT,
    answers=vm_view,
    event="VM.IMPORT",
    outside=True,
    unsupported=(
        "clustername", "convertinstancehostid", "convertinstancepoolid", "datacentername", "datadiskofferinglist",
        "existingvcenterid", "extraparams", "forceconverttopool", "forced", "forcemstoimportvmfiles", "host", "hostip",
        "importinstancehostid", "nicipaddresslist", "nicnetworklist", "password", "temppath",
        "username", "usevddk", "vcenter",
    ),
)  # fmt: skip
def import_from_disk(
    ctx: Context,
    zoneid: Use[Zone],
    clusterid: Use[Cluster],
    hypervisor: str,
    importsource: str,
    name: str,
    serviceofferingid: Use[ServiceOffering],
    storageid: Use[Pool] | None = None,
    diskpath: str | None = None,
    networkid: Use[Network] | None = None,
    hostid: Use[Host] | None = None,
    templateid: Use[Template] | None = None,
    osid: Use[OsType] | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
    displayname: str | None = None,
    hostname: str | None = None,
    details: dict[str, str] | None = None,
    migrateallowed: bool = False,
) -> Accepted:
    """Make a stopped machine of a qcow2 disk that lies in a pool. The disk is looked into first, and stays there.

    zoneid: the zone of the pool
    clusterid: the cluster that reaches it
    hypervisor: that of the cluster
    importsource: shared or local: the kind of the pool; other sources are not supported
    name: what people call the machine
    serviceofferingid: what it gets when it starts
    storageid: the pool
    diskpath: the disk's name in the pool
    networkid: the machine's network
    hostid: the host of the local storage
    templateid: the template that it is said to be from
    osid: its guest operating system
    account: whose it shall be; needs domainid
    domainid: the account's domain
    projectid: the project whose it shall be
    displayname: what people call it, instead of name
    hostname: its host name, instead of name; letters, digits and hyphens
    details: free key-value pairs; cpuNumber, cpuSpeed and memory where the offering leaves them open
    migrateallowed: whether a disk that does not lie where its offering wants it is moved
    """
    _check_source(importsource, hypervisor, clusterid)
    if storageid is None or not diskpath or networkid is None:
        raise InvalidValue("storageid, diskpath and networkid are needed: the disk and the machine's network")
    host_name = hostname or name
    if not LABEL.fullmatch(host_name) or host_name.isdecimal():
        raise InvalidValue("hostname is missing, for name is none: letters, digits and hyphens, as guests have them")
    _check_places(zoneid, clusterid, storageid, networkid, importsource, hostid)
    host = _host(ctx.session, clusterid, storageid)
    (file,) = disks.look(storage.ref(host), storage.as_seen(storageid), (diskpath,))
    if file.refused:
        raise InvalidValue(f"{diskpath} in the pool {storageid.name} cannot be a disk: {file.refused}")
    disk = UnmanagedDisk("vda", diskpath, file.virtual_size, format=file.format, pool=storageid.uuid, name=file.name)
    root = ctx.session.get_one(DiskOffering, serviceofferingid.disk_offering_id)
    given = rules.given(ctx, details)

    def take(tx: Session) -> Accepted:
        ctx.session = tx
        hold_names(ctx)  # of two that import the same disk, the second finds it taken
        if file.name in known_in(tx, storageid):
            raise InvalidValue(f"{diskpath} in the pool {storageid.name} is a disk or a template of this cloud already")
        whose = owner(ctx, account, domainid, projectid)
        found = Unmanaged(name, "", "Stopped", 0, 0, disks=(disk,))
        shown = displayname or name
        vm = adopt(
            tx,
            Adoption(
                host, found, whose, ctx.caller.user_id, serviceofferingid, root, templateid, host_name, shown, given,
                moves=migrateallowed,
            ),
        )  # fmt: skip
        vm.os_type_id = osid.id if osid is not None else vm.os_type_id
        nics.check_network(tx, vm, networkid)
        nics.check_name(tx, vm, networkid)
        add_nic(tx, vm, networkid, zoneid, device=0, default=True)
        ctx.describe(f"making {spoken(vm)} of {diskpath} in the pool {storageid.name}")
        return ctx.start(flows.import_machine, vm, None, "", fitting.places_for(tx, vm, host, stays=False))

    return write(take)


def _check_source(source: str, hypervisor: str, cluster: Cluster) -> None:
    kind = one_of("importsource", source, SOURCES)
    if kind == "unmanaged":
        raise InvalidValue("importsource=unmanaged: machines of hosts are taken over with importUnmanagedInstance")
    if kind not in ("shared", "local"):
        raise InvalidValue(
            f"importsource={kind}: this server logs in to no other host. Copy the disk into a pool, and import it from "
            "there with importsource=shared or local"
        )
    if hypervisor.lower() != cluster.hypervisor.lower():
        raise InvalidValue(f"hypervisor={hypervisor[:50]}: the cluster {cluster.name} is of {cluster.hypervisor}")


def _check_places(zone: Zone, cluster: Cluster, pool: Pool, network: Network, source: str, host: Host | None) -> None:
    for what, place in ((f"cluster {cluster.name}", cluster), (f"pool {pool.name}", pool), (network.name, network)):
        if place.zone_id != zone.id:
            raise InvalidValue(f"{what} is not in the zone {zone.name}")
    if pool.is_local != (source.lower() == "local"):
        kind = "local" if pool.is_local else "shared"
        raise InvalidValue(f"The pool {pool.name} is {kind} storage: send importsource={kind}")
    if host is not None and pool.host_id not in (None, host.id):
        raise InvalidValue(f"The pool {pool.name} is the local storage of another host than {host.name}")


def _host(tx: Session, cluster: Cluster, pool: Pool) -> Host:
    """One of the cluster's that reaches the pool."""
    rows = select(Host).where(Host.cluster_id == cluster.id, Host.removed.is_(None), Host.state == "Up")
    for host in tx.scalars(rows.order_by(Host.id)):
        if pools.reachable(pool, host):
            return host
    raise Unavailable(f"No host of the cluster {cluster.name} that is up reaches the pool {pool.name}")
