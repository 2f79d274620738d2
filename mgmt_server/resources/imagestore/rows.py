"""Secondary storage: adding it, and looking at what is on it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.drivers.image import nfs, system
from mgmt_server.errors import ApiError, InvalidValue
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.protocol.download import shown
from mgmt_server.resources.template import flows as templates


def is_simulated(tx: Session, zone: Zone | None, simulator: bool) -> bool:
    """Whether nothing real is in a zone: its stores are never contacted. `simulator`: for one without clusters."""
    kinds = select(Cluster.hypervisor).where(Cluster.removed.is_(None)).distinct()
    if zone is not None:
        kinds = kinds.where(Cluster.zone_id == zone.id)
    found = set(tx.scalars(kinds))
    return found == {"Simulator"} if found else simulator


@dataclass(frozen=True)
class Found:
    """What was seen on a store: bytes, and the system VM image when it is there."""

    used: int
    there: int
    system: system.SystemImage | None


def looked_at(url: str) -> Found:
    """Write to the store, and see what is on it. Raises InvalidValue with what is wrong."""
    try:
        used, there = nfs.check(url)
        return Found(used, there, system.find(url))
    except InvalidValue:
        raise
    except ApiError as error:
        raise InvalidValue(
            f"url={shown(url)}: the store cannot be used: {error}. It must be exported read-write to this server and "
            "the hosts, without mapping root to nobody"
        ) from None


def add(tx: Session, zone_id: int | None, url: str, name: str | None, provider: str, found: Found | None) -> ImageStore:
    """Raises InvalidValue for a URL that is taken. `found`: None for a store that is never contacted."""
    scheme, _, _ = nfs.parts(url)
    if zone_id is not None:
        tx.get_one(Zone, zone_id, with_for_update=True)
    same = select(func.count()).select_from(ImageStore).where(ImageStore.url == url, ImageStore.removed.is_(None))
    if tx.scalar(same):
        raise InvalidValue(f"url={shown(url)} is secondary storage already")
    store = ImageStore(
        name=name or url,
        url=url,
        protocol=scheme,
        provider=provider,
        zone_id=zone_id,
        scope="ZONE" if zone_id is not None else "REGION",
        capacity=found.there if found else 0,
        used=found.used if found else 0,
        details={},
    )
    tx.add(store)
    tx.flush()
    if found is not None:
        note_system_image(tx, store, found.system)
    templates.store_added(tx, store.id)
    return store


def note_system_image(tx: Session, store: ImageStore, image: system.SystemImage | None) -> None:
    """Have the system template ready in the zone where its image is on the store."""
    if image is None or store.zone_id is None:
        return
    templates.have_system_template(
        tx, store.zone_id, store.id, path=image.path, size=image.size, physical_size=image.physical_size
    )
