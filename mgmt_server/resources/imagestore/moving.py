"""Images go from one secondary storage to another of their zone: copied, told of, and then deleted where they were."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.db import now, reading
from mgmt_server.errors import ApiError, Failed, InvalidValue
from mgmt_server.jobs import Job, enqueue, gives_up
from mgmt_server.jobs.flow import CHILDREN, Child
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.transfer import ExtractLink, VolumeOnStore
from mgmt_server.model.vm import Volume
from mgmt_server.resources.snapshot import files
from mgmt_server.resources.snapshot.files import Copied, OnStore
from mgmt_server.resources.snapshot.rows import lock_of
from mgmt_server.resources.template import flows as templates
from mgmt_server.resources.transfer.flows import is_simulated as has_file

log = logging.getLogger("cloudwright.storage")
AGAIN = timedelta(minutes=5)
ROWS: dict[str, Any] = {"template": TemplateOnStore, "snapshot": SnapshotOnStore, "volume": VolumeOnStore}
BUSY = ("Creating", "Destroying")


@dataclass(frozen=True)
class Unit:
    """What moves as one: an image, or all files of a disk's snapshots, which stand on each other."""

    kind: str  # template, snapshot, volume
    id: int  # of the template or the disk
    name: str
    size: int  # bytes on the store
    lock: str


def units(tx: Session, store: ImageStore) -> list[Unit]:
    """All that can move from a store, the largest first. System VM images stay: every store has its own."""
    found: list[Unit] = []
    rows = select(Template, TemplateOnStore).join(TemplateOnStore, TemplateOnStore.template_id == Template.id)
    for template, row in tx.execute(rows.where(TemplateOnStore.store_id == store.id, Template.type != "SYSTEM")):
        if row.state == "Ready":
            found.append(Unit("template", template.id, template.name, row.physical_size, f"template:{template.family}"))
    for volume, held in _of_disks(tx, store).items():
        if any(row.state not in BUSY for row in held):
            disk = tx.get_one(Volume, volume)
            found.append(Unit("snapshot", volume, disk.name, sum(r.physical_size for r in held), lock_of(disk)))
    sent = select(Volume, VolumeOnStore).join(VolumeOnStore, VolumeOnStore.volume_id == Volume.id)
    for volume, row in tx.execute(sent.where(VolumeOnStore.store_id == store.id, VolumeOnStore.state == "Ready")):
        found.append(Unit("volume", volume.id, volume.name, row.physical_size, lock_of(volume)))
    return sorted(found, key=lambda unit: -unit.size)


def _of_disks(tx: Session, store: ImageStore) -> dict[int, list[SnapshotOnStore]]:
    rows = select(Snapshot.volume_id, SnapshotOnStore).join(Snapshot, Snapshot.id == SnapshotOnStore.snapshot_id)
    found: dict[int, list[SnapshotOnStore]] = {}
    for volume, row in tx.execute(rows.where(SnapshotOnStore.store_id == store.id).order_by(SnapshotOnStore.id)):
        found.setdefault(volume, []).append(row)
    return found


def move_all(job: Job, store_id: int, plan: list[tuple[Unit, int]], kind: str) -> None:
    """Move units, each to its store, some at a time. What cannot move stays, and is told."""
    moved, errors = 0, []
    for start in range(0, len(plan), CHILDREN):
        part = plan[start : start + CHILDREN]
        wrong = job.wait_all([Child(move, (unit, store_id, target), unit.lock) for unit, target in part])
        moved, errors = moved + len(part) - len(wrong), errors + wrong
    text = f"{moved} images have moved" + (f"; {len(errors)} stayed: {'; '.join(errors[:5])}" if errors else "")
    job.answer(message=text[:1000], migrationtype=kind, success=not errors)


def move(job: Job, unit: Unit, source: int, target: int) -> None:
    """Copy a unit's files, have the rows name the other store, and delete what was copied."""
    spare = job.write(spared, unit, source, target)
    if spare is not None:
        leave(job, unit, source, [spare])
        return
    orders = job.write(begin, unit, source, target)
    for order in orders:
        job.call(copy, order, undo=uncopy)
    job.write(moved, unit, source, target, orders)
    leave(job, unit, source, [order.source for order in orders])


def leave(job: Job, unit: Unit, source: int, there: list[OnStore]) -> None:
    """Delete what no row leads to any more. Nothing may fail here: it would take back what has moved."""
    left = [file for file in there if not job.call(deleted, file)]
    if left:
        job.write(queue, unit, source, left)


def deleted(call: UUID, file: OnStore) -> bool:
    try:
        files.remove(call, file)
    except ApiError as error:
        log.warning("%s stays on %s for now: %s", file.path, file.store, error)
        return False
    return True


def queue(tx: Session, unit: Unit, source: int, left: list[OnStore]) -> None:
    """Have it tried after a while. Nothing else waits for that: the lock is its own."""
    enqueue(tx, again, (unit, source, left), lock=f"left:{unit.kind}:{unit.id}", not_before=now() + AGAIN)


def again(job: Job, unit: Unit, source: int, left: list[OnStore]) -> None:
    job.write(due, unit, source, left)


def due(tx: Session, unit: Unit, source: int, left: list[OnStore]) -> None:
    """Try it now, behind the jobs on the unit, which may have moved back meanwhile."""
    enqueue(tx, sweep, (unit, source, left), lock=unit.lock)


@gives_up(queue)
def sweep(job: Job, unit: Unit, source: int, left: list[OnStore]) -> None:
    for file in job.write(nobodys, unit, source, left):
        job.call(files.remove, file)


def nobodys(tx: Session, unit: Unit, source: int, left: list[OnStore]) -> list[OnStore]:
    """Those to which no row leads again. None on a store that this cloud has no more."""
    if tx.get_one(ImageStore, source).removed is not None:
        return []
    here = {row.path for row in _rows(tx, unit, source)}
    return [file for file in left if file.path not in here]


def spared(tx: Session, unit: Unit, source: int, target: int) -> OnStore | None:
    """A template that the other store has already goes where it is twice: its file; None for all else."""
    if unit.kind != "template":
        return None
    here, there = (next(iter(_rows(tx, unit, store)), None) for store in (source, target))
    if here is None or there is None or {here.state, there.state} != {"Ready"}:
        return None
    template, url = tx.get_one(Template, unit.id), tx.get_one(ImageStore, source).url
    file = OnStore(here.id, _hypervisor(tx, unit, here), url, here.path)
    counted.image_goes(tx, template, here.physical_size)
    links = update(ExtractLink).where(ExtractLink.store_id == source, ExtractLink.path == here.path)
    tx.execute(links.values(store_id=target, path=there.path).execution_options(synchronize_session=False))
    tx.execute(delete(TemplateOnStore).where(TemplateOnStore.id == here.id))
    return file


def begin(tx: Session, unit: Unit, source: int, target: int) -> list[Copied]:
    """The files to copy. Raises InvalidValue for what cannot move now."""
    here, there = tx.get_one(ImageStore, source), tx.get_one(ImageStore, target)
    if here.removed is not None or there.removed is not None or there.readonly:
        raise InvalidValue(f"{unit.name}: the secondary storage {there.name} takes nothing any more")
    found = _rows(tx, unit, source)
    if any(row.state in BUSY for row in found):
        raise InvalidValue(f"{unit.name}: it is just being made or deleted: try again later")
    if _rows(tx, unit, target):
        raise InvalidValue(f"{unit.name}: the secondary storage {there.name} has it already")
    return [
        Copied(
            OnStore(row.id, _hypervisor(tx, unit, row), here.url, row.path),
            OnStore(row.id, _hypervisor(tx, unit, row), there.url, row.path),
        )
        for row in found
    ]


def _rows(tx: Session, unit: Unit, store: int) -> Sequence[Any]:
    if unit.kind == "snapshot":
        rows = select(SnapshotOnStore).join(Snapshot, Snapshot.id == SnapshotOnStore.snapshot_id)
        return tx.scalars(rows.where(Snapshot.volume_id == unit.id, SnapshotOnStore.store_id == store)).all()
    table = ROWS[unit.kind]
    mine = table.template_id if unit.kind == "template" else table.volume_id
    return tx.scalars(select(table).where(mine == unit.id, table.store_id == store)).all()


def _hypervisor(tx: Session, unit: Unit, row: Any) -> str:
    """Simulator for files that are rows."""
    if unit.kind == "snapshot":
        return tx.get_one(Snapshot, row.snapshot_id).hypervisor
    if unit.kind == "template":
        return "Simulator" if templates.is_simulated(tx, tx.get_one(Template, unit.id), row.zone_id) else "KVM"
    return "Simulator" if templates.zone_is_simulated(tx, row.zone_id) else "KVM"


def copy(call: UUID, order: Copied) -> None:
    if order.source.hypervisor == "Simulator":
        with reading() as session:
            if not has_file(session, order.source.store, order.source.path):
                return  # an image of which nothing is known but its name
    files.copy(call, order)


def uncopy(call: UUID, order: Copied) -> None:
    """Undo of `copy`."""
    files.uncopy(call, order)


def moved(tx: Session, unit: Unit, source: int, target: int, orders: list[Copied]) -> None:
    """Rows and links lead to the other store now."""
    table = ROWS[unit.kind]
    paths = [order.source.path for order in orders]
    mine = update(table).where(table.id.in_([order.source.id for order in orders]), table.store_id == source)
    found = tx.execute(mine.values(store_id=target).execution_options(synchronize_session=False))
    if found.rowcount != len(orders):  # type: ignore[attr-defined]
        raise Failed(f"{unit.name}: it was deleted while it was copied")
    links = update(ExtractLink).where(ExtractLink.store_id == source, ExtractLink.path.in_(paths))
    tx.execute(links.values(store_id=target).execution_options(synchronize_session=False))
