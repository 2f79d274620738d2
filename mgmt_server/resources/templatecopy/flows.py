"""How templates get to other zones."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import flows as templates
from mgmt_server.resources.template.adding import NO_ROOM


def check_source(tx: Session, template: Template, zone_id: int | None) -> None:
    """Refuse what is nowhere ready, or not in the zone that was named."""
    found = templates.elsewhere(tx, template, zone_id)
    if found is None or zone_id not in (None, found.zone_id):
        raise InvalidValue(
            f"{template.name} is not ready in {'the source zone' if zone_id is not None else 'any zone'}: see its "
            "status in the list"
        )


def prepared(tx: Session, template: Template, zone: Zone) -> list[int]:
    """Have it in the zone: the rows whose image still has to come."""
    if templates.elsewhere(tx, template, zone.id) is not None and _ready_in(tx, template, zone):
        templates.in_zone(tx, template, zone.id, again=True)
        return []
    failed = select(TemplateOnStore).where(
        TemplateOnStore.template_id == template.id,
        TemplateOnStore.zone_id == zone.id,
        TemplateOnStore.state.in_(("Failed", "Creating")),
    )
    templates.in_zone(tx, template, zone.id, again=True)
    row = tx.scalar(failed.limit(1))
    if row is not None:
        if row.state == "Failed":
            row.state, row.error, row.progress = "Creating", None, 0
        return [row.id]
    stores = templates.stores_of(tx, zone.id)
    if not stores:
        raise InvalidValue(f"{zone.name}: {NO_ROOM}")
    simulated = templates.is_simulated(tx, template, zone.id)
    made = templates.on_store(tx, template, stores[0], zone.id, "Ready" if simulated else "Creating")
    tx.flush()
    return [made.id] if made is not None and not simulated else []


def _ready_in(tx: Session, template: Template, zone: Zone) -> bool:
    rows = select(TemplateOnStore.id).join(ImageStore, ImageStore.id == TemplateOnStore.store_id)
    mine = rows.where(TemplateOnStore.template_id == template.id, TemplateOnStore.zone_id == zone.id)
    return tx.scalar(mine.where(TemplateOnStore.state == "Ready", ImageStore.removed.is_(None)).limit(1)) is not None


def copy_all(job: Job, template_id: int, rows: list[int], source_zone: int | None) -> None:
    """Copy the image to each of the rows' stores, one after the other."""
    for row in rows:
        templates.copy(job, row, source_zone)
        job.write(check_arrived, row)


def check_arrived(tx: Session, row_id: int) -> None:
    """What went wrong stands in the row, for the list; and it is the job's error."""
    row = tx.get(TemplateOnStore, row_id)
    if row is None or row.state != "Ready":
        raise Failed(f"The copy failed: {(row.error if row is not None else None) or 'it was deleted meanwhile'}")
