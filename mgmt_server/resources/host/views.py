"""Hosts as operators see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from mgmt_server.allocation.hosts import HA_TAG, tagged
from mgmt_server.api.view import View, always, shown
from mgmt_server.jobs.rows import Node
from mgmt_server.model.agent import Agent
from mgmt_server.model.ha import HostHa, OutOfBand
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import OsCategory
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.annotation.marks import is_annotated

EVENTS = (
    "AgentConnected; AgentDisconnected; HostDown; ManagementServerDown; Ping; PingTimeout; Remove; ShutdownRequested"
)


def _percent(used: int, there: int) -> str:
    return f"{100 * used / there if there else 0:.2f}%"


def _statistic(name: str, shape: Any) -> Any:
    def read(statistics: dict[str, Any]) -> Any:
        value = (statistics or {}).get(name)
        return None if value is None else shape(value)

    return shown(read, Host.statistics)


_local = (
    select(Pool.id)
    .where(Pool.host_id == Host.id, Pool.scope == "HOST", Pool.removed.is_(None))
    .correlate(Host)
    .limit(1)
    .scalar_subquery()
)

# A simulated host is on whichever server beat last
_any_node = select(Node.name).order_by(Node.heartbeat.desc()).limit(1).correlate(None).scalar_subquery()


def _ha(enabled: bool | None, state: str | None, provider: str | None) -> dict[str, Any]:
    told = {"haenable": bool(enabled), "hastate": state or "Disabled"}
    return told | ({"haprovider": provider} if provider else {})


def _controller(
    enabled: bool | None, power: str | None, driver: str | None, address: str | None, port: int | None, user: str | None
) -> dict[str, Any]:
    told = {"powerstate": power or "Unknown" if enabled else "Disabled", "enabled": bool(enabled)}
    if driver is None:
        return told
    return told | {"driver": driver, "address": address, "port": str(port), "username": user}


host_view = View(
    "host",
    Host,
    response="HostResponse",
    keyword=(Host.name,),
    joins=(
        (Zone, Zone.id == Host.zone_id),
        (Pod, Pod.id == Host.pod_id),
        (Cluster, Cluster.id == Host.cluster_id),
        (Agent, Agent.uuid == Host.agent),
        (Node, Node.name == func.coalesce(Agent.node, _any_node)),
        (OsCategory, OsCategory.id == Host.os_category_id),
        (HostHa, HostHa.host_id == Host.id),
        (OutOfBand, OutOfBand.host_id == Host.id),
    ),
    id=Host.uuid,
    name=Host.name,
    state=Host.state,
    type=Host.type,
    ipaddress=Host.address,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    podid=Pod.uuid,
    podname=Pod.name,
    clusterid=Cluster.uuid,
    clustername=Cluster.name,
    clustertype=Cluster.cluster_type,
    arch=Cluster.arch,
    version=Host.version,
    hypervisor=Host.hypervisor,
    hypervisorversion=Host.hypervisor_version,
    cpunumber=Host.cpus,
    cpusockets=Host.sockets,
    cpuspeed=Host.speed,
    cpuallocated=shown(_percent, Host.cpu_used, Host.cpu_capacity),
    cpuallocatedvalue=Host.cpu_used,
    cpuallocatedpercentage=shown(_percent, Host.cpu_used, Host.cpu_capacity),
    cpuallocatedwithoverprovisioning=shown(_percent, Host.cpu_used, Host.cpu_capacity),
    cpuwithoverprovisioning=Host.cpu_capacity,
    cpuused=_statistic("cpu_used", lambda value: f"{value:g}%"),
    cpuloadaverage=_statistic("load", float),
    networkkbsread=_statistic("network_read", int),
    networkkbswrite=_statistic("network_written", int),
    memorytotal=Host.memory,
    memorywithoverprovisioning=Host.memory_capacity,
    memoryallocated=Host.memory_used,
    memoryallocatedbytes=Host.memory_used,
    memoryallocatedpercentage=shown(_percent, Host.memory_used, Host.memory_capacity),
    memoryused=_statistic("memory_used", int),
    capabilities=Host.capabilities,
    lastpinged=Host.last_pinged,
    disconnected=Host.disconnected,
    removed=Host.removed,
    managementserverid=Node.uuid,
    managementservername=Node.name,
    islocalstorageactive=shown(lambda pool: pool is not None, _local),
    created=Host.created,
    events=always(EVENTS),
    hosttags=func.coalesce(Host.tag_rule, Host.tags),
    explicithosttags=func.coalesce(Host.tag_rule, Host.tags),
    istagarule=shown(lambda tags, rule: bool(rule) if tags or rule else None, Host.tags, Host.tag_rule),
    oscategoryid=OsCategory.uuid,
    oscategoryname=OsCategory.name,
    annotation=Host.annotation,
    details=shown(lambda details: {k: str(v) for k, v in (details or {}).items()} or None, Host.details),
    hostha=shown(_ha, HostHa.enabled, HostHa.state, HostHa.provider),
    outofbandmanagement=shown(
        _controller,
        OutOfBand.enabled,
        OutOfBand.power,
        OutOfBand.driver,
        OutOfBand.address,
        OutOfBand.port,
        OutOfBand.username,
    ),
    resourcestate=Host.resource_state,
    hahost=shown(lambda tags: bool(HA_TAG.text()) and tagged(tags, [HA_TAG.text()]), Host.tags),
    ueficapability=shown(lambda told: "uefi" in (told or "").split(","), Host.capabilities),
    hasannotations=shown(lambda note, more: bool(note or more), Host.annotation, is_annotated("HOST", Host.uuid)),
)
