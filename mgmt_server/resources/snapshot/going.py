"""How snapshots go: what stands on nothing else at once, the rest when what stands on it has gone."""

from __future__ import annotations

from sqlalchemy import Select, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session, aliased

from mgmt_server.allocation import counted
from mgmt_server.db import now
from mgmt_server.errors import ApiError, InvalidValue
from mgmt_server.jobs import Job
from mgmt_server.model.snapshot import STATES, Snapshot, SnapshotOnStore, VmSnapshot
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Volume
from mgmt_server.resources.snapshot import files
from mgmt_server.resources.snapshot.files import OnStore, Point
from mgmt_server.resources.snapshot.rows import fallen
from mgmt_server.resources.transfer.links import expire_links
from mgmt_server.resources.vmsnapshot.rows import of_machine
from mgmt_server.resources.volume.places import place_of

USABLE = ("BackedUp", "Copying")  # a next one can stand on it
MAKING = ("Allocated", "CreatedOnPrimary", "BackingUp")


def delete(job: Job, snapshot_id: int, zone_id: int | None) -> None:
    """Delete a snapshot, in one zone or in all. Files on which others stand stay, hidden, until those have gone."""
    volume_id = job.write(hide, snapshot_id, zone_id)
    if volume_id is not None:
        sweep(job, volume_id)


def sweep(job: Job, volume_id: int) -> None:
    """Delete what is left of a disk's deleted snapshots."""
    forget_stale(job, volume_id)
    fallen_files = job.write(falling, volume_id)
    for file in fallen_files:
        job.call(files.remove, file)
    job.write(swept, volume_id, [file.id for file in fallen_files])


def check_delete(tx: Session, snapshot: Snapshot) -> None:
    """Raises InvalidValue for one that is being made or used."""
    if snapshot.state not in ("BackedUp", "Error", "Destroying"):
        raise InvalidValue(f"The snapshot {snapshot.name} is {snapshot.state}: wait until that is done")
    making = select(Volume.name).where(
        Volume.snapshot_id == snapshot.id, Volume.removed.is_(None), Volume.state.in_(("Creating", "Copying"))
    )
    name = tx.scalar(making.limit(1))
    if name is not None:
        raise InvalidValue(f"The disk {name} is being made of the snapshot {snapshot.name}: wait until it is ready")
    template = (
        select(Template.name)
        .join(TemplateOnStore, TemplateOnStore.template_id == Template.id)
        .where(
            Template.source_snapshot_id == snapshot.id,
            Template.removed.is_(None),
            TemplateOnStore.state == "Creating",
        )
    )
    name = tx.scalar(template.limit(1))
    if name is not None:
        raise InvalidValue(f"The template {name} is being made of the snapshot {snapshot.name}: wait until it is ready")


def hide(tx: Session, snapshot_id: int, zone_id: int | None) -> int | None:
    """BackedUp -> Destroying, unless it stays in other zones: the disk; None for one that is gone."""
    snapshot = tx.get_one(Snapshot, snapshot_id)
    if snapshot.removed is not None:
        return None
    check_delete(tx, snapshot)
    rows = list(tx.scalars(select(SnapshotOnStore).where(SnapshotOnStore.snapshot_id == snapshot_id).with_for_update()))
    there = [r for r in rows if r.state not in ("Hidden", "Destroying")]
    mine = [r for r in there if zone_id in (None, r.zone_id)]
    if zone_id is not None and there and not mine:
        raise InvalidValue(f"The snapshot {snapshot.name} is not in that zone: see listSnapshots")
    for row in mine:
        row.state = "Hidden"
    tx.flush()
    if len(mine) == len(there) and snapshot.state != "Destroying":
        if snapshot.state != "Error":  # those were given back when they failed
            counted.snapshot_goes(tx, snapshot)
        STATES.move(tx, snapshot_id, snapshot.state, "Destroying", state_changed=now())
        expire_links(tx, snapshot.uuid)
    return snapshot.volume_id


def falling(tx: Session, volume_id: int) -> list[OnStore]:
    """The files that go, in order. From here on nothing can stand on them."""
    found = []
    for row in fallen(tx, volume_id):
        row.state = "Destroying"
        hypervisor = tx.scalars(select(Snapshot.hypervisor).where(Snapshot.id == row.snapshot_id)).one()
        found.append(OnStore(row.id, hypervisor, tx.get_one(ImageStore, row.store_id).url, row.path))
    return found


def swept(tx: Session, volume_id: int, gone: list[int]) -> None:
    """Their files are gone: Destroying -> Destroyed, and what they took is given back."""
    for number in gone:
        row = tx.scalar(select(SnapshotOnStore).where(SnapshotOnStore.id == number).with_for_update())
        if row is not None:
            counted.file_goes(tx, tx.get_one(Snapshot, row.snapshot_id), row.physical_size)
            tx.execute(delete_rows(SnapshotOnStore).where(SnapshotOnStore.id == number))
            tx.expunge(row)
    leaving = select(Snapshot).where(Snapshot.volume_id == volume_id, Snapshot.state == "Destroying")
    for snapshot in list(tx.scalars(leaving)):
        shown = select(SnapshotOnStore.id).where(
            SnapshotOnStore.snapshot_id == snapshot.id, SnapshotOnStore.state.not_in(("Hidden", "Destroying"))
        )
        if tx.scalar(shown.limit(1)) is None:
            STATES.move(tx, snapshot.id, "Destroying", "Destroyed", state_changed=now(), removed=now())


# --- what a disk follows ----------------------------------------------------------------------------------------------


def forget_stale(job: Job, volume_id: int) -> None:
    """Have a disk follow changes from its newest snapshot alone, and from none while its machine has snapshots.

    A host that cannot be told is told another time: the rows keep the points until then, also those of snapshots that
    are gone, and `timers.sweep_all` asks again.
    """
    for point in job.write(stale, volume_id):
        if job.call(files.forget, point):
            job.write(forgotten, volume_id, point.name)


def followed_in_vain() -> Select[tuple[int]]:
    """Disks of which `stale` may find something."""
    newer = aliased(Snapshot)
    replaced = select(newer.id).where(
        newer.volume_id == Snapshot.volume_id, newer.id > Snapshot.id, newer.point.is_not(None),
        newer.removed.is_(None), newer.state.in_(USABLE),
    )  # fmt: skip
    kept = select(VmSnapshot.id).where(
        VmSnapshot.vm_id == Volume.vm_id, VmSnapshot.removed.is_(None), VmSnapshot.state != "Error"
    )
    rows = select(Snapshot.volume_id).join(Volume, Volume.id == Snapshot.volume_id)
    gone = Snapshot.removed.is_not(None) | Snapshot.state.in_(("Error", "Destroying"))
    return rows.where(Snapshot.point.is_not(None), gone | replaced.exists() | kept.exists()).distinct()


def stale(tx: Session, volume_id: int) -> list[Point]:
    volume = tx.get_one(Volume, volume_id)
    rows = select(Snapshot).where(Snapshot.volume_id == volume_id, Snapshot.point.is_not(None))
    found = list(tx.scalars(rows.order_by(Snapshot.id.desc())))
    kept = volume.vm_id is not None and any(s.state != "Error" for s in of_machine(tx, volume.vm_id))
    useful = None if kept else next((s for s in found if s.removed is None and s.state in USABLE), None)
    old = [s for s in found if s is not useful and s.state not in MAKING]
    if volume.removed is not None:
        for snapshot in found:
            snapshot.point = None
        return []
    if not old:
        return []
    try:
        place = place_of(tx, volume)
    except ApiError:
        return []
    return [Point(place.host, place.disk, place.machine, s.point or "") for s in old]


def forgotten(tx: Session, volume_id: int, point: str) -> None:
    mine = update(Snapshot).where(Snapshot.volume_id == volume_id, Snapshot.point == point)
    tx.execute(mine.values(point=None).execution_options(synchronize_session=False))


def forget_points(tx: Session, volumes: list[int]) -> None:
    """What these disks followed is void, and their host has it no more: their next snapshots hold all."""
    followed = update(Snapshot).where(Snapshot.volume_id.in_(volumes), Snapshot.point.is_not(None))
    tx.execute(followed.values(point=None).execution_options(synchronize_session=False))
