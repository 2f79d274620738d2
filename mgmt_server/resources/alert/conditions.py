"""What is wrong now and lasts: found by one look at the database, told once while it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.jobs.rows import Node
from mgmt_server.model.event import Alert
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster, Pod, PodAddress, Zone
from mgmt_server.resources.alert.telling import STRAY, Condition
from mgmt_server.resources.capacity import sums

Found = Iterator[tuple[str, Condition]]
NODE_GONE = timedelta(seconds=60)  # without a heartbeat


def _threshold(name: str, what: str) -> Setting:
    return Setting(name, f"Share of {what} in use from which an alert is raised", least=0, most=1)


MEMORY = _threshold("cluster.memory.allocated.capacity.notificationthreshold", "a cluster's memory")
CPU = _threshold("cluster.cpu.allocated.capacity.notificationthreshold", "a cluster's CPU")
POOL_USED = _threshold("cluster.storage.capacity.notificationthreshold", "a primary storage pool")
POOL_PROMISED = _threshold("cluster.storage.allocated.capacity.notificationthreshold", "a pool, as promised to disks,")
LOCAL = _threshold("cluster.localStorage.capacity.notificationthreshold", "a host's local storage")
MANAGEMENT = _threshold("pod.privateip.capacity.notificationthreshold", "a pod's management addresses")
PUBLIC = _threshold("zone.virtualnetwork.publicip.capacity.notificationthreshold", "a zone's public addresses")
SHARED = _threshold(
    "zone.directnetwork.publicip.capacity.notificationthreshold", "a zone's addresses of shared networks"
)
SECONDARY = _threshold("zone.secstorage.capacity.notificationthreshold", "a zone's secondary storage")
VLANS = _threshold("zone.vlan.capacity.notificationthreshold", "a zone's VLANs")
OF_ZONES = (
    (4, PUBLIC, "ALERT.NETWORK.PUBLICIP", "public addresses"),
    (8, SHARED, "ALERT.NETWORK.DIRECTPUBLICIP", "addresses of shared networks"),
    (6, SECONDARY, "ALERT.STORAGE.SECONDARY", "secondary storage"),
    (7, VLANS, "ALERT.NETWORK.VLAN", "VLANs"),
)


def capacity(session: Session) -> Found:
    yield from _clusters(session)
    yield from _pools(session)
    yield from _pods(session)
    yield from _zones(session)


def _full(used: float, there: float, limit: float) -> bool:
    return there > 0 and used / there >= limit > 0


def _told(what: str, used: float, there: float) -> str:
    return f"{what} {100 * used / there:.0f}% in use ({int(used)} of {int(there)})"


def _clusters(session: Session) -> Found:
    columns = (Host.memory_used, Host.memory_capacity, Host.cpu_used, Host.cpu_capacity)
    rows = (
        select(Cluster, *(func.sum(c) for c in columns))
        .join(Host, Host.cluster_id == Cluster.id)
        .where(Host.removed.is_(None), Host.state == "Up", Host.type == "Routing", Cluster.removed.is_(None))
        .group_by(Cluster.id)
    )
    for cluster, memory, all_memory, cpu, all_cpu in session.execute(rows):
        where: dict[str, Any] = {"zone_id": cluster.zone_id, "pod_id": cluster.pod_id, "cluster_id": cluster.id}
        own = Scope("Cluster", cluster.id)
        if _full(memory, all_memory, MEMORY.fraction(own)):
            text = _told(f"Memory of cluster {cluster.name} is", memory, all_memory)
            yield f"capacity:memory:{cluster.id}", Condition("ALERT.MEMORY", text, **where)
        if _full(cpu, all_cpu, CPU.fraction(own)):
            text = _told(f"CPU of cluster {cluster.name} is", cpu, all_cpu)
            yield f"capacity:cpu:{cluster.id}", Condition("ALERT.CPU", text, **where)


def _pools(session: Session) -> Found:
    for pool in session.scalars(select(Pool).where(Pool.removed.is_(None), Pool.state == "Up")):
        where: dict[str, Any] = {"zone_id": pool.zone_id, "pod_id": pool.pod_id, "cluster_id": pool.cluster_id}
        own = [Scope("Cluster", pool.cluster_id)] if pool.cluster_id is not None else []
        promised = pool.capacity * pool.overprovision
        if pool.is_local:
            if _full(pool.allocated, promised, LOCAL.fraction()):
                text = _told(f"Local storage {pool.name} is", pool.allocated, promised)
                yield f"capacity:local:{pool.id}", Condition("ALERT.STORAGE.LOCAL", text, **where)
            continue
        if _full(pool.used, pool.capacity, POOL_USED.fraction(*own)):
            text = _told(f"Primary storage {pool.name} is", pool.used, pool.capacity)
            yield f"capacity:pool:{pool.id}", Condition("ALERT.STORAGE", text, **where)
        if _full(pool.allocated, promised, POOL_PROMISED.fraction(*own)):
            text = _told(f"Primary storage {pool.name} is, as promised to disks,", pool.allocated, promised)
            yield f"capacity:promised:{pool.id}", Condition("ALERT.STORAGE.ALLOCATED", text, **where)


def _pods(session: Session) -> Found:
    taken = func.sum(case((PodAddress.vm_id.is_(None), 0), else_=1))
    rows = (
        select(Pod, taken, func.count())
        .join(PodAddress, PodAddress.pod_id == Pod.id)
        .where(Pod.removed.is_(None))
        .group_by(Pod.id)
    )
    for pod, used, there in session.execute(rows):
        if _full(used, there, MANAGEMENT.fraction()):
            text = _told(f"Management addresses of pod {pod.name} are", used, there)
            where = {"zone_id": pod.zone_id, "pod_id": pod.id}
            yield f"capacity:private:{pod.id}", Condition("ALERT.NETWORK.PRIVATEIP", text, **where)


def _zones(session: Session) -> Found:
    for zone in session.scalars(select(Zone).where(Zone.removed.is_(None))):
        figures = {e["type"]: e for e in sums.of(session, sums.Place(zone.id))}
        for kind, setting, name, what in OF_ZONES:
            used, there = (figures.get(kind, {}).get(k, 0) for k in ("capacityused", "capacitytotal"))
            if _full(used, there, setting.fraction()):
                text = _told(f"{what.capitalize()} of zone {zone.name} are", used, there)
                yield f"capacity:{kind}:{zone.id}", Condition(name, text, zone_id=zone.id)


def hosts(session: Session) -> Found:
    down = select(Host).where(Host.removed.is_(None), Host.state.in_(("Alert", "Down")))
    for host in session.scalars(down):
        where = {"zone_id": host.zone_id, "pod_id": host.pod_id, "cluster_id": host.cluster_id}
        yield f"host:{host.id}", Condition("ALERT.COMPUTE.HOST", f"Host {host.name} is {host.state.lower()}", **where)


def nodes(session: Session) -> Found:
    silent = select(Node).where(Node.removed.is_(None), Node.heartbeat < now() - NODE_GONE)
    for node in session.scalars(silent):
        text = f"Management server {node.name} has not been heard of since {node.heartbeat:%Y-%m-%d %H:%M:%S} UTC"
        yield f"node:{node.id}", Condition("ALERT.MANAGEMENT", text)


def strays(session: Session) -> Found:
    """Those told before that should still be stopped."""
    told = {int(str(key).partition(":")[2]): str(key) for key in session.scalars(_keys(STRAY))}
    still = select(Vm.id).where(Vm.id.in_(told), Vm.state == "Stopped", Vm.removed.is_(None))
    for number in session.scalars(still):
        yield told[number], Condition("ALERT.USERVM", "")


def _keys(family: str) -> Any:
    return select(Alert.lasting).where(Alert.lasting.startswith(f"{family}:", autoescape=True))


def routers(session: Session) -> Found:
    """Routers that do not run though their network is in use."""
    failed = (
        select(Vm, Network.name)
        .join(Network, Network.id == Vm.network_id)
        .where(Vm.kind == "DomainRouter", Vm.removed.is_(None), Vm.state.in_(("Error", "Unknown")))
        .where(Network.removed.is_(None), Network.state == "Implemented")
    )
    for vm, network in session.execute(failed):
        text = f"Router {vm.name} of network {network} is in state {vm.state}"
        where = {"zone_id": vm.zone_id, "pod_id": vm.pod_id}
        yield f"router:{vm.id}", Condition("ALERT.SERVICE.DOMAINROUTER", text, **where)
