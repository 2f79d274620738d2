"""A drill: a host's power is cut, and what the running servers make of it is measured. Nothing here helps them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.db import now, reading
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.resources.ha import guests, rows
from mgmt_server.resources.outofband import rows as controllers

LOOK = 0.5  # seconds


@dataclass(frozen=True)
class Plan:
    host_id: int
    name: str
    guests: tuple[int, ...]  # that should run again


def plan(session: Session, name: str) -> Plan:
    """Raises InvalidValue or Failed with what keeps the drill from proving anything."""
    host = session.scalar(select(Host).where((Host.name == name) | (Host.uuid == name), Host.removed.is_(None)))
    if host is None:
        raise InvalidValue(f"there is no host {name[:100]}")
    if host.state != "Up" or host.resource_state != "Enabled":
        raise Failed(f"host {host.name} is {host.state} and {host.resource_state}: a drill needs one that works")
    if not rows.is_on(session, host):
        raise Failed(f"host {host.name} has no high availability: call configureHAForHost and enableHAForHost first")
    controllers.usable(session, host)
    others = select(func.count()).select_from(Host).where(
        Host.zone_id == host.zone_id, Host.id != host.id, Host.state == "Up", Host.removed.is_(None)
    )  # fmt: skip
    if not session.scalar(others):
        raise Failed(f"no other host of the zone is Up: nothing could start elsewhere when {host.name} is off")
    there = session.scalars(select(Vm).where(Vm.host_id == host.id, Vm.state == "Running", Vm.removed.is_(None)))
    return Plan(host.id, host.name, tuple(vm.id for vm in there if guests.wants(session, vm, host)))


def run(name: str, patience: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Cut the power, wait until all that should runs again, and switch it on: the time-line, in seconds."""
    with reading() as session:
        asked = plan(session, name)
    say(f"cutting the power of {asked.name}, on which {len(asked.guests)} guests are that should run again")
    began = now()
    controllers.act(uuid4(), asked.host_id, "OFF", 0)
    try:
        running = _watch(asked, began, patience, say)
    finally:
        controllers.act(uuid4(), asked.host_id, "ON", 0)
        say(f"the power of {asked.name} is on again")
    return {
        "host": asked.name,
        "guests": len(asked.guests),
        "running": running,
        "ok": running == len(asked.guests),
        "timeline": [{"seconds": 0.0, "what": "power cut"}, *_since(asked.host_id, began)],
    }


def _watch(asked: Plan, began: datetime, patience: float, say: Callable[[str], None]) -> int:
    until, told = time.monotonic() + patience, 0
    while True:
        entries = _since(asked.host_id, began)
        for entry in entries[told:]:
            say(f"{entry['seconds']:7.1f} s  {entry['what']}")
        told = max(told, len(entries))
        with reading() as session:
            back = select(func.count()).select_from(Vm).where(
                Vm.id.in_(asked.guests), Vm.state == "Running", Vm.host_id != asked.host_id
            )  # fmt: skip
            running = session.scalar(back) or 0
        over = any(e["what"] == "released" for e in entries)
        if (over and running == len(asked.guests)) or time.monotonic() > until:
            return running
        time.sleep(LOOK)


def _since(host_id: int, began: datetime) -> list[dict[str, Any]]:
    with reading() as session:
        row = rows.row_of(session, host_id)
        timeline = list(row.timeline) if row is not None else []
    found = []
    for entry in timeline:
        seconds = (datetime.fromisoformat(entry["at"]) - began).total_seconds()
        if seconds >= 0:
            rest = {k: v for k, v in entry.items() if k not in ("at", "what")}
            found.append({"seconds": round(seconds, 1), "what": entry["what"], **rest})
    return found
