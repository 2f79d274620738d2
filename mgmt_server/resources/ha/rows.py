"""What is known of each host's life: its state, and the time-line of its last loss."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db import now
from mgmt_server.model.account import SYSTEM_ACCOUNT, SYSTEM_USER
from mgmt_server.model.event import Event
from mgmt_server.model.ha import STATES, HostHa
from mgmt_server.model.host import Host
from mgmt_server.resources.outofband.rows import above_lets

SWITCHED = "resourceHAEnabled"  # in the details of a cluster or zone: false switches it off for all of its hosts
AGAIN = "started again"


def row_of(tx: Session, host_id: int) -> HostHa | None:
    return tx.scalar(select(HostHa).where(HostHa.host_id == host_id, HostHa.removed.is_(None)))


def kept(tx: Session, host_id: int) -> HostHa:
    """The host's row, held until the transaction ends; made where there is none."""
    tx.get_one(Host, host_id, with_for_update=True)
    row = row_of(tx, host_id)
    if row is None:
        row = HostHa(host_id=host_id, timeline=[])
        tx.add(row)
        tx.flush()
    return row


def is_on(tx: Session, host: Host) -> bool:
    """Whether the host may be fenced: enabled for it, and not switched off for its cluster or zone."""
    row = row_of(tx, host.id)
    return row is not None and row.enabled and above_lets(tx, host, SWITCHED)


def note(row: HostHa, what: str, **more: Any) -> None:
    """Add to the time-line of this loss what has not been said last."""
    last = row.timeline[-1] if row.timeline else {}
    if last.get("what") != what or any(last.get(k) != v for k, v in more.items()):
        row.timeline = [*row.timeline[-49:], {"at": now().isoformat(timespec="milliseconds"), "what": what, **more}]


def lost(row: HostHa, since: str) -> None:
    """Begin a new time-line, unless this loss has one."""
    if not row.timeline or row.timeline[0].get("at") != since:
        row.timeline = [{"at": since, "what": "lost"}]


def move(tx: Session, host: Host, row: HostHa, after: str, why: str = "") -> None:
    """Move the state of a host with HA along allowed moves. Every change is an event."""
    if not row.enabled or row.state == after:
        return
    path = _path(row.state, after)
    if path is None:
        return
    for before, next_ in zip([row.state, *path], path, strict=False):
        STATES.move(tx, row.id, before, next_, changed=now())
    text = f"host {host.name} went from {row.state} to {after}{': ' if why else ''}{why}"
    tx.add(
        Event(
            type="HA.STATE.TRANSITION", description=text[:1024], user_id=SYSTEM_USER, account_id=SYSTEM_ACCOUNT,
            domain_id=1, resource_type="Host", resource_uuid=host.uuid,
        )
    )  # fmt: skip
    tx.flush()
    tx.refresh(row)


def _path(before: str, after: str) -> list[str] | None:
    """The shortest way of allowed moves; switching off is never on the way."""
    ways: list[list[str]] = [[before]]
    seen = {before}
    while ways:
        way = ways.pop(0)
        for following in STATES.moves.get(way[-1], []):
            if following == after:
                return [*way[1:], after]
            if following not in seen and following != "Disabled":
                seen.add(following)
                ways.append([*way, following])
    return None


def count_restart(tx: Session, host_id: int) -> None:
    """One more guest of a lost host runs again."""
    if row_of(tx, host_id) is None:
        return
    row = kept(tx, host_id)
    if not any(e["what"] == "released" for e in row.timeline):
        return  # its host lives: the guest died alone
    old = [e for e in row.timeline if e["what"] == AGAIN]
    count = (old[-1]["guests"] if old else 0) + 1
    at = now().isoformat(timespec="milliseconds")
    others = [e for e in row.timeline if e["what"] != AGAIN]
    row.timeline = [*others, {"at": at, "what": AGAIN, "guests": count}]
