"""A pool that changes from one cluster's to the whole zone's, or back."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from mgmt_server.errors import Failed, InUse
from mgmt_server.jobs import Job
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Cluster
from mgmt_server.resources.ha.guests import LIVELY
from mgmt_server.resources.storage import flows, rows


def affected(pool: int, cluster: int) -> ColumnElement[bool]:
    """Machines that run outside of a cluster with a disk on the pool: they would lose it."""
    here = select(Volume.vm_id).where(Volume.pool_id == pool, Volume.removed.is_(None), Volume.vm_id.is_not(None))
    outside = select(Host.id).where(Host.cluster_id != cluster)
    found: ColumnElement[bool] = Vm.id.in_(here) & Vm.host_id.in_(outside) & Vm.state.in_(LIVELY)
    return found


def change(job: Job, pool_id: int, scope: str, cluster_id: int | None) -> None:
    plan = job.write(changed, pool_id, scope, cluster_id)
    for host in plan.hosts:
        job.call(flows.leave, host, plan.pool)
    flows.connect(job, pool_id)


def changed(tx: Session, pool_id: int, scope: str, cluster_id: int | None) -> flows.Plan:
    """The hosts that reach it no longer."""
    pool = tx.get_one(Pool, pool_id, with_for_update=True)
    if pool.state != "Disabled":
        raise Failed(f"pool {pool.name} is {pool.state}: disable it first, updateStoragePool enabled=false")
    before = {h.id: h for h in rows.hosts_of(tx, pool)}
    if scope == "CLUSTER" and cluster_id is not None:
        names = list(tx.scalars(select(Vm.name).where(affected(pool_id, cluster_id)).limit(3)))
        if names:
            raise InUse(
                f"machines outside of the cluster run with disks on pool {pool.name} ({', '.join(names)}): move or "
                "stop them first; listAffectedVmsForStorageScopeChange names all"
            )
        cluster = tx.get_one(Cluster, cluster_id)
        pool.cluster_id, pool.pod_id = cluster.id, cluster.pod_id
    else:
        pool.cluster_id = pool.pod_id = None
    pool.scope = scope
    tx.flush()
    now = {h.id for h in rows.hosts_of(tx, pool)}
    gone = [h for number, h in before.items() if number not in now]
    for host in gone:
        rows.reaches_not(tx, pool=pool_id, host=host.id)
    up = [h for h in gone if h.state == "Up"]
    return flows.Plan(rows.as_seen(pool), [rows.ref(h) for h in up], [h.id for h in up])
