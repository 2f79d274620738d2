"""Whether there are annotations on a row: for the field of that name in the views of all that may have some."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api.view import only
from mgmt_server.model.event import Annotation
from mgmt_server.model.tenancy import ADMIN


def has_annotations(kind: str, uuid: Any) -> Any:
    """A field: whether one is on the row with this uuid. Those for administrators count for administrators alone."""
    on_it = select(Annotation.id).where(
        Annotation.entity_type == kind, Annotation.entity_uuid == uuid, Annotation.removed.is_(None)
    )
    of = uuid.class_.__table__
    every, public = on_it.correlate(of).exists(), on_it.where(~Annotation.admins_only).correlate(of).exists()
    return only(ADMIN, every, others=public)
