"""A zone of simulated hosts, written straight into the database: for tests that are not about building zones."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from mgmt_server.db import new_uuid, write
from mgmt_server.model.host import Host
from mgmt_server.model.storage import ImageStore, PoolHost, TemplateOnStore
from mgmt_server.model.storage import Pool as StoragePool
from mgmt_server.model.template import Template
from mgmt_server.model.zone import (
    Address,
    Cluster,
    PhysicalNetwork,
    Pod,
    PodAddress,
    PodRange,
    TrafficType,
    VlanRange,
    Vnet,
    Zone,
)

GIB = 2**30


def simulated_zone(
    tx: Any, *, name: str = "east", hosts: int = 2, memory: int = 8 * GIB, cpu: int = 32_000
) -> dict[str, str]:
    """Zone, pod, cluster, hosts, shared pool, image store, public range, template: uuids by what they are."""
    zone = Zone(
        name=name, network_type="Advanced", dns1="192.0.2.53", internal_dns1="192.0.2.53", guest_cidr="10.1.1.0/24",
        allocation_state="Enabled", details={},
    )  # fmt: skip
    tx.add(zone)
    tx.flush()
    network = PhysicalNetwork(name="net1", zone_id=zone.id, state="Enabled", isolation="VLAN", vlan="100-149")
    pod = Pod(name="pod1", zone_id=zone.id, gateway="172.16.0.1", netmask="255.255.255.0")
    tx.add_all([network, pod])
    tx.flush()
    tx.add_all(Vnet(physical_network_id=network.id, tag=n) for n in range(100, 150))
    tx.add_all(
        TrafficType(physical_network_id=network.id, type=t, labels={}) for t in ("Guest", "Public", "Management")
    )
    found = PodRange(pod_id=pod.id, start_ip="172.16.0.10", end_ip="172.16.0.50")
    public = VlanRange(
        zone_id=zone.id, physical_network_id=network.id, vlan="50", gateway="203.0.113.1", netmask="255.255.255.0",
        start_ip="203.0.113.10", end_ip="203.0.113.60",
    )  # fmt: skip
    cluster = Cluster(name="c1", zone_id=zone.id, pod_id=pod.id, hypervisor="Simulator", details={})
    tx.add_all([found, public, cluster])
    tx.flush()
    tx.add_all(PodAddress(pod_id=pod.id, range_id=found.id, address=f"172.16.0.{n}") for n in range(10, 51))
    tx.add_all(Address(range_id=public.id, zone_id=zone.id, address=f"203.0.113.{n}") for n in range(10, 61))
    pool = StoragePool(
        name="shared", zone_id=zone.id, pod_id=pod.id, cluster_id=cluster.id, scope="CLUSTER",
        type="NetworkFilesystem", hypervisor="Simulator", server="192.0.2.9", path="/primary", capacity=2**44,
        details={},
    )  # fmt: skip
    store = ImageStore(name="images", url="nfs://192.0.2.9/secondary", protocol="nfs", zone_id=zone.id, details={})
    machines = [
        Host(
            name=f"{name}-h{n}", zone_id=zone.id, pod_id=pod.id, cluster_id=cluster.id, hypervisor="Simulator",
            url=f"http://sim/c1/h{n}", address=f"172.16.1.{n + 1}", guid=new_uuid(), cpus=4, speed=8000, memory=memory,
            cpu_capacity=cpu, memory_capacity=memory, details={}, statistics={},
        )
        for n in range(hosts)
    ]  # fmt: skip
    tx.add_all([pool, store, *machines])
    tx.flush()
    tx.add_all(PoolHost(pool_id=pool.id, host_id=h.id) for h in machines)
    template = tx.scalar(select(Template).where(Template.hypervisor == "Simulator", Template.type == "BUILTIN"))
    tx.execute(update(Template).where(Template.id == template.id).values(public=True, featured=True))
    tx.add(
        TemplateOnStore(
            template_id=template.id, store_id=store.id, zone_id=zone.id, state="Ready", path="template/x", size=2 * GIB,
            physical_size=GIB,
        )
    )  # fmt: skip
    tx.flush()
    return {
        "zone": zone.uuid, "pod": pod.uuid, "cluster": cluster.uuid, "physical": network.uuid, "pool": pool.uuid,
        "store": store.uuid, "template": template.uuid, "hosts": ",".join(h.uuid for h in machines),
    }  # fmt: skip


def build(**options: Any) -> dict[str, str]:
    return write(lambda tx: simulated_zone(tx, **options))
