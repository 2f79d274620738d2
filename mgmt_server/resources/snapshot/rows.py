"""Snapshots of disks as rows: which files make one up, where they are, and in what order jobs about them run."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from mgmt_server.errors import InvalidValue, Unavailable
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.vm import Volume
from mgmt_server.protocol.machine import Image
from mgmt_server.resources.imagestore.settings import at_host

LONGEST_CHAIN = 1000  # beyond it something is wrong with the rows


def lock_of(volume: Volume) -> str:
    """What changes a disk and its snapshots runs in order: with its machine's jobs while it is on one."""
    return f"vm:{volume.vm_id}" if volume.vm_id is not None else f"volume:{volume.id}"


def chain_of(tx: Session, on_store: SnapshotOnStore) -> tuple[Image, ...]:
    """The files that make up a snapshot on a store, each standing on the one before: for `disks.load_disk`."""
    store = tx.get_one(ImageStore, on_store.store_id)
    found: list[Image] = []
    row: SnapshotOnStore | None = on_store
    while row is not None:
        uuid = tx.scalars(select(Snapshot.uuid).where(Snapshot.id == row.snapshot_id)).one()
        found.append(Image(uuid, at_host(store), row.path, "QCOW2", row.physical_size, row.size))
        if len(found) > LONGEST_CHAIN:
            raise RuntimeError(f"the files under snapshot {on_store.snapshot_id} have no end")
        row = tx.get_one(SnapshotOnStore, row.parent_id) if row.parent_id is not None else None
    return tuple(reversed(found))


def copies_of(tx: Session, snapshot_id: int, zone_id: int | None = None) -> list[SnapshotOnStore]:
    """Where a snapshot can be read: its ready files, of a zone or of all."""
    rows = select(SnapshotOnStore).join(ImageStore, ImageStore.id == SnapshotOnStore.store_id)
    rows = rows.where(
        SnapshotOnStore.snapshot_id == snapshot_id, SnapshotOnStore.state == "Ready", ImageStore.removed.is_(None)
    )
    if zone_id is not None:
        rows = rows.where(SnapshotOnStore.zone_id == zone_id)
    return list(tx.scalars(rows.order_by(SnapshotOnStore.id)))


def usable_in(tx: Session, snapshot: Snapshot, zone_id: int) -> SnapshotOnStore:
    """The snapshot's file to read in a zone. Raises InvalidValue for one that is not finished, Unavailable without."""
    if snapshot.state not in ("BackedUp", "Copying"):
        raise InvalidValue(f"The snapshot {snapshot.name} is {snapshot.state}: it can be used once it is BackedUp")
    found = copies_of(tx, snapshot.id, zone_id)
    if not found:
        raise Unavailable(
            f"The snapshot {snapshot.name} is on no secondary storage of this zone: use copySnapshot first"
        )
    return found[0]


def depth_of(tx: Session, on_store: SnapshotOnStore) -> int:
    """How many files a file stands on."""
    depth, row = 0, on_store
    while row.parent_id is not None and depth < LONGEST_CHAIN:
        depth, row = depth + 1, tx.get_one(SnapshotOnStore, row.parent_id)
    return depth


def of_volume(tx: Session, volume_id: int, states: Sequence[str] = ()) -> list[Snapshot]:
    """A disk's snapshots that are there, the oldest first."""
    rows = select(Snapshot).where(Snapshot.volume_id == volume_id, Snapshot.removed.is_(None))
    if states:
        rows = rows.where(Snapshot.state.in_(states))
    return list(tx.scalars(rows.order_by(Snapshot.id)))


def fallen(tx: Session, volume_id: int) -> list[SnapshotOnStore]:
    """Files of a disk's deleted snapshots on which nothing stands any more, those first that stand on others."""
    other = aliased(SnapshotOnStore)
    rows = select(SnapshotOnStore).join(Snapshot, Snapshot.id == SnapshotOnStore.snapshot_id)
    rows = rows.where(Snapshot.volume_id == volume_id).with_for_update(of=SnapshotOnStore)
    mine = {row.id: row for row in tx.scalars(rows)}
    standing = dict.fromkeys(mine, 0)
    for parent in tx.scalars(select(other.parent_id).where(other.parent_id.in_(list(mine)))):
        if parent is not None:
            standing[parent] += 1
    found: list[SnapshotOnStore] = []
    free = [row for row in mine.values() if not standing[row.id] and row.state in ("Hidden", "Destroying")]
    while free:
        row = free.pop()
        found.append(row)
        below = mine.get(row.parent_id) if row.parent_id is not None else None
        if below is not None:
            standing[below.id] -= 1
            if not standing[below.id] and below.state in ("Hidden", "Destroying"):
                free.append(below)
    return found
