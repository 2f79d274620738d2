"""The plain views of zones, clusters, hosts, pools, machines and disks, with figures."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.api.view import PerPage, always, shown
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import Caller
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.cluster.views import cluster_view, cluster_with_capacity
from mgmt_server.resources.host.views import host_view
from mgmt_server.resources.metrics.figures import (
    GIB,
    Load,
    from_kib,
    ghz,
    gigabytes,
    imbalance,
    pool_marks,
    summed,
    thresholds,
)
from mgmt_server.resources.storage.views import pool_view
from mgmt_server.resources.vm.views import measured, vm_view
from mgmt_server.resources.volume.views import volume_view
from mgmt_server.resources.zone.views import zone_view, zone_with_capacity

Fields = dict[int, dict[str, Any]]
MARKS = tuple(f"{k}{m}threshold" for k in ("cpu", "memory") for m in ("", "disable", "allocated", "allocateddisable"))
SUMS = tuple(f"{k}{n}" for k in ("cpu", "memory") for n in ("total", "allocated", "used", "maxdeviation"))


def _load(host: Any) -> Load:
    measured = host.statistics or {}
    used = measured.get("cpu_used")
    cpu = host.cpus * host.speed
    return Load(
        cpu=cpu,
        cpu_capacity=host.cpu_capacity,
        cpu_used=None if used is None else cpu * used / 100,
        cpu_allocated=host.cpu_used,
        memory=host.memory,
        memory_capacity=host.memory_capacity,
        memory_used=measured.get("memory_used"),
        memory_allocated=host.memory_used,
    )


_COLUMNS = (
    Host.id, Host.cluster_id, Host.zone_id, Host.state, Host.cpus, Host.speed, Host.memory, Host.cpu_capacity,
    Host.memory_capacity, Host.cpu_used, Host.memory_used, Host.statistics,
)  # fmt: skip


def _hosts(session: Session, column: Any, numbers: list[int]) -> dict[int, list[Any]]:
    rows = select(*_COLUMNS).where(column.in_(numbers), Host.removed.is_(None), Host.type == "Routing")
    found: dict[int, list[Any]] = {n: [] for n in numbers}
    for host in session.execute(rows):
        found[getattr(host, column.key)].append(host)
    return found


def _of_clusters(session: Session, _: Caller, numbers: list[int]) -> Fields:
    found = {}
    for number, hosts in _hosts(session, Host.cluster_id, numbers).items():
        up = [_load(h) for h in hosts if h.state == "Up"]
        told = {"hosts": f"{len(up)} / {len(hosts)}", "drsimbalance": imbalance(up)}
        found[number] = told | summed(up) | thresholds(up, number)
    return found


def _of_zones(session: Session, _: Caller, numbers: list[int]) -> Fields:
    clusters: dict[int, list[str]] = {n: [] for n in numbers}
    rows = select(Cluster.zone_id, Cluster.allocation_state)
    for zone, state in session.execute(rows.where(Cluster.zone_id.in_(numbers), Cluster.removed.is_(None))):
        clusters[zone].append(state)
    found = {}
    for number, hosts in _hosts(session, Host.zone_id, numbers).items():
        up = [_load(h) for h in hosts if h.state == "Up"]
        told = {"clusters": f"{clusters[number].count('Enabled')} / {len(clusters[number])}"}
        found[number] = told | summed(up) | thresholds(up, None)
    return found


def _of_hosts(session: Session, _: Caller, numbers: list[int]) -> Fields:
    counts = select(Vm.host_id, Vm.kind == "User", Vm.state == "Running", func.count())
    counts = counts.where(Vm.host_id.in_(numbers), Vm.removed.is_(None)).group_by(
        Vm.host_id, Vm.kind == "User", Vm.state == "Running"
    )
    machines: dict[tuple[int | None, bool], list[int]] = {}
    for host, users, running, count in session.execute(counts):
        here = machines.setdefault((host, bool(users)), [0, 0])
        here[0] += count if running else 0
        here[1] += count
    found = {}
    for number, (host,) in _hosts(session, Host.id, numbers).items():
        load, seen = _load(host), host.statistics or {}
        told: dict[str, Any] = {
            "powerstate": "Disabled",  # of out-of-band management
            "instances": "{} / {}".format(*machines.get((number, True), (0, 0))),
            "systeminstances": "{} / {}".format(*machines.get((number, False), (0, 0))),
            "cputotalghz": ghz(load.cpu, load.cpu_capacity / (load.cpu or 1)),
            "cpuallocatedghz": ghz(load.cpu_allocated),
            "memorytotalgb": gigabytes(load.memory, load.memory_capacity / (load.memory or 1)),
            "memoryallocatedgb": gigabytes(load.memory_allocated),
        }
        if load.cpu_used is not None:
            told["cpuusedghz"] = ghz(load.cpu_used)
        if load.memory_used is not None:
            told["memoryusedgb"] = gigabytes(load.memory_used)
        told |= {
            f"network{way}": from_kib(seen[key])
            for way, key in (("read", "network_read"), ("write", "network_written"))
            if key in seen
        }
        found[number] = told | thresholds([load], host.cluster_id)
    return found


def _of_pools(session: Session, _: Caller, numbers: list[int]) -> Fields:
    found = {}
    for p in session.scalars(select(Pool).where(Pool.id.in_(numbers))):
        promised = int(p.capacity * p.overprovision)
        found[p.id] = {
            "disksizeusedgb": gigabytes(p.used),
            "disksizetotalgb": gigabytes(p.capacity, p.overprovision),
            "disksizeallocatedgb": gigabytes(p.allocated),
            "disksizeunallocatedgb": gigabytes(promised - p.allocated),
        } | pool_marks(p.capacity, p.used, p.allocated, p.overprovision, p.id, p.zone_id, p.cluster_id)
    return found


def _measured(key: str) -> Any:
    """A figure of a machine's statistics, KiB, in MiB."""

    def in_mib(found: dict[str, Any] | None, state: str) -> str | None:
        told = measured(found, state)
        return from_kib(told[key], "MiB") if key in told else None

    return shown(in_mib, Vm.statistics, Vm.state)


def _operations(found: dict[str, Any] | None, state: str) -> int | None:
    told = measured(found, state)
    return told["disk_reads"] + told["disk_writes"] if {"disk_reads", "disk_writes"} <= told.keys() else None


HOST_FIELDS = (
    "powerstate", "instances", "systeminstances", "cputotalghz", "cpuusedghz", "cpuallocatedghz", "memorytotalgb",
    "memoryusedgb", "memoryallocatedgb", "networkread", "networkwrite", *MARKS,
)  # fmt: skip
POOL_FIELDS = (
    "disksizeusedgb", "disksizetotalgb", "disksizeallocatedgb", "disksizeunallocatedgb", "storageusagethreshold",
    "storageusagedisablethreshold", "storageallocatedthreshold", "storageallocateddisablethreshold",
)  # fmt: skip

_zones: dict[str, Any] = {
    "response": "ZoneMetricsResponse",
    "state": Zone.allocation_state,
    "more": (PerPage(("clusters", *SUMS, *MARKS), _of_zones),),
}
_clusters: dict[str, Any] = {
    "response": "ClusterMetricsResponse",
    "state": Cluster.allocation_state,
    "more": (PerPage(("hosts", "drsimbalance", *SUMS, *MARKS), _of_clusters),),
}
zone_metrics, zone_metrics_with_capacity = zone_view.extended(**_zones), zone_with_capacity.extended(**_zones)
cluster_metrics = cluster_view.extended(**_clusters)
cluster_metrics_with_capacity = cluster_with_capacity.extended(**_clusters)
host_metrics = host_view.extended(response="HostMetricsResponse", more=(PerPage(HOST_FIELDS, _of_hosts),))
pool_metrics = pool_view.extended(response="StoragePoolMetricsResponse", more=(PerPage(POOL_FIELDS, _of_pools),))
vm_metrics = vm_view.extended(
    response="VmMetricsResponse",
    cputotal=shown(lambda cpus, speed: f"{cpus * speed / 1000:.1f} Ghz", Vm.cpus, Vm.speed),
    memorytotal=shown(lambda memory: f"{memory / 1024:.2f} GiB", Vm.memory),
    networkread=_measured("network_read"),
    networkwrite=_measured("network_written"),
    diskread=_measured("disk_read"),
    diskwrite=_measured("disk_written"),
    diskiopstotal=shown(_operations, Vm.statistics, Vm.state),
)
volume_metrics = volume_view.extended(
    response="VolumeMetricsResponse",
    sizegb=shown(lambda size: f"{size / GIB:.2f} GiB", Volume.size),
    diskiopstotal=always(0),  # of what the plain view says
)
