"""From a call to its answer, and from the end of a job to what queryAsyncJobResult says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy.orm import Session

from mgmt_server.api.callers import by_user
from mgmt_server.api.command import Command, call, registry
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.db import Base, reading, write
from mgmt_server.db.prepared import put
from mgmt_server.errors import ApiError
from mgmt_server.jobs import Accepted
from mgmt_server.jobs.flow import endings
from mgmt_server.jobs.queue import beginnings
from mgmt_server.jobs.rows import JobRow
from mgmt_server.model.event import Event
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import Caller

EXPOSED = Setting(
    "expose.errors.to.user",
    "Whether all users read why something failed as root administrators do: with hosts and pools",
)


def answer(
    caller: Caller, asked: Command, sent: Mapping[str, str], correlation: str = "", simulator: bool = False
) -> dict[str, Any]:
    """What stands under the response's name. Raises ApiError, which names hosts and pools to whoever may know them."""
    try:
        return _answer(caller, asked, sent, correlation, simulator)
    except ApiError as failure:
        if failure.inventory and (caller.is_root or EXPOSED.flag()):
            failure.args = (failure.inventory,)
        raise


def _answer(
    caller: Caller, asked: Command, sent: Mapping[str, str], correlation: str, simulator: bool
) -> dict[str, Any]:
    if asked.reads:
        with reading() as session:
            ctx, result = call(caller, session, asked, sent, correlation, simulator)
            return _body(ctx, session, result)

    def change(tx: Session) -> dict[str, Any]:
        ctx, result = call(caller, tx, asked, sent, correlation, simulator)
        tx.flush()
        if asked.event and not asked.is_async:
            ctx.event(asked.event, result if isinstance(result, Base) else ctx.subject)
        return _body(ctx, tx, result)

    return write(change)


def _body(ctx: Context, session: Session, result: Any) -> dict[str, Any]:
    asked = ctx.command
    if isinstance(result, Rows):
        count, found = result.page(ctx, session)
        if not count:
            return {}
        return {"count": count, result.view.key: found} if found else {"count": count}
    if isinstance(result, Accepted):
        return {"id": result.entity, "jobid": result.job} if asked.creates else {"jobid": result.job}
    if isinstance(result, Base):
        if asked.answers is None:
            raise TypeError(f"{asked.name} returns an entity and has no view")
        return _one(asked, asked.answers.one(session, ctx.caller, result.id))
    if isinstance(result, list):
        return {"count": len(result), asked.key: result} if result else {}
    if isinstance(result, dict):
        return {asked.key: result} if asked.key else result
    return {"success": True, "displaytext": result} if isinstance(result, str) else {"success": True}


def _one(asked: Command, found: dict[str, Any]) -> dict[str, Any]:
    return {"count": 1, asked.key: [found]} if asked.one_in_list else {asked.key: found}


def told(tx: Session, row: JobRow, state: str) -> dict[str, Any] | None:
    """The answer of a job, made in the transaction that ends it, and the event of its end."""
    if row.event:
        _tell(tx, row, state)
    if state == "failed":
        return {"errorcode": row.error_code, "errortext": row.error}
    asked = registry.get(row.answers or "")
    if asked is None or asked.answers is None or row.user_id is None:
        return {"success": True}
    known = by_user(row.user_id, tx)
    answered = known and asked.answers.by_uuid(tx, known.caller, row.instance_uuid)
    if not answered:
        return {"success": True}
    if row.note:
        answered.update(orjson.loads(row.note))
    answered.pop("jobid", None)
    answered.pop("jobstatus", None)
    return _one(asked, answered)


def begun(tx: Session, row: JobRow) -> None:
    """The event of a job's begin, where its call told that it was scheduled."""
    if row.event and row.event["start"] is not None:
        _put(tx, row, row.event["description"], state="Started")


def _tell(tx: Session, row: JobRow, state: str) -> None:
    event = row.event or {}
    done = state == "done"
    text = f"Successfully completed: {event['description']}" if done else f"Error: {event['description']}: {row.error}"
    _put(tx, row, text, state="Completed", level="INFO" if done else "ERROR")


def _put(tx: Session, row: JobRow, text: str, *, state: str, level: str = "INFO") -> None:
    event = row.event or {}
    put(
        tx,
        Event,
        type=event["type"],
        level=level,
        state=state,
        description=text[:1024],
        user_id=row.user_id,
        account_id=row.account_id,
        domain_id=row.domain_id,
        start_id=event["start"],
        resource_type=row.instance_type,
        resource_uuid=row.instance_uuid,
        correlation=row.correlation,
    )


if told not in endings:
    endings.append(told)
    beginnings.append(begun)
