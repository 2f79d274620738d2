"""Whether there are annotations on a row: for the field of that name in the views of all that may have some."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api.view import only
from mgmt_server.model.event import Annotation
from mgmt_server.model.tenancy import ADMIN


def has_annotations(kind: str, uuid: Any) -> Any:
    """A field: whether one is on the row with this uuid. Those for administrators count for administrators alone."""
    return only(ADMIN, is_annotated(kind, uuid), others=is_annotated(kind, uuid, ~Annotation.admins_only))


def is_annotated(kind: str, uuid: Any, *which: Any) -> Any:
    """A column: whether there is an annotation on the row with this uuid, of those that meet `which`."""
    on_it = select(Annotation.id).where(
        Annotation.entity_type == kind, Annotation.entity_uuid == uuid, Annotation.removed.is_(None), *which
    )
    return on_it.correlate(uuid.class_.__table__).exists()
