"""What accounts and domains have and may have: counted where things are made, read for a whole page at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from mgmt_server.allocation import limits
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.view import PerPage, View
from mgmt_server.db.prepared import among
from mgmt_server.model.limit import NO_LIMIT, TYPES, UNLIMITED, ResourceCount, most_of, used_of
from mgmt_server.model.tenancy import Caller
from mgmt_server.model.vm import Vm
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.limit.rows import FIELDS, account_key, domain_key, fields, of_owners

# what a cloud without backups, buckets and GPUs answers: clients look for these fields
ABSENT = {
    f"{name}{word}": value
    for name in ("backup", "backupstorage", "bucket", "gpu", "objectstorage")
    for word, value in (("limit", "Unlimited"), ("total", 0), ("available", "Unlimited"))
}
SAID = (*(f"{name}{word}" for name in FIELDS.values() for word in ("limit", "total", "available")), *ABSENT)
MACHINES = {"Running": "vmrunning", "Stopped": "vmstopped"}
NO_MACHINES = ABSENT | dict.fromkeys(MACHINES.values(), 0)
TAGGED = "taggedresources"


def _accounts(session: Session, _: Caller, numbers: list[int]) -> dict[int, dict[str, Any]]:
    have = of_owners(session, [account_key(n) for n in numbers])
    found = {n: NO_MACHINES | fields(have[account_key(n)]) for n in numbers}
    rows = select(Vm.account_id, Vm.state, func.count()).where(
        among(Vm.account_id, numbers), Vm.kind == "User", Vm.removed.is_(None), Vm.state.in_(MACHINES)
    )
    for number, state, count in session.execute(rows.group_by(Vm.account_id, Vm.state)):
        found[number][MACHINES[state]] = count
    return _with_tagged(session, ResourceCount.account_id, found)


def _domains(session: Session, _: Caller, numbers: list[int]) -> dict[int, dict[str, Any]]:
    have = of_owners(session, [domain_key(n) for n in numbers])
    return _with_tagged(session, ResourceCount.domain_id, {n: ABSENT | fields(have[domain_key(n)]) for n in numbers})


def _with_tagged(
    session: Session, owner: ColumnElement[int | None] | Any, found: dict[int, dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """What is counted apart by tags of hosts and storage; nothing is read where no tag is (limits.COUNTED_TAGS)."""
    if not any(setting.words() for setting in (limits.HOST_TAGS, limits.STORAGE_TAGS)):
        return found
    rows = select(owner, ResourceCount).where(owner.in_(found), ResourceCount.tag != "")
    for number, row in session.execute(rows.order_by(ResourceCount.tag)):
        used, most = used_of(row), most_of(row)
        for type in sorted(used.keys() | most.keys()):
            found[number].setdefault(TAGGED, []).append(_tagged(type, row.tag, used.get(type, 0), most.get(type)))
    return found


def _tagged(type: str, tag: str, used: int, most: int | None) -> dict[str, Any]:
    limit = UNLIMITED if most is None else limits.spoken(most, type)
    total = used // limits.unit_of(type)
    return {
        "resourcetype": TYPES[type][0],
        "resourcetypename": type,
        "tag": tag,
        "limit": limit,
        "total": total,
        "available": UNLIMITED if most is None or most >= NO_LIMIT else limit - total,
    }


of_accounts = PerPage((*SAID, *MACHINES.values(), TAGGED), _accounts)
of_domains = PerPage((*SAID, TAGGED), _domains)


@dataclass(frozen=True)
class _OfTag(Rows):
    """A list whose rows tell, of what is counted apart by tags, one tag alone."""

    tag: str = ""

    def page(self, ctx: Context, session: Session) -> tuple[int, list[dict[str, Any]]]:
        count, found = super().page(ctx, session)
        for answer in found:
            if TAGGED in answer:
                answer[TAGGED] = [one for one in answer[TAGGED] if one["tag"] == self.tag]
        return count, found


def rows(whole: View, brief: View, details: Iterable[str] | None, tag: str | None) -> Rows:
    """A list that tells as much as `details` asks for: min leaves out what owners have and may have."""
    wanted = {one_of("details", word, ("all", "resource", "min")) for word in details or ["all"]}
    view = brief if wanted == {"min"} else whole
    return _OfTag(view, tag=tag) if tag is not None else Rows(view)
