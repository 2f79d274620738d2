"""A zone of simulated hosts, built as clients build it."""

from __future__ import annotations

from typing import Any

ZONE = {"name": "east", "networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}
POD = {
    "name": "p1", "gateway": "172.16.15.1", "netmask": "255.255.255.0", "startip": "172.16.15.2",
    "endip": "172.16.15.200",
}  # fmt: skip


def zone_with_pod(cloud: Any, name: str = "east", **more: Any) -> tuple[str, str]:
    zone = cloud.ask("createZone", **{**ZONE, "name": name, **more})["zone"]["id"]
    pod = cloud.ask("createPod", zoneid=zone, **POD)["pod"]["id"]
    return zone, pod


def cluster(cloud: Any, zone: str, pod: str, name: str = "c1", hypervisor: str = "Simulator") -> str:
    sent = {"zoneid": zone, "podid": pod, "clustername": name, "clustertype": "CloudManaged"}
    (made,) = cloud.ask("addCluster", **sent, hypervisor=hypervisor)["cluster"]
    return made["id"]


def host(cloud: Any, zone: str, pod: str, cluster: str, url: str = "http://sim/c1/h1", **more: Any) -> dict[str, Any]:
    sent = {"zoneid": zone, "podid": pod, "clusterid": cluster, "url": url, "username": "root", "password": "x"}
    (made,) = cloud.ask("addHost", **{**sent, "hypervisor": "Simulator", **more})["host"]
    return made
