"""How a KVM host joins: the agent that is meant, and whether its host can do what the zone expects of it.

Each refusal names the check, what was found, and the remedy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.agents import directory
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.zone import Cluster, PhysicalNetwork, TrafficType
from mgmt_server.protocol.machine import HostFacts

PATIENCE = 20.0  # seconds that addHost waits for an agent that is known and just starting
CLOCK = 5.0  # seconds that a host's clock may be off
OLDEST_QEMU = (6, 2)  # what the oldest supported distribution has


@dataclass(frozen=True)
class Found:
    agent: str
    name: str
    address: str
    facts: HostFacts


def named(url: str) -> str:
    """The host of http://kvm1, or what was given instead of a URL."""
    text = url.strip()
    parts = urlsplit(text if "//" in text else f"//{text}")
    if not parts.hostname:
        raise InvalidValue(f"url={url[:100]} names no host: write http://NAME or http://ADDRESS")
    return parts.hostname.lower()


def agent_of(url: str) -> Found:
    """The connected agent of that name or address. Raises Failed, InvalidValue."""
    wanted = named(url)
    until = monotonic() + PATIENCE
    while True:
        known = directory.known("host")
        mine = [a for a in known if wanted in (a[1].lower(), a[1].lower().split(".")[0], a[2].lower())]
        connected = [a for a in mine if a[3]]
        if connected or not mine or monotonic() >= until:
            break
        sleep(0.5)
    if not mine:
        waiting = ", ".join(sorted(a[1] for a in known if a[3])) or "none"
        raise Failed(
            f"agent: no agent of {wanted} has joined (connected agents: {waiting}). Run the playbook add_host for it, "
            f"or `cloudwright enroll-token --name {wanted}` here and `cloudwright agent enroll` with its answer there; "
            "then add the host again"
        )
    if not connected:
        raise Failed(
            f"agent: the agent of {wanted} is not connected. On that host see `systemctl status cloudwright-agent` and "
            "whether it reaches port 8250 of this server"
        )
    if len(connected) > 1:
        names = ", ".join(f"{a[1]} ({a[2]})" for a in connected)
        raise Failed(f"agent: {wanted} means several agents: {names}. Use the whole name in url")
    uuid, name, address, _, facts = connected[0]
    fresh = _asked(uuid, name) or facts
    if fresh is None:
        raise Failed(f"agent: the agent of {name} says nothing of its host: restart it, and see its log")
    return Found(uuid, name, address or fresh.address, fresh)


def _asked(agent: str, name: str) -> HostFacts | None:
    """What the host says now; None where this server has no way to ask."""
    return dispatch.facts(HostRef("", name, "KVM", agent))


def check(tx: Session, found: Found, cluster: Cluster) -> None:
    """Raises Failed with all that speaks against the host."""
    there = tx.scalar(select(Host).where(Host.agent == found.agent, Host.removed.is_(None)))
    if there is not None:
        where = tx.get_one(Cluster, there.cluster_id)
        raise Failed(f"added already: {found.name} is host {there.name} in cluster {where.name}; delete it there first")
    wrong = [*_of_itself(found.facts, cluster), *_bridges(tx, found.facts, cluster)]
    if wrong:
        raise Failed(f"{found.name} cannot be added: " + "; ".join(wrong))


def _of_itself(facts: HostFacts, cluster: Cluster) -> list[str]:
    wrong = []
    if facts.hypervisor != cluster.hypervisor:
        wrong.append(
            f"hypervisor: the host has {facts.hypervisor} and cluster {cluster.name} is for {cluster.hypervisor}; use "
            "a cluster of its kind"
        )
    if facts.accelerator not in ("kvm", "qemu"):
        wrong.append(
            "virtualisation: /dev/kvm cannot be used; switch it on in the firmware (or nested, in the hypervisor "
            "below), or enrol the agent with --accelerator qemu and accept that guests are slow"
        )
    if facts.cpus < 1 or facts.speed < 1 or facts.memory < 1 << 28:
        wrong.append(
            f"size: {facts.cpus} CPUs of {facts.speed} MHz and {facts.memory >> 20} MiB were found; a host has at "
            "least one CPU and 256 MiB"
        )
    version = tuple(int(n) for n in re.findall(r"\d+", facts.hypervisor_version)[:2])
    if version and version < OLDEST_QEMU:
        wrong.append(
            f"hypervisor version: {facts.hypervisor_version} was found; QEMU {OLDEST_QEMU[0]}.{OLDEST_QEMU[1]} or "
            "newer is needed: upgrade the host's distribution"
        )
    offset = clock_offset(facts)
    if offset is not None and abs(offset) > CLOCK:
        wrong.append(
            f"clock: it is {offset:+.0f} s off this server's; {CLOCK:g} s are allowed: have both follow the same time "
            "servers (chrony)"
        )
    return wrong


def clock_offset(facts: HostFacts) -> float | None:
    """Seconds by which a host's clock is ahead, from facts that have just come."""
    try:
        told = datetime.fromisoformat(facts.clock)
    except ValueError:
        return None
    told = told if told.tzinfo else told.replace(tzinfo=UTC)
    return (told - datetime.now(UTC)).total_seconds()


def labels(tx: Session, zone_id: int) -> list[tuple[str, str, str]]:
    """(traffic type, label, physical network) of what KVM hosts of a zone need a bridge for."""
    rows = (
        select(TrafficType.type, TrafficType.labels, PhysicalNetwork.name)
        .join(PhysicalNetwork, PhysicalNetwork.id == TrafficType.physical_network_id)
        .where(PhysicalNetwork.zone_id == zone_id, PhysicalNetwork.removed.is_(None))
        .order_by(TrafficType.id)
    )
    return [(kind, named["KVM"], network) for kind, named, network in tx.execute(rows) if (named or {}).get("KVM")]


def _bridges(tx: Session, facts: HostFacts, cluster: Cluster) -> list[str]:
    missing: dict[str, list[str]] = {}
    for kind, label, network in labels(tx, cluster.zone_id):
        if label not in facts.bridges:
            missing.setdefault(label, []).append(f"{kind} of {network}")
    there = ", ".join(facts.bridges) or "none"
    return [
        f"bridge: {label} is missing, which carries {', '.join(uses)}; the host has {there}. Make the bridge (role "
        f"kvm_host), or change the label with updateTrafficType"
        for label, uses in missing.items()
    ]
