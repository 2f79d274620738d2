"""Primary storage: pools on which disks are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from mgmt_server.allocation import tags as fitting
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, page_of_objects
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import new_uuid, write
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import ApiError, Failed, InvalidValue, Unavailable
from mgmt_server.jobs import Accepted
from mgmt_server.jobs.queue import enqueue
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope
from mgmt_server.model.storage import STATES, Pool, PoolHost
from mgmt_server.model.tenancy import ADMIN, ADMINS, RESOURCE_ADMIN, ROOT
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.protocol.download import shown
from mgmt_server.resources.checks import alone, free_name, one_of
from mgmt_server.resources.storage import flows, maintenance, objects, rows, scope_commands  # noqa: F401  more commands
from mgmt_server.resources.storage.settings import FACTOR
from mgmt_server.resources.storage.views import pool_view

OPERATORS = (ADMIN, RESOURCE_ADMIN)
SCHEMES = {"nfs": "NetworkFilesystem", "file": "Filesystem", "sharedmountpoint": "SharedMountPoint"}
REAL = ("nfs", "file", "sharedmountpoint")  # what hosts can do; simulated ones do as if they could do the others too
SIMULATED = {"presetup": "PreSetup", "iscsi": "IscsiLUN", "rbd": "RBD", "clvm": "CLVM", "vmfs": "VMFS"}


@command(
    "createStoragePool",
    roles=ROOT,
    outside=True,
    answers=pool_view,
    unsupported=("managed", "storageaccessgroups"),
)
def create(
    ctx: Context,
    zoneid: Use[Zone],
    name: str,
    url: str,
    podid: Use[Pod] | None = None,
    clusterid: Use[Cluster] | None = None,
    scope: str | None = None,
    hypervisor: str | None = None,
    provider: str | None = None,
    tags: str | None = None,
    istagarule: bool = False,
    capacitybytes: int | None = None,
    capacityiops: int | None = None,
    details: dict[str, str] | None = None,
) -> Pool:
    """Add primary storage to a cluster or a zone.

    zoneid: the zone
    name: its name
    url: nfs://SERVER/PATH, sharedmountpoint://localhost/PATH that each host has mounted, or file:///PATH that all share
    podid: the pod of the cluster
    clusterid: the cluster, for scope CLUSTER
    scope: CLUSTER, or ZONE for all hosts of a hypervisor
    hypervisor: whose hosts reach it, for scope ZONE
    provider: DefaultPrimary
    tags: tags by which offerings choose it, with commas between
    istagarule: whether tags is a rule: a comparison over tags, those that an offering asks for
    capacitybytes: its size in bytes, where it cannot be measured
    capacityiops: how many operations a second it can do
    details: free key-value pairs
    """
    kind = one_of("scope", scope, ("CLUSTER", "ZONE")) or ("CLUSTER" if clusterid else "ZONE")
    where = _where(zoneid, podid, clusterid, kind, hypervisor)
    one_of("provider", provider, ("DefaultPrimary",))
    simulated = where["hypervisor"] == "Simulator"
    type_, server, path = _place(url, simulated)
    pool = Pool(
        uuid=new_uuid(),
        name=name,
        zone_id=zoneid.id,
        scope=kind,
        type=type_,
        server=server,
        path=path,
        port=2049 if type_ == "NetworkFilesystem" else 0,
        url=url,
        capacity=capacitybytes or (simulator.POOL_SIZE if simulated else 0),
        capacity_iops=capacityiops,
        overprovision=FACTOR.fraction(Scope("Zone", zoneid.id)) or 1.0,
        details=details or {},
        **where,
    )
    fitting.put(pool, tags or "", rule=istagarule)
    _refuse_second(ctx, pool)
    tried = None if simulated else _try(ctx, pool)
    try:
        return write(_keep, ctx, pool, simulated)
    except ApiError:
        if tried is not None:
            flows.leave(uuid4(), tried, rows.as_seen(pool))
        raise


def _keep(tx: Session, ctx: Context, pool: Pool, simulated: bool) -> Pool:
    """Write the pool down, with the checks again: nobody can come between them and this now."""
    inner = replace(ctx, session=tx)
    tx.get_one(Zone, pool.zone_id, with_for_update=True)
    _refuse_second(inner, pool)
    kept = Pool(**{c.key: getattr(pool, c.key) for c in inspect(Pool).column_attrs if c.key in pool.__dict__})
    tx.add(kept)
    tx.flush()
    if simulated:
        for host in rows.hosts_of(tx, kept):
            rows.reaches(tx, kept.id, host.id)
    else:
        enqueue(tx, flows.connect, (kept.id,), lock=f"pool:{kept.id}")
    return kept


@command("updateStoragePool", roles=ROOT, answers=pool_view, unsupported=("url",))
def update(
    ctx: Context,
    id: Operate[Pool],
    name: str | None = None,
    tags: list[str] | None = None,
    istagarule: bool = False,
    enabled: bool | None = None,
    capacitybytes: int | None = None,
    capacityiops: int | None = None,
    details: dict[str, str] | None = None,
) -> Pool:
    """Change primary storage, or enable and disable it. What is not sent stays.

    id: the pool
    name: its new name
    tags: tags by which offerings choose it
    istagarule: whether tags is a rule
    enabled: false to put no more disks on it
    capacitybytes: its size in bytes, where it cannot be measured
    capacityiops: how many operations a second it can do
    details: free key-value pairs
    """
    if istagarule and not ctx.sent.get("tags"):
        raise InvalidValue("istagarule=true needs tags: the rule")
    if capacitybytes is not None and capacitybytes < id.allocated / id.overprovision:
        raise InvalidValue(f"capacitybytes={capacitybytes} is less than what is promised of it: {id.allocated} bytes")
    if name is not None and name != id.name:
        free_name(ctx, Pool, name, Pool.zone_id == id.zone_id)
    if enabled is not None and enabled != (id.state == "Up"):
        if id.state not in ("Up", "Disabled"):
            raise InvalidValue(f"pool {id.name} is in {id.state}: call cancelStorageMaintenance first")
        STATES.move(ctx.session, id.id, (id.state,), "Up" if enabled else "Disabled")
    id.name, id.capacity = name or id.name, capacitybytes or id.capacity
    id.capacity_iops = capacityiops or id.capacity_iops
    if "tags" in ctx.sent:
        fitting.put(id, ctx.sent["tags"] if istagarule else ",".join(tags or []), rule=istagarule)
    id.details = {**id.details, **(details or {})}
    ctx.describe(f"changing primary storage {id.name}")
    ctx.event("UPDATE.PS" if enabled is None else "ENABLE.PS" if enabled else "DISABLE.PS", id)
    return id


@command("deleteStoragePool", roles=ROOT)
def delete(ctx: Context, id: Operate[Pool], forced: bool = False) -> None:
    """Take away primary storage that is in maintenance and holds no disk. What is on it stays there.

    id: the pool
    forced: accepted; a pool with disks on it stays all the same
    """
    alone(ctx, id)
    if id.state != "Maintenance":
        way = "enable it with updateStoragePool, then " if id.state == "Disabled" else ""
        raise InvalidValue(f"pool {id.name} is {id.state}: {way}call enableStorageMaintenance first")
    disks = rows.held_on(ctx.session, id.id)
    if disks:
        raise Failed(f"disks are on pool {id.name} ({', '.join(disks)}): delete them, or move them, first")
    flows.gone(ctx.session, id)
    enqueue(ctx.session, flows.disconnect, (id.id,), lock=f"pool:{id.id}")
    ctx.describe(f"deleting primary storage {id.name}")


@command("listStoragePools", roles=OPERATORS, answers=pool_view, unsupported=("storageaccessgroup",))
def list_pools(
    ctx: Context,
    id: Use[Pool] | None = None,
    name: str | None = None,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
    clusterid: Use[Cluster] | None = None,
    hostid: Use[Host] | None = None,
    ipaddress: str | None = None,
    path: str | None = None,
    scope: str | None = None,
    status: str | None = None,
    storagecustomstats: bool = False,
) -> Rows:
    """List primary storage.

    id: this one alone
    name: that of this name
    zoneid: that of this zone
    podid: that of this pod
    clusterid: that of this cluster
    hostid: that which this host reaches
    ipaddress: that of this server
    path: that of this path
    scope: ZONE, CLUSTER or HOST
    status: Up, Disabled or Maintenance
    storagecustomstats: accepted; there are no others than the fields' own
    """
    found = Rows(pool_view).where(
        id=id and id.id, name=name, zone_id=zoneid, pod_id=podid, cluster_id=clusterid, server=ipaddress, path=path,
        scope=scope and scope.upper(), state=status,
    )  # fmt: skip
    if hostid is None:
        return found
    return found.where(Pool.id.in_(select(PoolHost.pool_id).where(PoolHost.host_id == hostid.id)))


@command("enableStorageMaintenance", roles=ROOT, answers=pool_view, event="MAINT.PREPARE.PS")
def close(ctx: Context, id: Operate[Pool]) -> Accepted:
    """Put primary storage into maintenance. Disks of running machines move where they fit; other machines are stopped.

    id: the pool
    """
    ctx.describe(f"putting primary storage {id.name} into maintenance")
    return ctx.start(maintenance.into_maintenance, id)


@command("cancelStorageMaintenance", roles=ROOT, answers=pool_view, event="MAINT.CANCEL.PS")
def reopen(ctx: Context, id: Operate[Pool]) -> Accepted:
    """Take primary storage out of maintenance. Machines that were stopped for it start again.

    id: the pool
    """
    ctx.describe(f"taking primary storage {id.name} out of maintenance")
    return ctx.start(maintenance.out_of_maintenance, id)


@command("syncStoragePool", roles=ROOT, answers=pool_view, event="SYNC.STORAGE.POOL")
def sync(ctx: Context, id: Operate[Pool]) -> Accepted:
    """Look at primary storage anew: its size, what is used, and which hosts reach it.

    id: the pool
    """
    if id.state not in ("Up", "Disabled"):
        raise InvalidValue(f"pool {id.name} is {id.state}: call cancelStorageMaintenance first")
    ctx.describe(f"looking at primary storage {id.name} anew")
    return ctx.start(flows.connect, id)


@command("listStorageTags", roles=ADMINS, key="", reads=True)
def list_tags(ctx: Context) -> dict[str, Any]:
    """List the tags of primary storage."""
    tagged = select(Pool.id, Pool.tags).where(Pool.tags.is_not(None), Pool.removed.is_(None))
    found = ctx.session.execute(tagged.where(Pool.usable_by(ctx.caller)).order_by(Pool.id))
    tags = [(pool, tag.strip()) for pool, names in found for tag in (names or "").split(",")]
    told = [{"id": str(n), "poolid": pool, "name": tag} for n, (pool, tag) in enumerate(tags, 1)]
    return page_of_objects(ctx, "storagetag", told)


def _where(zone: Zone, pod: Pod | None, cluster: Cluster | None, scope: str, hypervisor: str | None) -> dict[str, Any]:
    if scope == "ZONE":
        if cluster is not None:
            raise InvalidValue("clusterid is for scope CLUSTER: leave it out")
        if not hypervisor:
            raise InvalidValue("hypervisor is missing: storage of a whole zone is for hosts of one hypervisor")
        return {"hypervisor": one_of("hypervisor", hypervisor, ("KVM", "Simulator"))}
    if cluster is None:
        raise InvalidValue("clusterid is missing: say which cluster gets the storage, or send scope=ZONE")
    if cluster.zone_id != zone.id or (pod is not None and cluster.pod_id != pod.id):
        raise InvalidValue(f"cluster {cluster.name} is not in that zone and pod")
    return {"cluster_id": cluster.id, "pod_id": cluster.pod_id, "hypervisor": cluster.hypervisor}


def _place(url: str, simulated: bool) -> tuple[str, str, str]:
    """(type, server, path). Raises ApiError, as the protocol has it for URLs of storage."""
    try:
        found = urlsplit(url.strip())
    except ValueError:
        raise ApiError(f"url={shown(url)} is no URL") from None
    scheme, server = found.scheme.lower(), found.netloc.rpartition("@")[2].removesuffix(":")
    known = SCHEMES | SIMULATED if simulated else {s: SCHEMES[s] for s in REAL}
    if scheme not in known:
        raise ApiError(f"url={shown(url)}: storage {scheme or 'of no kind'} is not supported: use {', '.join(known)}")
    path = unquote(found.path)
    if ".." in path.split("/") or any(ord(c) < 32 for c in path) or len(path) > 255 or not path.strip("/"):
        raise ApiError(f"url={shown(url)} names no path: write nfs://SERVER/PATH")
    if scheme == "nfs" and not server:
        raise ApiError(f"url={shown(url)} names no NFS server: write nfs://SERVER/PATH")
    return known[scheme], server, path if len(path) == 1 else path.rstrip("/")


def _refuse_second(ctx: Context, pool: Pool) -> None:
    same = select(Pool.name).where(
        Pool.server == pool.server, Pool.path == pool.path, Pool.scope != "HOST", Pool.removed.is_(None)
    )
    if not pool.server:  # a folder is another one in another zone
        same = same.where(Pool.zone_id == pool.zone_id)
    name = ctx.session.scalar(same.limit(1))
    if name is not None:
        raise ApiError(f"{pool.server}{pool.path} is storage pool {name} already")
    free_name(ctx, Pool, pool.name, Pool.zone_id == pool.zone_id)


def _try(ctx: Context, pool: Pool) -> HostRef | None:
    """Have one host of the pool reach it, so that a wrong path is refused; the others follow in a job."""
    hosts = [rows.ref(h) for h in rows.hosts_of(ctx.session, pool) if h.state == "Up"]
    if not hosts:
        return None  # each host is told when it comes up
    try:
        used, there = disks.add_pool(uuid4(), hosts[0], rows.as_seen(pool))
    except (Failed, Unavailable) as error:
        raise Failed(f"url={shown(pool.url)} cannot be used: host {hosts[0].name} says: {error}") from None
    pool.used, pool.capacity = used, pool.capacity or there
    return hosts[0]
