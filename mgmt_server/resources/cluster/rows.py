"""How much more than they have hosts of a cluster may promise."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.zone import Cluster, Pod

CPU_FACTOR = Setting(
    "cpu.overprovisioning.factor", "How many times a host's MHz are promised to machines", least=0.1, most=100
)
MEMORY_FACTOR = Setting(
    "mem.overprovisioning.factor", "How many times a host's memory is promised to machines", least=0.1, most=100
)
HYPERVISORS = ("KVM", "Simulator")
RESERVED = 1 << 30  # bytes that a KVM host keeps for itself, at most an eighth of what it has


def factors(cluster: int | None) -> tuple[float, float]:
    """(CPU, memory), as the settings say."""
    scopes = (Scope("Cluster", cluster),) if cluster is not None else ()
    return CPU_FACTOR.fraction(*scopes) or 1.0, MEMORY_FACTOR.fraction(*scopes) or 1.0


def make(tx: Session, pod: Pod, name: str, hypervisor: str, arch: str = "x86_64", state: str = "Enabled") -> Cluster:
    cpu, memory = factors(None)
    cluster = Cluster(
        name=name,
        zone_id=pod.zone_id,
        pod_id=pod.id,
        hypervisor=hypervisor,
        arch=arch,
        allocation_state=state,
        cpu_overcommit=cpu,
        memory_overcommit=memory,
        details={},
    )
    tx.add(cluster)
    tx.flush()
    return cluster


def set_capacity(host: Host, cluster: Cluster) -> None:
    """What placements on the host are checked against."""
    kept = min(RESERVED, host.memory // 8) if host.hypervisor == "KVM" else 0
    host.cpu_capacity = int(host.cpus * host.speed * cluster.cpu_overcommit)
    host.memory_capacity = int((host.memory - kept) * cluster.memory_overcommit)


def follow_settings(tx: Session) -> int:
    """Apply factors that were changed since: in how many clusters."""
    count = 0
    for cluster in tx.scalars(select(Cluster).where(Cluster.removed.is_(None))):
        cpu, memory = factors(cluster.id)
        if (cpu, memory) == (cluster.cpu_overcommit, cluster.memory_overcommit):
            continue
        cluster.cpu_overcommit, cluster.memory_overcommit = cpu, memory
        for host in tx.scalars(select(Host).where(Host.cluster_id == cluster.id, Host.removed.is_(None))):
            set_capacity(host, cluster)
        count += 1
    return count
