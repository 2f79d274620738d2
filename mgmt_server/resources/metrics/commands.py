"""The lists with figures: each takes what its plain list takes, lists the same rows, and tells more of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from sqlalchemy import func, select

from mgmt_server.api.command import command, registry
from mgmt_server.api.context import Context
from mgmt_server.api.facts import of_command
from mgmt_server.api.listing import Rows
from mgmt_server.api.view import View
from mgmt_server.jobs.rows import Node
from mgmt_server.model.event import Alert
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.cluster.commands import list_clusters
from mgmt_server.resources.host.commands import list_hosts
from mgmt_server.resources.metrics import views
from mgmt_server.resources.storage.commands import list_pools
from mgmt_server.resources.vm.listing import list_machines
from mgmt_server.resources.volume.commands import list_volumes
from mgmt_server.resources.zone.commands import list_zones

COMPUTED = Setting(
    "allow.list.metrics.computation",
    "Whether listZonesMetrics and listClustersMetrics sum up the figures of what is in them, which takes long in large "
    "installations",
)


def _metrics(
    name: str, plain: Callable[..., Rows], view: View, roles: tuple[str, ...], with_capacity: View | None = None
) -> None:
    """Declare list `name`: parameters, filters and scope are those of the plain list."""
    sums = plain in (list_zones, list_clusters)  # over all that is in each of them

    @wraps(plain)
    def listed(ctx: Context, **sent: Any) -> Rows:
        found = plain(ctx, **sent)
        if sums and not COMPUTED.flag():
            return found
        return replace(found, view=with_capacity if with_capacity and sent.get("showcapacities") else view)

    listed.__doc__ = (plain.__doc__ or "").replace(".\n", ", with figures.\n", 1)
    known = (of_command(name) or {"params": {}})["params"]
    unsupported = tuple(p for p in registry[name.removesuffix("Metrics")].unsupported if p in known)
    command(name, roles=roles, answers=with_capacity or view, unsupported=unsupported)(listed)


_metrics("listZonesMetrics", list_zones, views.zone_metrics, ROOT, views.zone_metrics_with_capacity)
_metrics("listClustersMetrics", list_clusters, views.cluster_metrics, ROOT, views.cluster_metrics_with_capacity)
_metrics("listHostsMetrics", list_hosts, views.host_metrics, ROOT)
_metrics("listStoragePoolsMetrics", list_pools, views.pool_metrics, ROOT)
_metrics("listVirtualMachinesMetrics", list_machines, views.vm_metrics, EVERYONE)
_metrics("listVolumesMetrics", list_volumes, views.volume_metrics, EVERYONE)


@command("listInfrastructure", roles=ROOT, reads=True)
def list_infrastructure(ctx: Context) -> dict[str, Any]:
    """Count what the cloud is made of."""

    def count(table: Any, *conditions: Any) -> int:
        rows = select(func.count()).select_from(table).where(table.removed.is_(None), *conditions)
        return ctx.session.scalar(rows) or 0

    hosts = Host.type == "Routing"
    sockets = select(func.coalesce(func.sum(Host.sockets), 0)).where(hosts, Host.removed.is_(None))
    return {
        "zones": count(Zone),
        "pods": count(Pod),
        "clusters": count(Cluster),
        "hosts": count(Host, hosts),
        "storagepools": count(Pool),
        "imagestores": count(ImageStore),
        "backuprepositories": 0,
        "objectstores": 0,
        "systemvms": count(Vm, Vm.kind.in_(("ConsoleProxy", "SecondaryStorageVm"))),
        "routers": count(Vm, Vm.kind == "DomainRouter"),
        "ilbvms": 0,
        "cpusockets": int(ctx.session.scalar(sockets) or 0),
        "managementservers": count(Node),
        "alerts": count(Alert, ~Alert.archived),
    }
