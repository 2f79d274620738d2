"""Hosts' rows: making one, and what its agent's coming and going means."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from netaddr import IPAddress, IPNetwork
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation.hypervisors import limits_of
from mgmt_server.db import Conflict, changed, new_uuid, now
from mgmt_server.drivers.hypervisor import simulator
from mgmt_server.drivers.storage.simulator import POOL_SIZE
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs.queue import enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.host import STATES, Host
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.protocol.machine import HostFacts
from mgmt_server.resources.alert.telling import Condition, lasts
from mgmt_server.resources.cluster.rows import set_capacity
from mgmt_server.resources.dedication import rows as dedication
from mgmt_server.resources.host.joining import Found
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.storage.settings import FACTOR

AWAY = ("Disconnected", "Alert", "Down", "Connecting")


def our_version() -> str:
    try:
        return version("cloudwright")
    except PackageNotFoundError:
        return "0"


def simulated(tx: Session, cluster: Cluster, pod: Pod, url: str, tags: str | None, state: str) -> Host:
    """A new simulated host, each time, whatever the URL was used for before."""
    check_room(tx, cluster)
    uuid = new_uuid()
    name = f"SimulatedAgent.{uuid}"
    facts = simulator.facts_of(name, "")
    host = _row(cluster, url, facts, uuid, tags, state)
    host.guid, host.version, host.hypervisor_version, host.last_pinged = name, our_version(), our_version(), now()
    host.statistics = {"cpu_used": 0, "load": 0.0, "memory_used": 0, "network_read": 32768, "network_written": 16384}
    tx.add(host)
    tx.flush()
    host.address = simulated_address(pod, host.id)
    for pool in storage.of_host(tx, host):
        storage.reaches(tx, pool.id, host.id)
    if tx.get_one(Zone, cluster.zone_id).local_storage:
        local = storage.add_local(tx, host, facts.local_pool_path, FACTOR.fraction(), POOL_SIZE)
        storage.reaches(tx, local.id, host.id)
    set_capacity(host, cluster)
    return host


def check_room(tx: Session, cluster: Cluster) -> None:
    """Refuse a host beyond what a cluster of its hypervisor may have (updateHypervisorCapabilities)."""
    most = limits_of(cluster.hypervisor).hosts
    if most is None:
        return
    tx.scalar(select(Cluster.id).where(Cluster.id == cluster.id).with_for_update())
    there = tx.scalar(select(func.count()).where(Host.cluster_id == cluster.id, Host.removed.is_(None))) or 0
    if there >= most:
        raise InvalidValue(
            f"The cluster {cluster.name} has {there} hosts, and one of {cluster.hypervisor} has {most} at most: add it "
            "to another, or raise maxhostspercluster with updateHypervisorCapabilities"
        )


def simulated_address(pod: Pod, number: int) -> str:
    """Somewhere in the pod's network; nothing is there, so that two hosts may have the same."""
    network = IPNetwork(f"{pod.gateway}/{pod.netmask}")
    return str(IPAddress(network.first + 1 + number % max(1, network.size - 2)))


def joined(tx: Session, found: Found, cluster: Cluster, url: str, tags: str | None, state: str) -> Host:
    """A new host for a connected agent. It is Up once its pools are there: see flows.connect."""
    check_room(tx, cluster)
    host = _row(cluster, url, found.facts, new_uuid(), tags, state)
    host.name, host.address, host.agent, host.guid = found.name, found.address, found.agent, found.agent
    host.state = "Connecting"
    tx.add(host)
    tx.flush()
    if tx.get_one(Zone, cluster.zone_id).local_storage and found.facts.local_pool_path:
        storage.add_local(tx, host, found.facts.local_pool_path, FACTOR.fraction())
    set_capacity(host, cluster)
    return host


def _row(cluster: Cluster, url: str, facts: HostFacts, uuid: str, tags: str | None, state: str) -> Host:
    host = Host(
        uuid=uuid,
        zone_id=cluster.zone_id,
        pod_id=cluster.pod_id,
        cluster_id=cluster.id,
        hypervisor=cluster.hypervisor,
        url=url,
        resource_state=state,
        tags=tags,
        details={},
        statistics={},
    )
    take_facts(host, facts)
    return host


def take_facts(host: Host, facts: HostFacts) -> None:
    host.name = host.name or facts.name
    host.address = facts.address or host.address or ""
    host.hypervisor_version = facts.hypervisor_version
    host.cpus, host.sockets, host.speed, host.memory = facts.cpus, facts.sockets, facts.speed, facts.memory
    host.capabilities, host.version, host.accelerator = facts.capabilities, facts.version, facts.accelerator


def of_agent(tx: Session, agent: str) -> Host | None:
    return tx.scalar(select(Host).where(Host.agent == agent, Host.removed.is_(None)))


def came(tx: Session, agent: str, facts: HostFacts | None) -> None:
    """An agent has connected: take what it says, and have its pools made ready."""
    host = of_agent(tx, agent)
    if host is None:
        return
    if facts is not None:
        take_facts(host, facts)
        set_capacity(host, tx.get_one(Cluster, host.cluster_id))
    host.last_pinged, host.disconnected = now(), None
    tx.flush()
    start_connecting(tx, host)


def start_connecting(tx: Session, host: Host) -> None:
    """Queue the job that brings a host to Up, unless one is waiting already."""
    from mgmt_server.resources.host import flows

    lock = f"host:{host.id}"
    waiting = select(JobRow.id).where(JobRow.lock == lock, JobRow.state == "queued", JobRow.state.in_(OPEN))
    if tx.scalar(waiting.limit(1)) is None:
        enqueue(tx, flows.connect, (host.id,), lock=lock)


def went(tx: Session, agent: str) -> None:
    """An agent's connection ended."""
    mine = update(Host).where(Host.agent == agent, Host.removed.is_(None), Host.state.in_(("Up", "Connecting")))
    tx.execute(mine.values(state="Disconnected", disconnected=now()).execution_options(synchronize_session=False))


def move(tx: Session, host_id: int, before: Sequence[str], after: str, **values: Any) -> bool:
    """Move a host's state; False when it is in none of the states before."""
    try:
        STATES.move(tx, host_id, tuple(before), after, **values)
    except Conflict:
        return False
    return True


def alert(tx: Session, host: Host, subject: str, content: str) -> None:
    """Told once until the host is up again (resources/alert looks after that)."""
    where = {"zone_id": host.zone_id, "pod_id": host.pod_id, "cluster_id": host.cluster_id}
    lasts(tx, f"host:{host.id}", Condition("ALERT.COMPUTE.HOST", subject, content, **where))


def vanish(tx: Session, host: Host) -> bool:
    """Take a host away, with its local storage; False when somebody promised machines to it meanwhile."""
    gone = (
        update(Host)
        .where(Host.id == host.id, Host.machines == 0, Host.removed.is_(None))
        .values(state="Removed", removed=now(), agent=None)
        .execution_options(synchronize_session=False)
    )
    if changed(tx.execute(gone)) != 1:
        return False
    storage.reaches_not(tx, host=host.id)
    storage.remove_local(tx, host)
    dedication.forget(tx, "Host", host.id)
    return True
