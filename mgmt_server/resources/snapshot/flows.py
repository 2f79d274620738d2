"""How a disk is kept as a snapshot, how it goes back to one, and how snapshots go."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Update, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.db import now
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.jobs import Asker, Job, enqueue, gives_up
from mgmt_server.jobs.flow import Child
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.snapshot import STATES, Snapshot, SnapshotOnStore, VmSnapshot
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.machine import Disk, File, Image, Saved
from mgmt_server.resources.imagestore.settings import at_host
from mgmt_server.resources.snapshot import copying, files
from mgmt_server.resources.snapshot.going import delete, forget_points, forget_stale, sweep
from mgmt_server.resources.snapshot.make import check, file_of
from mgmt_server.resources.snapshot.retention import retire
from mgmt_server.resources.snapshot.rows import chain_of, depth_of, usable_in
from mgmt_server.resources.template.flows import stores_of
from mgmt_server.resources.vmsnapshot.rows import of_machine, refuse_with_snapshots
from mgmt_server.resources.volume.places import place_of

__all__ = ["copy", "delete", "revert", "sweep", "take", "wait_for_copy"]

INCREMENTAL = Setting(
    "kvm.incremental.snapshot",
    "Whether a snapshot holds only what changed since the one before, where the host can follow changes",
)
CHAIN = Setting(
    "snapshot.delta.max", "Snapshots that hold changes alone, one after the other, before one holds all again", least=0
)


@dataclass(frozen=True)
class Plan:
    """What a host has to keep, and where to."""

    host: HostRef
    disk: Disk
    machine: str
    file: File
    since: str
    point: str
    kept: str = ""  # the machine's snapshot whose content it is, and not that of now


@dataclass(frozen=True)
class Back:
    """What a host has to make a disk of."""

    host: HostRef
    disk: Disk
    chain: tuple[Image, ...]


# --- taking one -------------------------------------------------------------------------------------------------------


def never_taken(tx: Session, snapshot_id: int, zones: list[int]) -> None:
    """A snapshot that could not be made stays in Error, for its owner to see, and counts no more."""
    snapshot = tx.get_one(Snapshot, snapshot_id)
    if snapshot.removed is None and snapshot.state in ("Allocated", "CreatedOnPrimary", "BackingUp"):
        STATES.move(tx, snapshot_id, snapshot.state, "Error", state_changed=now())
        tx.execute(_files(snapshot_id).values(state="Failed", parent_id=None))
        counted.snapshot_goes(tx, snapshot)


@gives_up(never_taken)
def take(job: Job, snapshot_id: int, zones: list[int]) -> None:
    """Keep a disk as it is now, while its machine runs on. Copies go to `zones` after that."""
    plan = job.write(begin, snapshot_id, undo=abandon)
    if plan.kept:
        asked = plan.host, plan.disk, plan.machine, plan.file, plan.kept
        saved = job.call(disks.save_point, *asked, undo=files.unsave_point)
    else:
        saved = job.call(
            disks.save_disk, plan.host, plan.disk, plan.machine, plan.file, plan.since, plan.point, undo=files.unsave
        )
    volume_id = job.write(taken, snapshot_id, saved)
    # from here on nothing may fail: it would take back a snapshot that is whole
    forget_stale(job, volume_id)
    if zones:
        job.write(queue_copies, snapshot_id, zones, job.asker.user_id or SYSTEM_USER)


def wait_for_copy(job: Job, snapshot_id: int) -> None:
    """The end of a call that asked for the backup to go on behind it."""


def begin(tx: Session, snapshot_id: int) -> Plan:
    """Allocated -> BackingUp: where the file goes, and on which one it can stand."""
    snapshot = tx.get_one(Snapshot, snapshot_id)
    volume = tx.get_one(Volume, snapshot.volume_id)
    check(tx, volume)
    kept = check_kept(tx, volume, snapshot.vm_snapshot_id).name if snapshot.vm_snapshot_id is not None else ""
    place = place_of(tx, volume)
    stores = stores_of(tx, volume.zone_id)
    if not stores:
        raise InvalidValue("the zone has no secondary storage any more that can be written to and has room")
    VOLUME_STATES.move(tx, volume.id, "Ready", "Snapshotting", state_changed=now())
    STATES.move(
        tx, snapshot_id, "Allocated", "BackingUp", state_changed=now(), size=volume.size,
        hypervisor=place.host.hypervisor,
    )  # fmt: skip
    cluster = tx.scalar(select(Host.cluster_id).where(Host.uuid == place.host.uuid))
    follows = INCREMENTAL.flag(*([Scope("Cluster", cluster)] if cluster is not None else []))
    if volume.vm_id is not None and of_machine(tx, volume.vm_id):
        follows = False  # going back to one of those, the disk would not know any more what it followed
    base = _base(tx, volume, [s.id for s in stores]) if follows else None
    store = tx.get_one(ImageStore, base[1].store_id) if base else stores[0]
    # noted before the disk has it: one that stays there without its snapshot is forgotten at the next occasion
    snapshot.point = snapshot.uuid if follows else None
    row = tx.scalars(select(SnapshotOnStore).where(SnapshotOnStore.snapshot_id == snapshot_id)).one()
    row.store_id, row.state, row.parent_id = store.id, "Creating", base[1].id if base else None
    file = File(at_host(store), file_of(snapshot))
    return Plan(
        place.host, place.disk, place.machine, file, (base[0].point or "") if base else "",
        snapshot.uuid if follows else "", kept,
    )  # fmt: skip


def check_kept(tx: Session, volume: Volume, vm_snapshot_id: int) -> VmSnapshot:
    """The machine's snapshot that holds a disk. Raises InvalidValue for one that does not, or not any more."""
    found = tx.get_one(VmSnapshot, vm_snapshot_id)
    name = found.display_name or found.name
    if found.removed is not None or found.state != "Ready":
        raise InvalidValue(f"The machine's snapshot {name} is {found.state}: it can be used while it is Ready")
    if volume.vm_id != found.vm_id:
        raise InvalidValue(
            f"The machine's snapshot {name} does not hold the disk {volume.name}: it is not attached there"
        )
    return found


def _base(tx: Session, volume: Volume, stores: list[int]) -> tuple[Snapshot, SnapshotOnStore] | None:
    """The snapshot from which the disk follows changes, where its file can be stood on."""
    rows = (
        select(Snapshot, SnapshotOnStore)
        .join(SnapshotOnStore, SnapshotOnStore.snapshot_id == Snapshot.id)
        .where(
            Snapshot.volume_id == volume.id,
            Snapshot.point.is_not(None),
            Snapshot.state.in_(("BackedUp", "Copying")),
            Snapshot.removed.is_(None),
            SnapshotOnStore.state == "Ready",
            SnapshotOnStore.store_id.in_(stores),
        )
        .order_by(Snapshot.id.desc())
        .limit(1)
        .with_for_update(of=SnapshotOnStore)
    )
    found = tx.execute(rows).first()
    if found is None or depth_of(tx, found[1]) >= CHAIN.number():
        return None
    return found[0], found[1]


def _files(snapshot_id: int) -> Update:
    mine = update(SnapshotOnStore).where(SnapshotOnStore.snapshot_id == snapshot_id)
    return mine.execution_options(synchronize_session=False)


def abandon(tx: Session, snapshot_id: int) -> None:
    """Undo of `begin`: the disk is free again. The snapshot itself is given up when the job ends."""
    volume = tx.get_one(Volume, tx.get_one(Snapshot, snapshot_id).volume_id)
    if volume.state == "Snapshotting":
        VOLUME_STATES.move(tx, volume.id, "Snapshotting", "Ready", state_changed=now())


def taken(tx: Session, snapshot_id: int, saved: Saved) -> int:
    """BackingUp -> BackedUp: the disk."""
    snapshot = tx.get_one(Snapshot, snapshot_id)
    row = tx.scalars(select(SnapshotOnStore).where(SnapshotOnStore.snapshot_id == snapshot_id)).one()
    row.state, row.size, row.physical_size = "Ready", saved.size, saved.physical_size
    if saved.whole:
        row.parent_id = None
    tx.flush()
    STATES.move(
        tx, snapshot_id, "BackingUp", "BackedUp", state_changed=now(), size=saved.size,
        physical_size=saved.physical_size, point=saved.point or None,
    )  # fmt: skip
    VOLUME_STATES.move(tx, snapshot.volume_id, "Snapshotting", "Ready", state_changed=now())
    counted.file_comes(tx, snapshot, saved.physical_size)
    if snapshot.policy_id is not None:
        tx.flush()
        retire(tx, snapshot.policy_id)
    return snapshot.volume_id


# --- copies -----------------------------------------------------------------------------------------------------------


def queue_copies(tx: Session, snapshot_id: int, zones: list[int], user_id: int) -> None:
    """Copies of a new snapshot are jobs of their own: its machine need not wait for them. An event tells their end."""
    snapshot = tx.get_one(Snapshot, snapshot_id)
    for child in _copies(snapshot_id, snapshot.volume_id, zones, None):
        text = f"copying snapshot {snapshot.name} to {tx.get_one(Zone, child.arguments[1]).name}"
        asker = Asker(
            account_id=snapshot.account_id,
            domain_id=snapshot.domain_id,
            user_id=user_id,
            event={"type": "SNAPSHOT.COPY", "description": text, "start": None},
        )
        instance = ("Snapshot", snapshot.uuid)
        enqueue(tx, child.flow, child.arguments, lock=child.lock, instance=instance, asker=asker)


def copy(job: Job, snapshot_id: int, volume_id: int, zones: list[int], source: int | None) -> None:
    """Copy a snapshot to other zones. Those that have it already, or get it, keep it when another one fails."""
    failed = job.wait_all(_copies(snapshot_id, volume_id, zones, source))
    if failed:
        raise Failed("; ".join(failed))


def _copies(snapshot_id: int, volume_id: int, zones: list[int], source: int | None) -> list[Child]:
    # one after the other for all snapshots of a disk: they may share files
    return [Child(copying.copy, (snapshot_id, zone, source), f"snapshots:{volume_id}") for zone in zones]


# --- going back to one ------------------------------------------------------------------------------------------------


def revert(job: Job, snapshot_id: int) -> None:
    """Make a disk what it was."""
    plan = job.write(begin_revert, snapshot_id, undo=not_reverted)
    size = job.call(disks.load_disk, plan.host, plan.disk, plan.chain)
    job.write(reverted, snapshot_id, size)


def check_revert(tx: Session, snapshot: Snapshot) -> Volume:
    """The disk, where it can go back. Raises InvalidValue."""
    volume = tx.get_one(Volume, snapshot.volume_id)
    if snapshot.state != "BackedUp":
        raise InvalidValue(f"The snapshot {snapshot.name} is {snapshot.state}: only one that is BackedUp can be used")
    if volume.removed is not None or volume.state in ("Destroy", "Expunging", "Expunged"):
        raise InvalidValue(f"The disk of the snapshot {snapshot.name} is gone: make a new one of it with createVolume")
    if volume.account_id != snapshot.account_id:
        raise InvalidValue(f"The disk of the snapshot {snapshot.name} belongs to another account now")
    if snapshot.size > volume.size:
        raise InvalidValue(
            f"The disk {volume.name} was {snapshot.size} bytes large then and has {volume.size} now: resize it first"
        )
    if volume.vm_id is not None:
        vm = tx.get_one(Vm, volume.vm_id)
        if vm.state != "Stopped":
            raise InvalidValue(
                f"The machine {vm.display_name or vm.name} is {vm.state}: stop it before its disk goes back to a "
                "snapshot"
            )
        refuse_with_snapshots(tx, vm.id, "a disk cannot go back to a snapshot of its own")
    return volume


def begin_revert(tx: Session, snapshot_id: int) -> Back:
    snapshot = tx.get_one(Snapshot, snapshot_id)
    if snapshot.removed is not None:
        raise InvalidValue("The snapshot was deleted meanwhile")
    volume = check_revert(tx, snapshot)
    VOLUME_STATES.move(tx, volume.id, "Ready", "RevertSnapshotting", state_changed=now())
    place = place_of(tx, volume)
    return Back(place.host, place.disk, chain_of(tx, usable_in(tx, snapshot, volume.zone_id)))


def not_reverted(tx: Session, snapshot_id: int) -> None:
    volume = tx.get_one(Volume, tx.get_one(Snapshot, snapshot_id).volume_id)
    if volume.state == "RevertSnapshotting":
        VOLUME_STATES.move(tx, volume.id, "RevertSnapshotting", "Ready", state_changed=now())


def reverted(tx: Session, snapshot_id: int, size: int) -> None:
    """The disk is a new one: it follows no changes any more."""
    snapshot = tx.get_one(Snapshot, snapshot_id)
    forget_points(tx, [snapshot.volume_id])
    VOLUME_STATES.move(tx, snapshot.volume_id, "RevertSnapshotting", "Ready", state_changed=now(), physical_size=size)
