"""The disc in a machine's drive, as its host is told of it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.errors import InvalidValue
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template


def source_of(tx: Session, iso_id: int, zone_id: int) -> str:
    """The URL of an ISO on the zone's secondary storage, for `Machine.iso`. InvalidValue while it is not there."""
    rows = (
        select(ImageStore.url, TemplateOnStore.path)
        .join(TemplateOnStore, TemplateOnStore.store_id == ImageStore.id)
        .where(
            TemplateOnStore.template_id == iso_id,
            TemplateOnStore.zone_id == zone_id,
            TemplateOnStore.state == "Ready",
            ImageStore.removed.is_(None),
        )
    )
    found = tx.execute(rows.order_by(TemplateOnStore.id).limit(1)).first()
    if found is None:
        name = tx.scalar(select(Template.name).where(Template.id == iso_id))
        raise InvalidValue(
            f"The ISO {name} is not ready on the zone's secondary storage: see its status in listIsos, or take it out "
            "of the drive with detachIso"
        )
    return f"{found.url.rstrip('/')}/{found.path}"
