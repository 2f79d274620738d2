"""Hosts: where machines run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import tags
from mgmt_server.allocation.hosts import kept_for_failures
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, page_of_objects
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.db import write
from mgmt_server.errors import ApiError, Failed, InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.jobs.rows import Node
from mgmt_server.model.host import RESOURCE_STATES, Host
from mgmt_server.model.template import OsCategory
from mgmt_server.model.tenancy import ADMIN, ADMINS, RESOURCE_ADMIN, ROOT
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.cluster import rows as clusters
from mgmt_server.resources.host import degraded, flows, joining, maintenance, removal, rows
from mgmt_server.resources.host.views import host_view
from mgmt_server.resources.outofband.rows import controlled, powered
from mgmt_server.resources.vm.suitable import hosts_for

OPERATORS = (ADMIN, RESOURCE_ADMIN)
SWITCHES = {"enable": "Enabled", "enabled": "Enabled", "disable": "Disabled", "disabled": "Disabled"}


@command(
    "addHost",
    roles=OPERATORS,
    outside=True,
    answers=host_view,
    one_in_list=True,
    unsupported=("externaldetails", "storageaccessgroups"),
)
def add(
    ctx: Context,
    zoneid: Use[Zone],
    podid: Use[Pod],
    url: str,
    hypervisor: str,
    clusterid: Use[Cluster] | None = None,
    clustername: str | None = None,
    username: str | None = None,
    password: str | None = None,
    hosttags: list[str] | None = None,
    allocationstate: str | None = None,
) -> Host:
    """Add a host to a cluster. A KVM host's agent must be connected; a simulated one is made.

    zoneid: the zone
    podid: the pod
    url: http://NAME or http://ADDRESS of a KVM host; http://sim/CLUSTER/HOST of a simulated one
    hypervisor: KVM or Simulator
    clusterid: the cluster
    clustername: the cluster by its name instead, made when it is not there
    username: accepted; the server never logs in to a host
    password: accepted; the server never logs in to a host
    hosttags: tags by which service offerings choose the host
    allocationstate: Enabled or Disabled
    """
    kind = next((h for h in clusters.HYPERVISORS if h.lower() == hypervisor.lower()), None)
    if kind is None:
        raise ApiError(f"hypervisor={hypervisor[:50]} of {url[:100]} is not supported: use KVM or Simulator")
    if podid.zone_id != zoneid.id:
        raise InvalidValue(f"pod {podid.name} is not in zone {zoneid.name}")
    tags, state = ",".join(hosttags) if hosttags else None, _switch(allocationstate) or "Enabled"
    found = None if kind == "Simulator" else joining.agent_of(url)  # asks the host: outside of any transaction
    wish = _Wish(
        podid.id, clusterid.id if clusterid else None, clustername or f"Standalone-{url}", kind, url, tags, state
    )
    return write(_join, wish, found)


@dataclass(frozen=True)
class _Wish:
    pod: int
    cluster: int | None
    name: str  # of the cluster, where none is given
    hypervisor: str
    url: str
    tags: str | None
    state: str


def _join(tx: Session, wish: _Wish, found: joining.Found | None) -> Host:
    pod = tx.get_one(Pod, wish.pod, with_for_update=True)
    cluster = _cluster(tx, pod, wish)
    if found is None:
        return rows.simulated(tx, cluster, pod, wish.url, wish.tags, wish.state)
    joining.check(tx, found, cluster)
    host = rows.joined(tx, found, cluster, wish.url, wish.tags, wish.state)
    rows.start_connecting(tx, host)
    return host


@command("updateHost", roles=ROOT, answers=host_view, unsupported=("externaldetails", "cleanupexternaldetails"))
def update(
    ctx: Context,
    id: Operate[Host],
    name: str | None = None,
    allocationstate: str | None = None,
    hosttags: list[str] | None = None,
    istagarule: bool = False,
    oscategoryid: Use[OsCategory] | None = None,
    url: str | None = None,
    annotation: str | None = None,
) -> Host:
    """Change a host. What is not sent stays.

    id: the host
    name: its new name
    allocationstate: Enable, or Disable to place no more machines on it
    hosttags: tags by which service offerings choose the host
    istagarule: whether hosttags is a rule: a comparison over tags, those that an offering asks for
    oscategoryid: the category of guest operating systems that it prefers
    url: the URL by which it was added
    annotation: a note for operators
    """
    if istagarule and not ctx.sent.get("hosttags"):
        raise InvalidValue("istagarule=true needs hosttags: the rule")
    wanted = _switch(allocationstate)
    if wanted and wanted != id.resource_state:
        if id.resource_state not in ("Enabled", "Disabled"):
            raise Failed(f"host {id.name} is in {id.resource_state}: call cancelHostMaintenance first")
        RESOURCE_STATES.move(ctx.session, id.id, (id.resource_state,), wanted)
    if "hosttags" in ctx.sent:
        tags.put(id, ctx.sent["hosttags"] if istagarule else ",".join(hosttags or ()), rule=istagarule)
    id.name, id.url = name or id.name, url or id.url
    id.annotation = annotation if annotation is not None else id.annotation
    id.os_category_id = oscategoryid.id if oscategoryid else id.os_category_id
    ctx.session.flush()
    ctx.describe(f"changing host {id.name}")
    return id


@command("deleteHost", roles=OPERATORS, outside=True)
def delete(ctx: Context, id: Operate[Host], forced: bool = False, forcedestroylocalstorage: bool = False) -> None:
    """Take a host out of the cloud. Its agent stays connected, and it may be added again.

    id: the host, in maintenance
    forced: also when it is not in maintenance; its machines are stopped, and start elsewhere where they should
    forcedestroylocalstorage: also when disks are on its local storage; they are lost, with the machines that need them
    """
    removal.remove(id, forced, forcedestroylocalstorage)
    ctx.describe(f"deleting host {id.name}")


@command("listHosts", roles=OPERATORS, answers=host_view, unsupported=("storageaccessgroup",))
def list_hosts(
    ctx: Context,
    id: Use[Host] | None = None,
    name: str | None = None,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
    clusterid: Use[Cluster] | None = None,
    hypervisor: str | None = None,
    type: str | None = None,
    state: str | None = None,
    resourcestate: str | None = None,
    arch: str | None = None,
    version: str | None = None,
    hahost: bool | None = None,
    details: list[str] | None = None,
    managementserverid: Use[Node] | None = None,
    outofbandmanagementenabled: bool | None = None,
    outofbandmanagementpowerstate: str | None = None,
    virtualmachineid: Use[Vm] | None = None,
) -> Rows:
    """List hosts.

    id: this one alone
    name: those of this name
    zoneid: those of this zone
    podid: those of this pod
    clusterid: those of this cluster
    hypervisor: those of this hypervisor
    type: Routing for hypervisor hosts
    state: Up, Connecting, Disconnected, Down, Alert
    resourcestate: Enabled, Disabled, PrepareForMaintenance, Maintenance
    arch: those of this architecture
    version: those whose agent has this version
    hahost: true for hosts that are kept for machines whose host has failed (setting ha.tag), false for the others
    details: accepted; all fields are answered
    managementserverid: those connected to this management server
    outofbandmanagementenabled: those whose management controller is enabled, or is not
    outofbandmanagementpowerstate: those whose controller told On, Off or Unknown last, or is Disabled
    virtualmachineid: those to which this machine could move as it is, or on which it could start while it is stopped
    """
    found = Rows(host_view).where(
        id=id and id.id, name=name, zone_id=zoneid, pod_id=podid, cluster_id=clusterid, hypervisor=hypervisor,
        type=type, state=state, resource_state=resourcestate, version=version,
    )  # fmt: skip
    return found.where(
        Cluster.arch == arch if arch else None,
        None if hahost is None else kept_for_failures() if hahost else ~kept_for_failures(),
        Node.id == managementserverid.id if managementserverid else None,
        None if outofbandmanagementenabled is None else controlled(outofbandmanagementenabled),
        Host.id.in_(hosts_for(ctx.session, virtualmachineid)) if virtualmachineid is not None else None,
        powered(outofbandmanagementpowerstate) if outofbandmanagementpowerstate else None,
    )


@command("reconnectHost", roles=ROOT, answers=host_view, event="HOST.RECONNECT")
def reconnect(ctx: Context, id: Operate[Host]) -> Accepted:
    """Look at a host anew: whether its agent is there, and its pools.

    id: the host
    """
    ctx.describe(f"reconnecting host {id.name}")
    return ctx.start(flows.again, id)


@command("prepareHostForMaintenance", roles=ROOT, answers=host_view, event="MAINT.PREPARE")
def prepare(ctx: Context, id: Operate[Host]) -> Accepted:
    """Put a host into maintenance: its machines move to other hosts while they run.

    id: the host
    """
    ctx.describe(f"putting host {id.name} into maintenance")
    return ctx.start(maintenance.into_maintenance, id)


@command("cancelHostMaintenance", roles=ROOT, answers=host_view, event="MAINT.CANCEL")
def cancel(ctx: Context, id: Operate[Host]) -> Accepted:
    """Take a host out of maintenance, also while its machines are still leaving.

    id: the host
    """
    ctx.describe(f"taking host {id.name} out of maintenance")
    return ctx.start(maintenance.out_of_maintenance, id, lock=f"host-open:{id.id}")


@command("declareHostAsDegraded", roles=ROOT, answers=host_view, event="HOST.DECLARE.DEGRADED")
def degrade(ctx: Context, id: Operate[Host]) -> Accepted:
    """Declare that a lost host is dead: its machines are taken as stopped, and start elsewhere where they should.

    id: the host; be sure that nothing runs on it any more
    """
    ctx.describe(f"declaring host {id.name} as degraded")
    return ctx.start(degraded.degrade, id)


@command("cancelHostAsDegraded", roles=ROOT, answers=host_view, event="HOST.CANCEL.DEGRADED")
def restore(ctx: Context, id: Operate[Host]) -> Accepted:
    """Take a host back into use that was declared degraded.

    id: the host
    """
    ctx.describe(f"taking host {id.name} back into use")
    return ctx.start(degraded.restore, id)


@command("releaseHostReservation", roles=ROOT, event="HOST.RESERVATION.RELEASE")
def release(ctx: Context, id: Operate[Host]) -> Accepted:
    """Count anew what a host has promised: what is held for machines that are no longer there is free.

    id: the host
    """
    ctx.describe(f"releasing what host {id.name} holds for machines that are not there")
    return ctx.start(degraded.release, id)


@command("listHostTags", roles=ADMINS, key="", reads=True)
def list_tags(ctx: Context) -> dict[str, Any]:
    """List the tags of hosts."""
    tagged = select(Host.id, Host.tags).where(
        Host.tags.is_not(None), Host.removed.is_(None), Host.usable_by(ctx.caller)
    )
    found = ctx.session.execute(tagged.order_by(Host.id))
    tags = [(host, tag.strip()) for host, names in found for tag in (names or "").split(",")]
    told = [
        {"id": str(n), "hostid": host, "name": tag, "isimplicit": False} for n, (host, tag) in enumerate(tags, 1) if tag
    ]
    return page_of_objects(ctx, "hosttag", told)


def _cluster(tx: Session, pod: Pod, wish: _Wish) -> Cluster:
    if wish.cluster is not None:
        cluster = tx.get_one(Cluster, wish.cluster)
    else:
        named = select(Cluster).where(Cluster.pod_id == pod.id, Cluster.name == wish.name, Cluster.removed.is_(None))
        cluster = tx.scalar(named) or clusters.make(tx, pod, wish.name, wish.hypervisor)
    if cluster.pod_id != pod.id:
        raise InvalidValue(f"cluster {cluster.name} is not in pod {pod.name}")
    if cluster.hypervisor != wish.hypervisor:
        raise InvalidValue(f"cluster {cluster.name} is for {cluster.hypervisor}, not for {wish.hypervisor}")
    return cluster


def _switch(allocationstate: str | None) -> str | None:
    if allocationstate is None:
        return None
    wanted = SWITCHES.get(allocationstate.lower())
    if wanted is None:
        raise ApiError(f"allocationstate={allocationstate[:50]} is neither Enable nor Disable")
    return wanted
