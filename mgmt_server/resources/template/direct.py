"""Direct download: templates and ISOs that are on no secondary storage. Hosts fetch them from where they come from."""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mgmt_server.db import reading
from mgmt_server.drivers.image.inspect import inspect_beginning
from mgmt_server.errors import ApiError, Failed, InvalidValue
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import DownloadCertificate, Template
from mgmt_server.protocol.download import Limits, peek
from mgmt_server.resources.template.bring import FOLLOWED, GIB, INSIDE, LARGEST, Brought, Order, tried
from mgmt_server.resources.template.sound import PACKED
from mgmt_server.resources.template.stored import authorities_of

FORMATS = ("QCOW2", "RAW", "ISO")  # what hosts take as it is, and whose beginning tells what it is
SIMULATED_SIZE = 5 * 2**20  # bytes of a simulated image, of which nothing is known


def check(format: str) -> None:
    """Refuse a format that hosts would have to convert."""
    if format not in FORMATS:
        raise InvalidValue(
            f"directdownload=true takes the formats {', '.join(FORMATS)}, which hosts use as they are: register "
            f"{format} without it, then it is converted"
        )


def refuse(template: Template, done: str) -> None:
    """Refuse what needs an image on secondary storage."""
    if template.direct_download:
        raise InvalidValue(
            f"{template.name} cannot be {done}: it is on no secondary storage, since hosts fetch it from its URL "
            "(directdownload). Use that URL"
        )


def have(tx: Session, template: Template, zone_id: int, simulated: bool) -> int | None:
    """Have a template usable in a zone: the row of the image whose URL has to be looked at first. Simulated hosts
    fetch nothing, and there it is usable at once."""
    mine = TemplateOnStore.template_id == template.id, TemplateOnStore.zone_id == zone_id
    if tx.scalar(select(TemplateOnStore.id).where(*mine)) is not None:
        return None
    row = TemplateOnStore(template_id=template.id, store_id=None, zone_id=zone_id)
    tx.add(row)
    if simulated:
        row.state, row.progress, row.size = "Ready", 100, template.size or SIMULATED_SIZE
        return None
    tx.flush()
    return row.id


def zone_goes(tx: Session, zone_id: int) -> None:
    """Nothing can be fetched in a zone that is deleted."""
    tx.execute(delete(TemplateOnStore).where(TemplateOnStore.zone_id == zone_id, TemplateOnStore.store_id.is_(None)))
    tx.execute(delete(DownloadCertificate).where(DownloadCertificate.zone_id == zone_id))


def look(call: UUID, order: Order) -> Brought:
    """What the beginning of the image tells. It takes no room on secondary storage."""
    try:
        return Brought(size=_look(order), checksum=order.checksum)
    except ApiError as error:
        return Brought(error=str(error))


def _look(order: Order) -> int:
    largest = LARGEST.number() * GIB
    with reading() as session:
        row = session.get_one(TemplateOnStore, order.on_store)
        trusted = tuple(a.certificate for a in authorities_of(session, row.zone_id))
    limits = Limits(allowed=tuple(INSIDE.words()), authorities=trusted, redirects=FOLLOWED.flag())
    begun = tried(order, lambda: peek(order.url, limits))
    if begun.size > largest:
        raise Failed(f"it has {begun.size} bytes: at most {largest} are fetched (setting {LARGEST.name})")
    if any(begun.content.startswith(magic) for magic, _ in PACKED):
        raise Failed("the file is packed, and hosts take it as it is: register it unpacked, or without directdownload")
    if order.format != "QCOW2" and not begun.size:
        raise Failed("its server does not tell how large it is: register it without directdownload")
    with tempfile.NamedTemporaryFile(prefix="cloudwright-look-") as file:
        file.write(begun.content)
        file.flush()
        return inspect_beginning(Path(file.name), order.format, begun.size, largest)
