"""Where details are: in the column of that name for what has one, where they take effect; in a table of their own for
what has none, and for those that are not to be shown."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String, cast, delete, select
from sqlalchemy.orm import Session

from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.event import ResourceDetail
from mgmt_server.resources.tag.kinds import DETAILED, owner_of

MOST = 100  # details of one resource
# kept among a machine's details, and nobody's business
INTERNAL = frozenset({"boot_arguments", "deployment_planner", "most_cpus", "most_memory"})


def add(job: Job, _: int, kind: str, uuid: str, details: dict[str, str], display: bool) -> None:
    job.write(put, kind, uuid, details, display)


def remove(job: Job, _: int, kind: str, uuid: str, key: str | None) -> None:
    job.write(take, kind, uuid, key)


def put(tx: Session, kind: str, uuid: str, details: dict[str, str], display: bool) -> None:
    row = _held(tx, kind, uuid)
    in_table = _rows(kind, uuid)
    tx.execute(delete(ResourceDetail).where(*in_table, ResourceDetail.key.in_(list(details))))
    column = getattr(row, "details", None)
    if column is not None:
        kept = {k: v for k, v in column.items() if k not in details}
        row.details = kept | (details if display else {})
    if column is None or not display:
        account, domain = owner_of(tx, row)
        for key, value in details.items():
            tx.add(ResourceDetail(resource_type=kind, resource_uuid=uuid, key=key, value=value, display=display,
                                  account_id=account, domain_id=domain))  # fmt: skip
    tx.flush()
    count = len(of_row(tx, kind, row))
    if count > MOST:
        raise InvalidValue(f"the {kind} {uuid} would have {count} details: at most {MOST} fit on one resource")


def take(tx: Session, kind: str, uuid: str, key: str | None) -> None:
    row = _held(tx, kind, uuid)
    mine = delete(ResourceDetail).where(*_rows(kind, uuid))
    tx.execute(mine if key is None else mine.where(ResourceDetail.key == key))
    column = getattr(row, "details", None)
    if column:
        row.details = {k: v for k, v in column.items() if k in INTERNAL or (key is not None and k != key)}


def of_row(session: Session, kind: str, row: Any) -> list[tuple[str, str, bool]]:
    """(key, value, whether it is shown) of all details of a row, by key."""
    column = getattr(row, "details", None) or {}
    found = [(k, str(v), True) for k, v in column.items() if k not in INTERNAL]
    noted = select(ResourceDetail.key, ResourceDetail.value, ResourceDetail.display).where(*_rows(kind, row.uuid))
    found += [(k, v, shown) for k, v, shown in session.execute(noted)]
    return sorted(found)


def having_some(kind: str) -> Any:
    """Which rows of a kind have details."""
    table = DETAILED[kind].table
    noted = table.uuid.in_(select(ResourceDetail.resource_uuid).where(ResourceDetail.resource_type == kind))
    return noted | (cast(table.details, String).not_in(("{}", "null"))) if hasattr(table, "details") else noted


def _rows(kind: str, uuid: str) -> tuple[Any, ...]:
    return ResourceDetail.resource_type == kind, ResourceDetail.resource_uuid == uuid


def _held(tx: Session, kind: str, uuid: str) -> Any:
    """The row, held until the transaction ends: its details are one value."""
    table = DETAILED[kind].table
    row = tx.scalar(select(table).where(table.uuid == uuid, DETAILED[kind].there()).with_for_update())
    if row is None:
        raise InvalidValue(f"the {kind} {uuid} was deleted meanwhile: it has no details any more")
    return row
