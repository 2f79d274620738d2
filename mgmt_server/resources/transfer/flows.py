"""How a link goes, with the file that was made for it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import now, reading, write
from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.storage import simulator
from mgmt_server.jobs import Job
from mgmt_server.model.simulator import SimulatedFile
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.transfer import ExtractLink


@dataclass(frozen=True)
class StoredFile:
    """A file on a store, by the store's URL. A simulated one is no file."""

    store: str
    path: str
    simulated: bool = False


def end(job: Job, link_id: int) -> None:
    job.call(end_link, link_id)


def end_link(call: UUID, link_id: int) -> None:
    """A link goes, and its file if it was made for it and no other link leads there. Unavailable: later."""
    with reading() as session:
        file = _own_file(session, link_id)
    if file is not None:
        take_away(call, file)
    write(_forget, link_id)


def take_away(call: UUID, file: StoredFile) -> None:
    """A file off its store. One that is not there is fine. Raises Unavailable when the store does not answer."""
    if file.simulated:
        write(simulator.remove, file.store, file.path)
    else:
        nfs.remove(file.store, file.path)


def is_simulated(session: Session, store: str, path: str) -> bool:
    rows = select(SimulatedFile.id).where(SimulatedFile.place == simulator.place_of(store), SimulatedFile.name == path)
    return session.scalar(rows) is not None


def _own_file(session: Session, link_id: int) -> StoredFile | None:
    rows = select(ExtractLink.path, ImageStore.url).join(ImageStore, ImageStore.id == ExtractLink.store_id)
    mine = rows.where(ExtractLink.id == link_id, ExtractLink.temporary, ImageStore.removed.is_(None))
    found = session.execute(mine.where(ExtractLink.removed.is_(None))).first()
    if found is None:
        return None
    others = select(ExtractLink.id).where(
        ExtractLink.path == found.path, ExtractLink.id != link_id, ExtractLink.removed.is_(None)
    )
    if session.scalar(others.where(ExtractLink.expires > now()).limit(1)) is not None:
        return None
    return StoredFile(found.url, found.path, is_simulated(session, found.url, found.path))


def _forget(tx: Session, link_id: int) -> None:
    mine = update(ExtractLink).where(ExtractLink.id == link_id)
    tx.execute(mine.values(removed=now(), state="Expired").execution_options(synchronize_session=False))
