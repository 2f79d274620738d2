"""The disc in a machine's drive, as its host is told of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.errors import InvalidValue
from mgmt_server.model.storage import ImageStore, Pool, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.protocol.machine import Pool as PoolAtHost
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template import pooled
from mgmt_server.resources.template.pooled import Fetch


@dataclass(frozen=True)
class Disc:
    """`iso` and `pool` are for `Machine`. `fetch`: what its host has to have first, which names it then."""

    iso: str = ""
    pool: PoolAtHost | None = None
    fetch: Fetch | None = None


def disc_of(tx: Session, iso_id: int | None, pool: Pool) -> Disc:
    """An ISO as a host is told of it: on secondary storage, or, of direct download, in `pool`, which is where the
    machine's root disk lies. InvalidValue while the ISO is not ready."""
    if iso_id is None:
        return Disc()
    url = source_of(tx, iso_id, pool.zone_id)
    if url:
        return Disc(url)
    at_host = storage.as_seen(pool)
    name, fetch = pooled.find(tx, iso_id, pool, at_host)
    return Disc(name, at_host, fetch)


def source_of(tx: Session, iso_id: int, zone_id: int) -> str:
    """The URL of an ISO on the zone's secondary storage; empty where hosts fetch it (direct download). InvalidValue
    while it is not ready."""
    rows = (
        select(ImageStore.url, TemplateOnStore.path)
        .select_from(TemplateOnStore)
        .outerjoin(ImageStore, ImageStore.id == TemplateOnStore.store_id)
        .where(
            TemplateOnStore.template_id == iso_id,
            TemplateOnStore.zone_id == zone_id,
            TemplateOnStore.state == "Ready",
            TemplateOnStore.reachable(),
        )
    )
    found = tx.execute(rows.order_by(TemplateOnStore.id).limit(1)).first()
    if found is None:
        name = tx.scalar(select(Template.name).where(Template.id == iso_id))
        raise InvalidValue(
            f"The ISO {name} is not ready in the zone: see its status in listIsos, or take it out of the drive with "
            "detachIso"
        )
    return f"{found.url.rstrip('/')}/{found.path}" if found.url is not None else ""
