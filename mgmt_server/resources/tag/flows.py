"""Tags are written and taken away in one step for all the resources that a call names."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server.db import changed
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.event import Tag
from mgmt_server.resources.tag.kinds import TAGGED, owner_of

MOST = 100  # tags on one resource


def create(job: Job, _: int, kind: str, uuids: list[str], tags: list[tuple[str, str]], customer: str | None) -> None:
    job.write(put, kind, uuids, tags, customer)


def remove(job: Job, _: int, kind: str, uuids: list[str], tags: list[tuple[str, str | None]]) -> None:
    job.write(take, kind, uuids, tags)


def put(tx: Session, kind: str, uuids: list[str], tags: list[tuple[str, str]], customer: str | None) -> None:
    table = TAGGED[kind].table
    for uuid in uuids:
        row = tx.scalar(select(table).where(table.uuid == uuid, TAGGED[kind].there()))
        if row is None:
            raise InvalidValue(f"the {kind} {uuid} was deleted meanwhile: nothing was tagged")
        account, domain = owner_of(tx, row)
        for key, value in tags:
            tag = Tag(resource_type=kind, resource_uuid=uuid, key=key, value=value, customer=customer,
                      account_id=account, domain_id=domain)  # fmt: skip
            try:
                with tx.begin_nested():
                    tx.add(tag)
            except IntegrityError:
                raise InvalidValue(f"the {kind} {uuid} has a tag {key} already: delete that one first") from None
        count = tx.scalar(select(func.count()).where(Tag.resource_uuid == uuid)) or 0
        if count > MOST:
            raise InvalidValue(f"the {kind} {uuid} would have {count} tags: at most {MOST} fit on one resource")


def take(tx: Session, kind: str, uuids: list[str], tags: list[tuple[str, str | None]]) -> None:
    gone = 0
    mine = delete(Tag).where(Tag.resource_type == kind, Tag.resource_uuid.in_(uuids))
    for key, value in tags:
        those = mine.where(Tag.key == key)
        gone += changed(tx.execute(those if value is None else those.where(Tag.value == value)))
    if not tags:
        gone = changed(tx.execute(mine))
    if not gone:
        raise InvalidValue("none of these resources has such a tag: listTags tells which there are")
