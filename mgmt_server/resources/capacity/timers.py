"""Figures of hosts and pools that are not what is on them are put right, and told of; pools follow their factor."""

from __future__ import annotations

import logging

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import recount
from mgmt_server.allocation.recount import Repair
from mgmt_server.db import reading, write
from mgmt_server.jobs.worker import every
from mgmt_server.model.event import Alert
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import Pool
from mgmt_server.resources.storage import recount as pools
from mgmt_server.resources.storage.settings import FACTOR

log = logging.getLogger("cloudwright.capacity")
PERIOD = Setting(
    "capacity.check.period", "Milliseconds between two recounts of what hosts and pools have promised; 0: none", least=0
)
ALERT = (22, "ALERT.RESOURCE.COUNT")
TOLD = 20  # of them that an alert names


@every(lambda: PERIOD.number() / 1000, "capacity of hosts and pools")
def check() -> None:
    repairs = recount.repair_all()
    if repairs:
        write(_tell, "hosts", [_told(r) for r in repairs])
    promises = pools.repair_all()
    if promises:
        write(_tell, "pools", [f"{r.name}: {r.told} bytes promised instead of {r.real}" for r in promises])


def _tell(tx: Session, what: str, told: list[str]) -> None:
    text = f"The figures of {len(told)} {what} were wrong and have been put right"
    content = "; ".join(told[:TOLD]) + (f", and {len(told) - TOLD} more" if len(told) > TOLD else "")
    log.warning("%s: %s", text, content)
    tx.add(Alert(type=ALERT[0], name=ALERT[1], subject=text, content=content))


def _told(repair: Repair) -> str:
    names = ("MHz", "bytes", "machines")
    parts = zip(names, repair.told, repair.real, strict=True)
    return f"{repair.name}: " + ", ".join(f"{was} {name} instead of {now}" for name, was, now in parts if was != now)


@every(15, "factors of pools")
def factors() -> None:
    """Apply storage.overprovisioning.factor where it was changed since."""
    with reading() as session:
        rows = session.execute(select(Pool.id, Pool.zone_id, Pool.overprovision).where(Pool.removed.is_(None))).all()
    for number, zone, factor in rows:
        wanted = FACTOR.fraction(Scope("StoragePool", number), Scope("Zone", zone)) or 1.0
        if wanted != factor:
            write(_set_factor, number, wanted)


def _set_factor(tx: Session, number: int, factor: float) -> None:
    change = update(Pool).where(Pool.id == number).values(overprovision=factor)
    tx.execute(change.execution_options(synchronize_session=False))
