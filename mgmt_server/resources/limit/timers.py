"""Counts that are not what is there are put right, and told of."""

from __future__ import annotations

import logging

from sqlalchemy.orm import Session

from mgmt_server.db import reading, write
from mgmt_server.jobs.worker import every
from mgmt_server.model.event import Alert
from mgmt_server.model.settings import Setting
from mgmt_server.resources.limit import recount
from mgmt_server.resources.limit.recount import Repair

log = logging.getLogger("cloudwright.limits")
INTERVAL = Setting(
    "resourcecount.check.interval",
    "Seconds between two recounts of what counts against limits; 0: counted anew by updateResourceCount alone",
    least=0,
)
ALERT = (22, "ALERT.RESOURCE.COUNT")
TOLD = 20  # repairs that an alert names


@every(lambda: float(INTERVAL.number()), "resource counts")
def check() -> None:
    """Look without locks; count only those anew, locked, who seem wrong."""
    with reading() as session:
        accounts, domains = recount.wrong(session)
    repairs = recount.repair_all(accounts, domains)
    if repairs:
        write(_tell, [_told(r) for r in repairs])


def _tell(tx: Session, told: list[str]) -> None:
    text = f"{len(told)} resource counts were wrong and have been put right"
    content = "; ".join(told[:TOLD]) + (f", and {len(told) - TOLD} more" if len(told) > TOLD else "")
    log.warning("%s: %s", text, content)
    tx.add(Alert(type=ALERT[0], name=ALERT[1], subject=text, content=content))


def _told(repair: Repair) -> str:
    tag = f" with tag {repair.tag}" if repair.tag else ""
    return f"{repair.owner.key} {repair.type}{tag}: {repair.told} instead of {repair.real}"
