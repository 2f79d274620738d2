"""Where templates are known and where their images stand, as rows."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template, TemplateInZone
from mgmt_server.resources.template.direct import SIMULATED_SIZE
from mgmt_server.resources.template.sound import kept_as


def folder(template: Template) -> str:
    """Where a template's image stands below a store."""
    return f"template/tmpl/{template.account_id}/{template.id}"


def in_zone(tx: Session, template: Template, zone_id: int, *, again: bool = False) -> bool:
    """Have an entry for the template in the zone. One that was deleted there stays so unless `again`."""
    mine = TemplateInZone.template_id == template.id, TemplateInZone.zone_id == zone_id
    found = tx.scalar(select(TemplateInZone).where(*mine))
    if found is not None:
        found.removed = None if again else found.removed
        return found.removed is None
    row = TemplateInZone(
        template_id=template.id, zone_id=zone_id, account_id=template.account_id, domain_id=template.domain_id
    )
    add(tx, row)
    return True


def on_store(tx: Session, template: Template, store: ImageStore, zone_id: int, state: str) -> TemplateOnStore | None:
    """The new row of a template on a store; None when there is one already."""
    mine = TemplateOnStore.template_id == template.id, TemplateOnStore.store_id == store.id
    if tx.scalar(select(TemplateOnStore.id).where(*mine)) is not None:
        return None
    size = template.size or SIMULATED_SIZE
    ready = state == "Ready"
    row = TemplateOnStore(
        template_id=template.id,
        store_id=store.id,
        zone_id=zone_id,
        state=state,
        path=f"{folder(template)}/{template.uuid}.{kept_as(template.hypervisor, template.format).lower()}",
        size=size if ready else 0,
        physical_size=size if ready else 0,
        progress=100 if ready else 0,
    )
    if not add(tx, row):
        return None
    counted.image_comes(tx, template, row.physical_size)
    return row


def add(tx: Session, row: TemplateInZone | TemplateOnStore) -> bool:
    """Add a row unless another call did so meanwhile: whether this one did."""
    try:
        with tx.begin_nested():
            tx.add(row)
    except IntegrityError:
        return False
    return True


def elsewhere(tx: Session, template: Template, zone_id: int | None = None) -> TemplateOnStore | None:
    """A ready image of the template, in the given zone if there is one."""
    rows = select(TemplateOnStore).join(ImageStore, ImageStore.id == TemplateOnStore.store_id)
    rows = rows.where(
        TemplateOnStore.template_id == template.id, TemplateOnStore.state == "Ready", ImageStore.removed.is_(None)
    )
    return tx.scalar(rows.order_by(TemplateOnStore.zone_id != (zone_id or 0), TemplateOnStore.id).limit(1))
