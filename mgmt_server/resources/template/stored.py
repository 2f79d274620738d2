"""Templates' images as hosts are told of them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.protocol.machine import Image, Store


def image_in(tx: Session, template_id: int | None, zone_id: int) -> Image | None:
    """A template's image on the zone's secondary storage; None while there is none."""
    row = tx.execute(
        select(TemplateOnStore, ImageStore, Template)
        .join(ImageStore, ImageStore.id == TemplateOnStore.store_id)
        .join(Template, Template.id == TemplateOnStore.template_id)
        .where(
            TemplateOnStore.template_id == template_id,
            TemplateOnStore.zone_id == zone_id,
            TemplateOnStore.state == "Ready",
            ImageStore.removed.is_(None),
        )
        .order_by(TemplateOnStore.id)
        .limit(1)
    ).first()
    if row is None:
        return None
    on_store, store, template = row
    return Image(
        uuid=template.uuid,
        store=Store(store.url, {k: str(v) for k, v in store.details.items()}),
        path=on_store.path,
        format=on_store.kept_as(template.format),
        size=on_store.physical_size,
        virtual_size=on_store.size,
        checksum=template.checksum or "",
    )
