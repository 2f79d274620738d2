"""Changing the scope of primary storage, and whom that would hit."""

from __future__ import annotations

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.view import View
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.storage import scope as scopes

affected_view = View(
    "virtualmachine",
    Vm,
    response="VirtualMachineResponse",
    keyword=(Vm.name,),
    joins=((Host, Host.id == Vm.host_id), (Cluster, Cluster.id == Host.cluster_id)),
    id=Vm.uuid,
    name=Vm.name,
    type=Vm.kind,
    hostid=Host.uuid,
    hostname=Host.name,
    clusterid=Cluster.uuid,
    clustername=Cluster.name,
)


@command("changeStoragePoolScope", roles=ROOT, event="CHANGE.STORAGE.POOL.SCOPE")
def change(ctx: Context, id: Operate[Pool], scope: str, clusterid: Use[Cluster] | None = None) -> Accepted:
    """Make primary storage of a cluster the whole zone's, or the other way round. It has to be disabled.

    id: the pool
    scope: ZONE or CLUSTER
    clusterid: the cluster, for scope CLUSTER
    """
    wanted = one_of("scope", scope, ("ZONE", "CLUSTER")) or ""
    if id.scope == "HOST":
        raise InvalidValue(f"pool {id.name} is local storage of a host: that cannot be changed")
    if wanted == id.scope:
        raise InvalidValue(f"pool {id.name} has the scope {wanted} already")
    if wanted == "CLUSTER":
        if clusterid is None:
            raise InvalidValue("clusterid is missing: say which cluster keeps the storage")
        if clusterid.zone_id != id.zone_id or id.hypervisor not in (None, "", "Any", clusterid.hypervisor):
            raise InvalidValue(f"cluster {clusterid.name} is not in the pool's zone, or of another hypervisor")
    ctx.describe(f"changing the scope of primary storage {id.name} to {wanted}")
    return ctx.start(scopes.change, id, wanted, clusterid and clusterid.id)


@command("listAffectedVmsForStorageScopeChange", roles=ROOT, answers=affected_view)
def list_affected(ctx: Context, storageid: Use[Pool], clusterid: Use[Cluster]) -> Rows:
    """List machines that run outside of a cluster with disks on primary storage that is to become the cluster's.

    storageid: the pool
    clusterid: the cluster
    """
    return Rows(affected_view, narrow=False).where(scopes.affected(storageid.id, clusterid.id))
