"""What was put on a resource goes with it, and belongs to whom it belongs: tags, details, annotations.

In one place, whichever way the resource went. Lists ask the resource itself, so nobody sees what waits for this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import write
from mgmt_server.jobs.worker import every
from mgmt_server.model.event import Annotation, ResourceDetail, Tag
from mgmt_server.resources.tag.kinds import ANNOTATED, DETAILED, TAGGED, Kind

AT_ONCE = 500
# table, its columns of kind and resource, kinds
PUT_ON: tuple[tuple[Any, Any, Any, Mapping[str, Kind]], ...] = (
    (Tag, Tag.resource_type, Tag.resource_uuid, TAGGED),
    (ResourceDetail, ResourceDetail.resource_type, ResourceDetail.resource_uuid, DETAILED),
    (Annotation, Annotation.entity_type, Annotation.entity_uuid, ANNOTATED),
)


@every(60, "tags, details and annotations of what is gone")
def follow() -> None:
    for table, kind_column, uuid_column, kinds in PUT_ON:
        for name, kind in kinds.items():
            mine = select(table.id).where(kind_column == name)
            while write(_forget, table, mine, uuid_column, kind) == AT_ONCE:
                pass
            if hasattr(kind.table, "account_id") and hasattr(kind.table, "domain_id"):
                write(_hand_over, table, mine, uuid_column, kind)


def _forget(tx: Session, table: Any, mine: Any, uuid_column: Any, kind: Kind) -> int:
    there = select(kind.table.id).where(kind.table.uuid == uuid_column, kind.there())
    ids = list(tx.scalars(mine.where(~there.correlate(table.__table__).exists()).limit(AT_ONCE)))
    if ids:
        tx.execute(delete(table).where(table.id.in_(ids)))
    return len(ids)


def _hand_over(tx: Session, table: Any, mine: Any, uuid_column: Any, kind: Kind) -> None:
    whose = select(table.id, kind.table.account_id, kind.table.domain_id).join(
        kind.table, kind.table.uuid == uuid_column
    )
    moved = or_(table.account_id != kind.table.account_id, table.domain_id != kind.table.domain_id)
    for number, account, domain in tx.execute(whose.where(table.id.in_(mine), moved).limit(AT_ONCE)).all():
        tx.execute(update(table).where(table.id == number).values(account_id=account, domain_id=domain))
