"""Ranges of management addresses of pods, and their addresses."""

from __future__ import annotations

from netaddr import IPAddress, IPNetwork
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from mgmt_server.db import changed, new_uuid, now
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.model.settings import Setting
from mgmt_server.model.zone import Pod, PodAddress, PodRange, StorageRange, VlanRange, Zone
from mgmt_server.resources.checks import addresses

APART = Setting("check.pod.cidrs", "Whether each pod of a zone has a management network of its own")


def whole(gateway: str, mask: str, start: str | None, end: str | None) -> tuple[str, str]:
    """Start and end of a range; an end that is not given is the last usable address of the network."""
    if not start:
        raise InvalidValue("startip is missing: system VMs take their management addresses from startip to endip")
    network = IPNetwork(f"{gateway}/{mask}")
    return start, end or str(IPAddress(network.last - 1 if network.prefixlen < 31 else network.last))


def refuse_network(tx: Session, zone: Zone, gateway: str, mask: str, but: int | None = None) -> None:
    """Refuse a management network that meets that of another pod of the zone, or its guests'. `but`: the pod itself."""
    if not APART.flag():
        return
    mine = IPNetwork(f"{gateway}/{mask}").cidr
    rows = select(Pod).where(Pod.zone_id == zone.id, Pod.removed.is_(None), Pod.id != (but or 0))
    others = [(f"that of pod {p.name}", IPNetwork(f"{p.gateway}/{p.netmask}").cidr) for p in tx.scalars(rows)]
    if zone.guest_cidr:
        others.append(("that of the zone's guests", IPNetwork(zone.guest_cidr).cidr))
    for whose, other in others:
        if mine in other or other in mine:
            raise InvalidValue(f"the network {mine} meets {other}, {whose}: choose another ({APART.name})")


def refuse_overlap(
    tx: Session, zone_id: int, start: str, end: str, *, vlan: str | None = None, but: int | None = None
) -> None:
    """Refuse a range of management addresses that meets another of the zone, or one of guests or the public on the
    same VLAN. `but`: the range that is being changed."""
    first, last = int(IPAddress(start)), int(IPAddress(end))
    pods = select(PodRange.id, PodRange.start_ip, PodRange.end_ip, Pod.name).join(Pod, Pod.id == PodRange.pod_id)
    for number, low, high, pod in tx.execute(pods.where(Pod.zone_id == zone_id, PodRange.removed.is_(None))):
        if number != but and meets(first, last, low, high):
            raise InvalidValue(f"the range {start} to {end} overlaps {low} to {high} of pod {pod}")
    others = select(VlanRange.start_ip, VlanRange.end_ip, VlanRange.vlan).where(
        VlanRange.zone_id == zone_id, VlanRange.removed.is_(None), VlanRange.vlan == (vlan or "untagged")
    )
    for first_ip, last_ip, tag in tx.execute(others):
        if first_ip and last_ip and meets(first, last, first_ip, last_ip):
            raise InvalidValue(f"the range {start} to {end} overlaps {first_ip} to {last_ip} of VLAN {tag}")
    storage = select(StorageRange.start_ip, StorageRange.end_ip).where(
        StorageRange.zone_id == zone_id, StorageRange.removed.is_(None)
    )
    for low, high in tx.execute(storage):
        if meets(first, last, low, high):
            raise InvalidValue(f"the range {start} to {end} overlaps {low} to {high} of the storage network")


def meets(first: int, last: int, low: str, high: str) -> bool:
    return first <= int(IPAddress(high)) and int(IPAddress(low)) <= last


def add(
    tx: Session,
    pod: Pod,
    gateway: str,
    mask: str,
    start: str,
    end: str,
    *,
    vlan: str | None = None,
    for_system_vms: bool = False,
) -> PodRange:
    """Raises InvalidValue for a range that is not in the pod's network, or overlaps another."""
    members = addresses(start, end, gateway, mask)
    refuse_overlap(tx, pod.zone_id, start, end, vlan=vlan)
    found = PodRange(pod_id=pod.id, start_ip=members[0], end_ip=members[-1], vlan=vlan, for_system_vms=for_system_vms)
    tx.add(found)
    tx.flush()
    _insert(tx, pod.id, found.id, members)
    return found


def change(tx: Session, pod: Pod, found: PodRange, gateway: str, mask: str, start: str, end: str) -> None:
    """Move the ends of a range. Raises Failed when a system VM has an address that would go."""
    members = addresses(start, end, gateway, mask)
    refuse_overlap(tx, pod.zone_id, start, end, vlan=found.vlan, but=found.id)
    _free(tx, found.id, set(members))
    have = set(tx.scalars(select(PodAddress.address).where(PodAddress.range_id == found.id)))
    _insert(tx, pod.id, found.id, [m for m in members if m not in have])
    found.start_ip, found.end_ip = members[0], members[-1]


def remove(tx: Session, found: PodRange) -> None:
    """Raises Failed when a system VM has one of its addresses."""
    _free(tx, found.id, set())
    found.removed = now()


def _free(tx: Session, range_id: int, keep: set[str]) -> None:
    mine = select(PodAddress.id, PodAddress.address).where(PodAddress.range_id == range_id)
    gone = [number for number, address in tx.execute(mine) if address not in keep]
    count = 0
    for start in range(0, len(gone), 1000):
        unheld = delete(PodAddress).where(PodAddress.id.in_(gone[start : start + 1000]), PodAddress.vm_id.is_(None))
        count += changed(tx.execute(unheld.execution_options(synchronize_session=False)))
    if count != len(gone):
        raise Failed("system VMs have management addresses of this range: destroy them, or keep their addresses in it")


def _insert(tx: Session, pod_id: int, range_id: int, members: list[str]) -> None:
    for start in range(0, len(members), 2000):
        rows = [
            {"uuid": new_uuid(), "created": now(), "pod_id": pod_id, "range_id": range_id, "address": address}
            for address in members[start : start + 2000]
        ]
        tx.execute(insert(PodAddress), rows)
