"""Looks for what stands between two states with no job at it, and has it repaired."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import cache_of_rows, reading, write
from mgmt_server.jobs import enqueue
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import every
from mgmt_server.model.host import Host
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.transfer import UploadTicket
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.reconcile import images
from mgmt_server.resources.reconcile.rules import RESOURCES, RULES, Rule

PERIOD = 20  # seconds
PATIENCE = 40.0  # seconds for which something stands there before it is touched: a job may be about to be queued
AGAIN = 100.0  # seconds until one that could not be repaired, because its host does not answer, is tried anew
AT_ONCE = 50

_seen: dict[tuple[str, int, str], float] = {}


@cache_of_rows
def forget() -> None:
    _seen.clear()


@every(PERIOD, "reconcile")
def look(patience: float = PATIENCE) -> None:
    """Two looks at least, so that what moves is not touched."""
    found: dict[tuple[str, int, str], Rule] = {}
    with reading() as session:
        for rule in (*RULES, RESOURCES):
            column = Host.resource_state if rule is RESOURCES else rule.table.state
            rows = select(rule.table.id, column).where(column.in_(rule.states), rule.table.removed.is_(None))
            for number, state in session.execute(rows.order_by(rule.table.id).limit(500)):
                found[rule.table.__tablename__, number, state] = rule
    moment = time.monotonic()
    for gone in _seen.keys() - found.keys():
        del _seen[gone]
    late = [(key, rule) for key, rule in found.items() if _seen.setdefault(key, moment) <= moment - patience]
    for key, rule in late[:AT_ONCE]:
        if write(_repair, rule, key[1], key[2]):
            _seen[key] = moment + AGAIN - patience


def _repair(tx: Session, rule: Rule, number: int, state: str) -> bool:
    """Queue the repair, unless a job works on it: under one of its locks, or about it."""
    row = tx.get(rule.table, number)
    if row is None or row.removed is not None or _left_to_others(tx, row):
        return False
    locks = rule.locks(tx, row)
    at_it = JobRow.lock.in_(locks) | JobRow.instance_uuid.in_(_uuids(tx, row))
    if tx.scalar(select(JobRow.id).where(JobRow.state.in_(OPEN), at_it).limit(1)) is not None:
        return False
    enqueue(tx, rule.repair, (number, state), lock=locks[0])
    return True


def _uuids(tx: Session, row: Any) -> list[str]:
    """Whom jobs on the row may be about."""
    template = tx.get(Template, row.template_id) if isinstance(row, TemplateOnStore) else None
    return [row.uuid] if template is None else [row.uuid, template.uuid]


def _left_to_others(tx: Session, row: Any) -> bool:
    """A disk goes with its machine while that itself stands between two states; an image that a form may send waits for
    whom it comes from."""
    if isinstance(row, TemplateOnStore):
        return images.waits(tx, row)
    if isinstance(row, Volume) and row.state == "UploadOp":
        mine = select(UploadTicket.id).where(UploadTicket.subject == row.uuid, UploadTicket.removed.is_(None))
        return tx.scalar(mine.limit(1)) is not None
    if not isinstance(row, Volume) or row.vm_id is None:
        return False
    vm = tx.get(Vm, row.vm_id)
    return vm is not None and vm.state in ("Starting", "Migrating", "Expunging")
