"""The rows that hang on a physical network: its tags, its providers, its traffic types."""

from __future__ import annotations

from sqlalchemy import and_, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from mgmt_server.db import changed, new_uuid, now
from mgmt_server.errors import InUse
from mgmt_server.model.zone import GuestVlanRange, PhysicalNetwork, Provider, RouterElement, TrafficType, Vnet
from mgmt_server.resources.networkprovider.services import INITIAL, PROVIDERS, WITH_ELEMENT

BATCH = 2000  # rows of one INSERT


def set_tags(tx: Session, network: PhysicalNetwork, ranges: list[tuple[int, int]]) -> None:
    """Have these tags, and no others. Raises InUse when a network has one that would go."""
    dedicated = select(GuestVlanRange).where(GuestVlanRange.physical_network_id == network.id)
    for kept in tx.scalars(dedicated):
        if not any(first <= kept.first and kept.last <= last for first, last in ranges):
            raise InUse(
                f"the VLANs {kept.first} to {kept.last} of {network.name} are dedicated to an account: "
                "keep them in the range, or call releaseDedicatedGuestVlanRange first"
            )
    inside = or_(*(Vnet.tag.between(first, last) for first, last in ranges))
    mine = and_(Vnet.physical_network_id == network.id, ~inside)
    tx.execute(delete(Vnet).where(mine, Vnet.network_id.is_(None)).execution_options(synchronize_session=False))
    held = list(tx.scalars(select(Vnet.tag).where(mine).order_by(Vnet.tag).limit(5)))
    if held:
        raise InUse(
            f"networks use the VLANs {', '.join(map(str, held))} of physical network {network.name}: keep them in the "
            "range, or delete those networks first"
        )
    have = set(tx.scalars(select(Vnet.tag).where(Vnet.physical_network_id == network.id)))
    new = [tag for first, last in ranges for tag in range(first, last + 1) if tag not in have]
    for start in range(0, len(new), BATCH):
        rows = [
            {"uuid": new_uuid(), "created": now(), "physical_network_id": network.id, "tag": tag}
            for tag in new[start : start + BATCH]
        ]
        tx.execute(insert(Vnet), rows)
    network.vlan = ",".join(f"{first}-{last}" if first != last else str(first) for first, last in ranges)


def add_providers(tx: Session, network: PhysicalNetwork) -> None:
    """The providers that every physical network starts with, disabled."""
    for name in INITIAL:
        provider = Provider(physical_network_id=network.id, name=name, services=list(PROVIDERS[name]))
        tx.add(provider)
        tx.flush()
        if name in WITH_ELEMENT:
            tx.add(RouterElement(provider_id=provider.id))


def remove(tx: Session, network: PhysicalNetwork) -> None:
    """Take the network away, with all that hangs on it. Raises InUse while a network has one of its VLANs."""
    free = delete(Vnet).where(Vnet.physical_network_id == network.id, Vnet.network_id.is_(None))
    tx.execute(free.execution_options(synchronize_session=False))
    if tx.scalar(select(func.count()).select_from(Vnet).where(Vnet.physical_network_id == network.id)):
        raise InUse(f"networks use VLANs of physical network {network.name}: delete them first")
    for provider in tx.scalars(select(Provider.id).where(Provider.physical_network_id == network.id)).all():
        remove_provider(tx, provider)
    tx.execute(delete(TrafficType).where(TrafficType.physical_network_id == network.id))
    tx.execute(delete(GuestVlanRange).where(GuestVlanRange.physical_network_id == network.id))
    network.removed = now()


def remove_provider(tx: Session, provider: int) -> bool:
    tx.execute(delete(RouterElement).where(RouterElement.provider_id == provider))
    return changed(tx.execute(delete(Provider).where(Provider.id == provider))) == 1
