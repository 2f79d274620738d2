"""What expires: links to images with the files that were made for them, and tickets that nobody used."""

from __future__ import annotations

import logging
from uuid import uuid4

from sqlalchemy import select

from mgmt_server.db import now, reading
from mgmt_server.errors import ApiError
from mgmt_server.jobs.worker import every
from mgmt_server.model.settings import Setting
from mgmt_server.model.transfer import ExtractLink
from mgmt_server.resources.transfer import flows, tickets

log = logging.getLogger("cloudwright.transfer")
CLEANUP = Setting(
    "extract.url.cleanup.interval", "Seconds between two looks for links that have expired, and their files", least=1
)
MONITOR = Setting("upload.monitoring.interval", "Seconds between two looks for uploads that never came", least=1)


@every(CLEANUP.number, "links that have expired")
def clean_up() -> None:
    """Remove expired links, and what was made for them. A store that does not answer is asked again next time."""
    with reading() as session:
        expired = select(ExtractLink.id).where(ExtractLink.expires <= now(), ExtractLink.removed.is_(None))
        found = list(session.scalars(expired.order_by(ExtractLink.id).limit(500)))
    for number in found:
        try:
            flows.end_link(uuid4(), number)
        except ApiError as error:
            log.info("the file of an expired link stays for now: %s", error)


@every(MONITOR.number, "uploads that never came")
def abandon_uploads() -> None:
    tickets.abandon_expired(now())
