"""What a zone, a pod or a cluster has of each type, in as many statements as there are kinds of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from mgmt_server.api.view import PerPage
from mgmt_server.model.host import Host
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.tenancy import Caller
from mgmt_server.model.zone import Address, Cluster, PhysicalNetwork, Pod, PodAddress, VlanRange, Vnet

# the protocol's numbers and names; a type that this cloud has nothing of is answered by nothing
NAMES = {
    0: "MEMORY",
    1: "CPU",
    2: "STORAGE",
    3: "STORAGE_ALLOCATED",
    4: "VIRTUAL_NETWORK_PUBLIC_IP",
    5: "PRIVATE_IP",
    6: "SECONDARY_STORAGE",
    7: "VLAN",
    8: "DIRECT_ATTACHED_PUBLIC_IP",
    9: "LOCAL_STORAGE",
    10: "VIRTUAL_NETWORK_IPV6_SUBNET",
    19: "GPU",
    20: "OBJECT_STORAGE",
    21: "BACKUP_STORAGE",
    90: "CPU_CORE",
}
OF_HOSTS, OF_POOLS = (0, 1, 90), (2, 3, 9)
OF_ZONES = (4, 6, 7, 8)  # these belong to no pod and no cluster


@dataclass(frozen=True)
class Place:
    zone: int
    pod: int | None = None
    cluster: int | None = None
    tag: str = ""  # what hosts and pools with that tag have


def of(session: Session, place: Place, type: int | None = None) -> list[dict[str, Any]]:
    """Entries of listCapacity, by type."""
    wanted = [type] if type is not None else list(NAMES)
    figures: dict[int, tuple[int, int]] = {}
    if set(wanted) & set(OF_HOSTS):
        figures |= _hosts(session, place)
    if set(wanted) & set(OF_POOLS):
        figures |= _pools(session, place)
    if place.tag:
        return [_entry(n, *figures[n]) | {"tag": place.tag} for n in NAMES if n in figures and n in wanted]
    if 5 in wanted and place.cluster is None:
        figures[5] = _pod_addresses(session, place)
    if set(wanted) & set(OF_ZONES) and place.pod is None and place.cluster is None:
        figures |= _zone(session, place.zone)
    return [_entry(n, *figures[n]) for n in NAMES if n in figures and n in wanted]


def shown(kind: str) -> PerPage:
    """The field `capacity` of zones, pods or clusters: what showcapacities=true asks for."""

    def read(session: Session, _: Caller, numbers: list[int]) -> dict[int, dict[str, Any]]:
        return {n: {"capacity": [_plain(e) for e in of(session, _place(session, kind, n))]} for n in numbers}

    return PerPage(("capacity",), read)


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in entry.items() if k != "capacityallocated"}


def _place(session: Session, kind: str, number: int) -> Place:
    if kind == "zone":
        return Place(number)
    table = Pod if kind == "pod" else Cluster
    zone = session.scalar(select(table.zone_id).where(table.id == number)) or 0
    return Place(zone, number) if kind == "pod" else Place(zone, cluster=number)


def _entry(type: int, used: int, total: int) -> dict[str, Any]:
    percent = f"{100 * used / total:.2f}".rstrip("0").rstrip(".") if total else "0"
    entry = {"type": type, "name": NAMES[type], "capacityused": used, "capacitytotal": total, "percentused": percent}
    return entry | ({"capacityallocated": used} if type in OF_HOSTS else {})


def _at(table: Any, place: Place) -> list[Any]:
    found = [table.zone_id == place.zone, table.removed.is_(None)]
    if place.pod is not None:
        found.append(table.pod_id == place.pod)
    if place.cluster is not None:
        found.append(table.cluster_id == place.cluster)
    if place.tag:
        tags = "," + func.replace(func.coalesce(table.tags, ""), " ", "") + ","
        found.append(tags.contains(f",{place.tag},", autoescape=True))
    return found


def _hosts(session: Session, place: Place) -> dict[int, tuple[int, int]]:
    up = [*_at(Host, place), Host.type == "Routing", Host.state == "Up", Host.resource_state != "Maintenance"]
    share = Host.cpu_used * 1.0 / case((Host.speed > 0, Host.speed), else_=1)
    columns = (Host.memory_used, Host.memory_capacity, Host.cpu_used, Host.cpu_capacity, share, Host.cpus)
    found = session.execute(select(*(func.coalesce(func.sum(c), 0) for c in columns)).where(*up)).one()
    memory, all_memory, cpu, all_cpu, cores, all_cores = tuple(found)
    return {
        0: (int(memory), int(all_memory)),
        1: (int(cpu), int(all_cpu)),
        90: (round(float(cores)), int(all_cores)),
    }


def _pools(session: Session, place: Place) -> dict[int, tuple[int, int]]:
    shared = Pool.scope != "HOST"
    promised = Pool.capacity * Pool.overprovision
    columns = (
        case((shared, Pool.used), else_=0),
        case((shared, Pool.capacity), else_=0),
        case((shared, Pool.allocated), else_=0),
        case((shared, promised), else_=0),
        case((shared, 0), else_=Pool.allocated),
        case((shared, 0), else_=promised),
    )
    up = [*_at(Pool, place), Pool.state == "Up"]
    found = session.execute(select(*(func.coalesce(func.sum(c), 0) for c in columns)).where(*up)).one()
    used, there, allocated, space, local, local_space = (int(n) for n in found)
    return {2: (used, there), 3: (allocated, space), 9: (local, local_space)}


def _pod_addresses(session: Session, place: Place) -> tuple[int, int]:
    rows = (
        select(func.count(PodAddress.vm_id), func.count())
        .join(Pod, Pod.id == PodAddress.pod_id)
        .where(Pod.zone_id == place.zone, Pod.removed.is_(None))
    )
    if place.pod is not None:
        rows = rows.where(Pod.id == place.pod)
    taken, there = session.execute(rows).one()
    return int(taken), int(there)


def _zone(session: Session, zone: int) -> dict[int, tuple[int, int]]:
    figures: dict[int, tuple[int, int]] = {4: (0, 0), 8: (0, 0)}
    held = func.sum(case((Address.state == "Free", 0), else_=1))
    addresses = (
        select(VlanRange.type, held, func.count())
        .join(VlanRange, VlanRange.id == Address.range_id)
        .where(Address.zone_id == zone, VlanRange.removed.is_(None))
        .group_by(VlanRange.type)
    )
    for kind, taken, there in session.execute(addresses):
        figures[4 if kind == "VirtualNetwork" else 8] = (int(taken), int(there))
    stores = select(func.coalesce(func.sum(ImageStore.used), 0), func.coalesce(func.sum(ImageStore.capacity), 0))
    used, size = session.execute(stores.where(ImageStore.zone_id == zone, ImageStore.removed.is_(None))).one()
    tags = (
        select(func.count(Vnet.network_id), func.count(Vnet.id))
        .join(PhysicalNetwork, PhysicalNetwork.id == Vnet.physical_network_id)
        .where(PhysicalNetwork.zone_id == zone, PhysicalNetwork.removed.is_(None))
    )
    taken, there = session.execute(tags).one()
    return figures | {6: (int(used), int(size)), 7: (int(taken), int(there))}
