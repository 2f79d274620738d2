"""A snapshot into another zone: with every file on which it stands, as far as that is not there already."""

from __future__ import annotations

import logging
from uuid import UUID

from sqlalchemy import delete as delete_rows
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.db import now, write
from mgmt_server.errors import ApiError, InvalidValue, Unavailable
from mgmt_server.jobs import Job
from mgmt_server.model.snapshot import STATES, Snapshot, SnapshotOnStore
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.zone import Zone
from mgmt_server.resources.snapshot import files
from mgmt_server.resources.snapshot.files import Copied, OnStore
from mgmt_server.resources.snapshot.rows import copies_of
from mgmt_server.resources.template.flows import stores_of

log = logging.getLogger("cloudwright.snapshot")


def copy(job: Job, snapshot_id: int, zone_id: int, source: int | None) -> None:
    """Copy a snapshot to a zone, from one of the zones that have it."""
    orders = job.write(begin, snapshot_id, zone_id, source, undo=abandon)
    for order in orders:
        job.call(files.copy, order, undo=uncopy)
    job.write(copied, snapshot_id, orders)


def begin(tx: Session, snapshot_id: int, zone_id: int, source: int | None) -> list[Copied]:
    """BackedUp -> Copying: the files to copy, those first on which others stand."""
    snapshot = tx.get_one(Snapshot, snapshot_id)
    if snapshot.removed is not None or snapshot.state != "BackedUp":
        raise InvalidValue(f"The snapshot {snapshot.name} is {snapshot.state}: only one that is BackedUp can be copied")
    STATES.move(tx, snapshot_id, "BackedUp", "Copying", state_changed=now())
    if copies_of(tx, snapshot_id, zone_id):
        return []
    stores = stores_of(tx, zone_id)
    if not stores:
        name = tx.get_one(Zone, zone_id).name
        raise InvalidValue(f"the zone {name} has no secondary storage that can be written to and has room")
    origins = copies_of(tx, snapshot_id, source)
    if not origins:
        raise Unavailable(f"The snapshot {snapshot.name} is on no secondary storage of that zone")
    return _orders(tx, snapshot, _down(tx, origins[0]), stores[0], zone_id)


def _down(tx: Session, row: SnapshotOnStore) -> list[SnapshotOnStore]:
    """The file and those on which it stands, the lowest first."""
    found = [row]
    while found[-1].parent_id is not None:
        found.append(tx.get_one(SnapshotOnStore, found[-1].parent_id))
    return found[::-1]


def _orders(
    tx: Session, snapshot: Snapshot, chain: list[SnapshotOnStore], store: ImageStore, zone_id: int
) -> list[Copied]:
    found, below = [], None
    for origin in chain:
        mine = select(SnapshotOnStore).where(
            SnapshotOnStore.snapshot_id == origin.snapshot_id, SnapshotOnStore.store_id == store.id
        )
        row = tx.scalar(mine.with_for_update())
        if row is not None and row.state not in ("Ready", "Hidden"):
            raise Unavailable(f"{row.path} is just being deleted from {store.name}: try again in a moment")
        if row is None:
            row = SnapshotOnStore(
                snapshot_id=origin.snapshot_id,
                store_id=store.id,
                zone_id=zone_id,
                parent_id=below,
                path=origin.path,
                size=origin.size,
                physical_size=0,
            )
            tx.add(row)
            tx.flush()
            there = tx.get_one(ImageStore, origin.store_id).url
            found.append(
                Copied(
                    OnStore(origin.id, snapshot.hypervisor, there, origin.path),
                    OnStore(row.id, snapshot.hypervisor, store.url, row.path),
                )
            )
        elif origin.snapshot_id == snapshot.id:
            row.state = "Ready"  # it was there for another one to stand on
        below = row.id
    return found


def uncopy(call: UUID, order: Copied) -> None:
    """Undo of `files.copy`. What the store does not give up now keeps its row, and is swept later."""
    try:
        files.uncopy(call, order)
    except ApiError as error:
        log.warning("%s stays on %s for now: %s", order.target.path, order.target.store, error)
        write(left, order.target.id)


def left(tx: Session, number: int) -> None:
    """A file that is to go. It stands on none for that: those below it may go before."""
    mine = update(SnapshotOnStore).where(SnapshotOnStore.id == number, SnapshotOnStore.state == "Creating")
    tx.execute(mine.values(state="Destroying", parent_id=None).execution_options(synchronize_session=False))


def abandon(tx: Session, snapshot_id: int, zone_id: int, source: int | None) -> None:
    """Undo of `begin`: what has not been copied is forgotten."""
    snapshot = tx.get_one(Snapshot, snapshot_id)
    mine = (
        select(SnapshotOnStore.id)
        .join(Snapshot, Snapshot.id == SnapshotOnStore.snapshot_id)
        .where(
            Snapshot.volume_id == snapshot.volume_id,
            Snapshot.state.not_in(("Allocated", "CreatedOnPrimary", "BackingUp")),
            SnapshotOnStore.zone_id == zone_id,
            SnapshotOnStore.state == "Creating",
        )
    )
    for number in list(tx.scalars(mine.order_by(SnapshotOnStore.id.desc()))):
        tx.execute(delete_rows(SnapshotOnStore).where(SnapshotOnStore.id == number))
    if snapshot.state == "Copying":
        STATES.move(tx, snapshot_id, "Copying", "BackedUp", state_changed=now())


def copied(tx: Session, snapshot_id: int, orders: list[Copied]) -> None:
    """Copying -> BackedUp. Files that only carry it are hidden."""
    for order in orders:
        row = tx.get_one(SnapshotOnStore, order.target.id)
        origin = tx.get_one(SnapshotOnStore, order.source.id)
        row.state = "Ready" if row.snapshot_id == snapshot_id else "Hidden"
        row.size, row.physical_size = origin.size, origin.physical_size
        counted.file_comes(tx, tx.get_one(Snapshot, row.snapshot_id), row.physical_size)
    tx.flush()
    STATES.move(tx, snapshot_id, "Copying", "BackedUp", state_changed=now())
