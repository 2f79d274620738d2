"""How full clusters and pools may get before nothing new goes there: settings, and the same as SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal, select
from sqlalchemy.orm import aliased

from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting

Each = aliased(Host)  # the query around it asks for hosts too


def _share(name: str, text: str) -> Setting:
    return Setting(name, f"Share of {text}", least=0, most=1)


ENABLED = Setting("cluster.threshold.enabled", "Whether the thresholds of clusters keep machines from starting there")
CPU_FULL = _share(
    "cluster.cpu.allocated.capacity.disablethreshold",
    "a cluster's CPU, promised to machines, beyond which users' machines start elsewhere; 1: no threshold",
)
MEMORY_FULL = _share(
    "cluster.memory.allocated.capacity.disablethreshold",
    "a cluster's memory, promised to machines, beyond which users' machines start elsewhere; 1: no threshold",
)
POOL_FULL = _share(
    "pool.storage.capacity.disablethreshold",
    "a pool's space in use beyond which it takes no new disks",
)
PROMISED_FULL = _share(
    "pool.storage.allocated.capacity.disablethreshold",
    "a pool's space, as promised to disks, beyond which it takes no new ones",
)
PROMISED_RESIZE = _share(
    "pool.storage.allocated.resize.capacity.disablethreshold",
    "a pool's space, as promised to disks, beyond which its disks do not grow where they may beyond the other one",
)
BEYOND = Setting(
    "volume.resize.allowed.beyond.allocation",
    f"Whether disks grow up to {PROMISED_RESIZE.name}; else new ones and those that grow share one threshold",
)


def as_sql(setting: Setting, **columns: Any) -> ColumnElement[float]:
    """A fraction as it holds for each row: as_sql(POOL_FULL, StoragePool=Pool.id, Zone=Pool.zone_id)."""
    whens = [(column == n, float(v)) for kind, column in columns.items() for n, v in sorted(setting.own(kind).items())]
    return case(*whens, else_=setting.fraction()) if whens else literal(setting.fraction())


def on_as_sql(setting: Setting, **columns: Any) -> ColumnElement[bool]:
    """A switch as it holds for each row; what is named first is nearest."""
    whens = [
        (column == n, int(v.strip().lower() == "true"))
        for kind, column in columns.items()
        for n, v in sorted(setting.own(kind).items())
    ]
    otherwise = int(setting.flag())
    return (case(*whens, else_=otherwise) if whens else literal(otherwise)) == 1


def in_use(zone_id: int) -> Select[Any]:
    """What the hosts of each cluster that take machines have, and have promised."""
    columns = (Each.cpu_capacity, Each.cpu_used, Each.memory_capacity, Each.memory_used)
    return _of_clusters(zone_id, Each.cluster_id, *(func.sum(column).label(column.key) for column in columns))


def with_reserve(zone_id: int, cpu: int, memory: int) -> Select[Any]:
    """Clusters that stay within their thresholds with so much more."""
    return _of_clusters(zone_id, Each.cluster_id).having(
        func.sum(Each.cpu_used) + cpu <= func.sum(Each.cpu_capacity) * as_sql(CPU_FULL, Cluster=Each.cluster_id),
        func.sum(Each.memory_used) + memory
        <= func.sum(Each.memory_capacity) * as_sql(MEMORY_FULL, Cluster=Each.cluster_id),
    )


def _of_clusters(zone_id: int, *columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .where(Each.zone_id == zone_id, Each.type == "Routing", Each.removed.is_(None))
        .where(Each.state == "Up", Each.resource_state == "Enabled")
        .group_by(Each.cluster_id)
    )
