"""Ranges of addresses on a VLAN, and their addresses."""

from __future__ import annotations

from netaddr import IPAddress
from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from mgmt_server.db import changed, new_uuid, now
from mgmt_server.errors import InUse, InvalidValue
from mgmt_server.model.zone import Address, Pod, PodRange, VlanRange
from mgmt_server.resources.checks import addresses
from mgmt_server.resources.pod.rows import meets


def refuse_overlap(
    tx: Session,
    zone_id: int,
    vlan: str,
    start: str,
    end: str,
    physical_network_id: int | None = None,
    but: int | None = None,
) -> None:
    """Refuse a range that meets another on the same VLAN, or an untagged one that meets a pod's. `but`: itself."""
    first, last = int(IPAddress(start)), int(IPAddress(end))
    others = select(VlanRange).where(
        VlanRange.zone_id == zone_id,
        VlanRange.vlan == vlan,
        VlanRange.physical_network_id == physical_network_id,
        VlanRange.removed.is_(None),
    )
    for other in tx.scalars(others):
        if other.id != but and other.start_ip and meets(first, last, other.start_ip, other.end_ip or other.start_ip):
            raise InvalidValue(
                f"the range {start} to {end} overlaps {other.start_ip} to {other.end_ip}, on VLAN {vlan}"
            )
    pods = select(PodRange.start_ip, PodRange.end_ip, Pod.name).join(Pod, Pod.id == PodRange.pod_id)
    tagged = func.coalesce(PodRange.vlan, "untagged") == vlan
    for low, high, pod in tx.execute(pods.where(Pod.zone_id == zone_id, PodRange.removed.is_(None), tagged)):
        if meets(first, last, low, high):
            raise InvalidValue(f"the range {start} to {end} overlaps {low} to {high} of pod {pod}")


def fill(tx: Session, found: VlanRange, gateway: str, mask: str, start: str, end: str) -> None:
    """Give a range that is in the session its ends and its addresses."""
    members = addresses(start, end, gateway, mask)
    refuse_overlap(tx, found.zone_id, found.vlan, start, end, found.physical_network_id, found.id)
    found.gateway, found.netmask, found.start_ip, found.end_ip = gateway, mask, members[0], members[-1]
    tx.add(found)
    tx.flush()
    _free(tx, found, set(members))
    have = set(tx.scalars(select(Address.address).where(Address.range_id == found.id)))
    new = [m for m in members if m not in have]
    for first in range(0, len(new), 2000):
        rows = [
            {"uuid": new_uuid(), "created": now(), "range_id": found.id, "zone_id": found.zone_id, "address": address}
            for address in new[first : first + 2000]
        ]
        tx.execute(insert(Address), rows)


def remove(tx: Session, found: VlanRange) -> None:
    """Raises InUse when somebody has one of its addresses."""
    _free(tx, found, set())
    found.removed = now()


def _free(tx: Session, found: VlanRange, keep: set[str]) -> None:
    mine = select(Address.id, Address.address).where(Address.range_id == found.id)
    gone = [number for number, address in tx.execute(mine) if address not in keep]
    count = 0
    for first in range(0, len(gone), 1000):
        unheld = delete(Address).where(Address.id.in_(gone[first : first + 1000]), Address.state == "Free")
        count += changed(tx.execute(unheld.execution_options(synchronize_session=False)))
    if count == len(gone):
        return
    held = select(Address.address).where(Address.range_id == found.id, Address.state != "Free").limit(200)
    names = [a for a in tx.scalars(held) if a not in keep]
    raise InUse(
        f"{len(gone) - count} addresses that would go are in use ({', '.join(names[:3])}): release them first, or keep "
        "them in the range"
    )
