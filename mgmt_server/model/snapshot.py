"""Snapshots: of disks, kept on secondary storage, and of whole machines, kept in their disks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Bytes, Long, States, refers
from mgmt_server.model.tenancy import Internal, Owned


class Snapshot(Owned, Base):
    """A disk as it was at a moment. Where its content lies is a row of snapshot_on_store."""

    __tablename__ = "snapshot"

    name: Mapped[str]
    kind: Mapped[str] = mapped_column(String(20), default="MANUAL")  # HOURLY, DAILY, WEEKLY, MONTHLY
    state: Mapped[str] = mapped_column(String(20), default="Allocated")
    volume_id: Mapped[int] = refers("volume")
    zone_id: Mapped[int] = refers("zone")
    policy_id: Mapped[int | None] = refers("snapshot_policy")
    size: Mapped[Bytes] = mapped_column(default=0)  # virtual, of the disk then
    physical_size: Mapped[Bytes] = mapped_column(default=0)  # of its own files on all stores
    hypervisor: Mapped[str]
    os_type_id: Mapped[int | None] = refers("os_type")
    template_id: Mapped[int | None] = refers("template")  # from which the disk was cloned
    was_root: Mapped[bool] = mapped_column(default=False)
    point: Mapped[str | None]  # what the disk calls the moment, while changes since then are followed
    vm_snapshot_id: Mapped[int | None] = refers("vm_snapshot")  # it was made from
    state_changed: Mapped[datetime | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


STATES = States(
    Snapshot.state,
    Allocated=["CreatedOnPrimary", "BackingUp", "BackedUp", "Error", "Destroying"],
    CreatedOnPrimary=["BackingUp", "BackedUp", "Error", "Destroying"],
    BackingUp=["BackedUp", "Error", "Destroying"],
    BackedUp=["Copying", "Destroying", "Destroyed"],
    Copying=["BackedUp"],
    Error=["Destroying", "Destroyed"],
    Destroying=["Destroyed", "BackedUp", "Error"],
)


class SnapshotOnStore(Internal, Base):
    """A snapshot's file on a store. It holds what changed since `parent_id`, all when that is empty."""

    __tablename__ = "snapshot_on_store"
    __table_args__ = (UniqueConstraint("snapshot_id", "store_id"), Base.__table_args__)

    snapshot_id: Mapped[int] = refers("snapshot")
    store_id: Mapped[int] = refers("image_store")
    zone_id: Mapped[int] = refers("zone")
    parent_id: Mapped[int | None] = refers("snapshot_on_store")
    state: Mapped[str] = mapped_column(default="Creating")  # Ready, Hidden (deleted, others stand on it), Destroying
    path: Mapped[str] = mapped_column(String(1000), default="")  # below the store
    size: Mapped[Bytes] = mapped_column(default=0)
    physical_size: Mapped[Bytes] = mapped_column(default=0)
    error: Mapped[Long | None]


class SnapshotPolicy(Owned, Base):
    """Snapshots of a disk again and again."""

    __tablename__ = "snapshot_policy"
    __table_args__ = (UniqueConstraint("volume_id", "kind", "removed"), Base.__table_args__)

    volume_id: Mapped[int] = refers("volume", index=False)
    kind: Mapped[str] = mapped_column(String(20))  # HOURLY, DAILY, WEEKLY, MONTHLY
    schedule: Mapped[str]  # as clients send it: MM, MM:HH, MM:HH:DD
    timezone: Mapped[str]
    keep: Mapped[int]  # snapshots; the oldest beyond are deleted
    next_run: Mapped[datetime | None] = mapped_column(index=True)  # UTC
    display: Mapped[bool] = mapped_column(default=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # zoneids, storageids of copies


class VmSnapshot(Owned, Base):
    """A machine as it was at a moment: its disks, and its memory if it ran."""

    __tablename__ = "vm_snapshot"

    name: Mapped[str]  # what the host calls it: i-2-3-VM_VS_20261121...
    display_name: Mapped[str | None]
    description: Mapped[str | None] = mapped_column(String(1000))
    kind: Mapped[str] = mapped_column(String(20), default="Disk")  # DiskAndMemory
    state: Mapped[str] = mapped_column(String(20), default="Allocated")
    vm_id: Mapped[int] = refers("vm")
    zone_id: Mapped[int] = refers("zone")
    parent_id: Mapped[int | None] = refers("vm_snapshot")
    current: Mapped[bool] = mapped_column(default=False)  # the machine goes on from it
    hypervisor: Mapped[str]
    service_offering_id: Mapped[int | None] = refers("service_offering")  # the machine's then
    cpus: Mapped[int] = mapped_column(default=1)
    speed: Mapped[int] = mapped_column(default=0)
    memory: Mapped[int] = mapped_column(default=0)  # MiB
    state_changed: Mapped[datetime | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


VM_SNAPSHOT_STATES = States(
    VmSnapshot.state,
    Allocated=["Creating", "Removed"],
    Creating=["Ready", "Error", "Expunging"],
    Ready=["Reverting", "Expunging"],
    Reverting=["Ready"],
    Error=["Expunging", "Removed"],
    Expunging=["Removed", "Error", "Ready"],
)
