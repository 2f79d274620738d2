"""What becomes of downloads, as events of the template's account."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.model.event import Event
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import Template


def tell(tx: Session, on_store_id: int, what: str, text: str) -> None:
    """Tell that the download of an image has what: START, SUCCESS or FAILED."""
    row = tx.get(TemplateOnStore, on_store_id)
    template = tx.get(Template, row.template_id) if row is not None else None
    if template is None:
        return
    iso = template.format == "ISO"
    tx.add(
        Event(
            type=f"TEMPLATE.DOWNLOAD.{what}",
            level="ERROR" if what == "FAILED" else "INFO",
            description=f"{'ISO' if iso else 'template'} {template.name}: {text}"[:1024],
            user_id=SYSTEM_USER,
            account_id=template.account_id,
            domain_id=template.domain_id,
            resource_type="Iso" if iso else "Template",
            resource_uuid=template.uuid,
        )
    )
