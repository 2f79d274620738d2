"""Machines: users' and system VMs, in one table, since hosts, NICs and disks do not care."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ColumnElement, Index, String, UniqueConstraint, select, true
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Bytes, Long, States, refers, remembers
from mgmt_server.db.secrets import Secret
from mgmt_server.model.tenancy import Caller, Owned


class Vm(Owned, Base):
    __tablename__ = "vm"
    __table_args__ = (
        Index("ix_vm_kind_removed", "kind", "removed", "id", "account_id"),  # covers lists of all, in order
        Index("ix_vm_account_kind", "account_id", "kind", "removed", "id"),
        Base.__table_args__,
    )

    name: Mapped[str]
    display_name: Mapped[str | None]
    kind: Mapped[str] = mapped_column(String(30), default="User")  # DomainRouter, ConsoleProxy, SecondaryStorageVm
    state: Mapped[str] = mapped_column(String(20), default="Stopped")
    group_id: Mapped[int | None] = refers("instance_group")
    user_id: Mapped[int | None] = refers("user")
    zone_id: Mapped[int] = refers("zone")
    pod_id: Mapped[int | None] = refers("pod")
    host_id: Mapped[int | None] = refers("host")  # runs there, or is about to
    last_host_id: Mapped[int | None] = refers("host")
    target_host_id: Mapped[int | None] = refers("host")  # where it migrates to: capacity is held there too
    service_offering_id: Mapped[int] = refers("service_offering")
    template_id: Mapped[int | None] = refers("template")
    iso_id: Mapped[int | None] = refers("template")
    os_type_id: Mapped[int | None] = refers("os_type")
    hypervisor: Mapped[str]
    cpus: Mapped[int] = mapped_column(default=1)
    speed: Mapped[int] = mapped_column(default=0)
    memory: Mapped[int] = mapped_column(default=0)  # MiB
    reserved: Mapped[bool] = mapped_column(default=False)  # whether host_id's capacity is held for it
    doubted: Mapped[bool] = mapped_column(default=False)  # Starting, and its host did not tell whether it runs there
    ha_enabled: Mapped[bool] = mapped_column(default=False)
    dynamically_scalable: Mapped[bool] = mapped_column(default=False)
    delete_protection: Mapped[bool] = mapped_column(default=False)
    display: Mapped[bool] = mapped_column(default=True)
    user_data: Mapped[Long | None]  # base64, as clients send it
    user_data_id: Mapped[int | None] = refers("user_data")  # registered; `user_data` then is what it came to
    user_data_details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # values of its variables
    key_pairs: Mapped[str | None]  # names, comma separated
    public_keys: Mapped[Long | None]
    password: Mapped[str | None] = mapped_column(Secret)  # waits for the guest to fetch it
    vnc_password: Mapped[str | None] = mapped_column(Secret)
    boot_type: Mapped[str] = mapped_column(default="BIOS")
    boot_mode: Mapped[str] = mapped_column(default="LEGACY")
    state_changed: Mapped[datetime | None]
    called: Mapped[str | None] = mapped_column(String(80), index=True)  # by its host, where it is not `instance_name`
    lease_days: Mapped[int | None]  # these three are empty without a lease, and once its end has been acted upon
    lease_action: Mapped[str | None] = mapped_column(String(20))  # STOP, DESTROY
    lease_expires: Mapped[datetime | None] = mapped_column(index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    statistics: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    # of routers and system VMs
    network_id: Mapped[int | None] = refers("network")
    role: Mapped[str | None]  # VIRTUAL_ROUTER, DHCP_SRVR
    redundant_state: Mapped[str | None]
    agent: Mapped[str | None] = mapped_column(String(40))
    agent_state: Mapped[str | None]
    software_version: Mapped[str | None]

    @property
    def instance(self) -> str:
        """What hosts call it."""
        return self.called or instance_name(self.kind, self.account_id, self.id)


class VmSchedule(Base):
    """What is done with a machine again and again, at the moments of a crontab line in a time zone."""

    __tablename__ = "vm_schedule"
    __table_args__ = (UniqueConstraint("vm_id", "schedule", "timezone", "action", "removed"), Base.__table_args__)

    vm_id: Mapped[int] = refers("vm")
    action: Mapped[str] = mapped_column(String(20))  # START, STOP, REBOOT, FORCE_STOP, FORCE_REBOOT
    schedule: Mapped[str] = mapped_column(String(100))
    timezone: Mapped[str] = mapped_column(String(60))
    description: Mapped[str | None] = mapped_column(String(1024))
    enabled: Mapped[bool] = mapped_column(default=True)
    starts: Mapped[datetime]
    ends: Mapped[datetime | None]
    next_run: Mapped[datetime | None] = mapped_column(index=True)  # empty while it is not enabled, and after its end

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        return cls.vm_id.in_(select(Vm.id).where(Vm.kind == "User", Vm.operable_by(caller)))

    usable_by = operable_by


PREFIX = {"User": "i", "DomainRouter": "r", "ConsoleProxy": "v", "SecondaryStorageVm": "s"}


def instance_name(kind: str, account_id: int, number: int) -> str:
    """What hosts call a machine: i-2-3-VM for users', r-4-VM for routers."""
    return f"{PREFIX[kind]}-{account_id}-{number}-VM" if kind == "User" else f"{PREFIX[kind]}-{number}-VM"


STATES = States(
    Vm.state,
    Stopped=["Starting", "Destroyed", "Expunging", "Error"],
    Starting=["Running", "Stopped", "Error", "Starting"],
    Running=["Stopping", "Stopped", "Migrating"],
    Stopping=["Stopped", "Running"],
    Destroyed=["Stopped", "Expunging"],
    Error=["Expunging", "Destroyed"],
    Expunging=["Expunging", "Destroyed", "Stopped"],
    Migrating=["Running", "Stopped"],
    Unknown=["Running", "Stopped"],
)


class Volume(Owned, Base):
    """A disk: allocated first, created on a pool when a machine first starts with it or a job gets to it."""

    __tablename__ = "volume"
    __table_args__ = (UniqueConstraint("vm_id", "slot"), Base.__table_args__)

    name: Mapped[str]
    kind: Mapped[str] = mapped_column(default="DATADISK")  # ROOT
    size: Mapped[Bytes]
    physical_size: Mapped[Bytes | None]
    zone_id: Mapped[int] = refers("zone")
    pod_id: Mapped[int | None] = refers("pod")
    pool_id: Mapped[int | None] = refers("pool")
    vm_id: Mapped[int | None] = refers("vm", index=False)
    iso_id: Mapped[int | None] = refers("template")  # it was installed from
    snapshot_id: Mapped[int | None] = remembers()  # it was made from
    device: Mapped[int | None]
    slot: Mapped[int | None]  # the device while attached, empty after: no two disks at one place
    attached: Mapped[datetime | None]
    path: Mapped[str | None]  # its name in the pool
    state: Mapped[str] = mapped_column(default="Allocated")
    state_changed: Mapped[datetime | None]
    last_pool_id: Mapped[int | None] = refers("pool")  # where it lay before it was moved
    target_pool_id: Mapped[int | None] = refers("pool")  # where it moves to: its size is held there too
    format: Mapped[str] = mapped_column(default="QCOW2")
    template_id: Mapped[int | None] = refers("template")
    disk_offering_id: Mapped[int | None] = refers("disk_offering")
    provisioning: Mapped[str] = mapped_column(default="thin")
    min_iops: Mapped[int | None]
    max_iops: Mapped[int | None]
    display: Mapped[bool] = mapped_column(default=True)
    delete_protection: Mapped[bool] = mapped_column(default=False)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


VOLUME_STATES = States(
    Volume.state,
    Allocated=["Creating", "Ready", "UploadOp", "NotUploaded", "Destroy", "Expunging", "Expunged"],
    Creating=["Ready", "Allocated", "Destroy"],
    Ready=[
        "Resizing", "Migrating", "Snapshotting", "RevertSnapshotting", "Attaching", "Destroy", "Expunging", "Expunged",
    ],
    Resizing=["Ready"],
    Migrating=["Ready"],
    Snapshotting=["Ready"],
    RevertSnapshotting=["Ready"],
    Attaching=["Ready"],
    NotUploaded=["UploadOp", "UploadAbandoned", "UploadError", "Destroy", "Expunged"],  # waits for the browser
    UploadOp=["Uploaded", "UploadError", "Destroy"],
    Uploaded=["Copying", "Destroy", "Expunging", "Expunged"],
    Copying=["Ready", "Uploaded"],
    UploadAbandoned=["Destroy", "Expunging", "Expunged"],
    UploadError=["Destroy", "Expunging", "Expunged"],
    Destroy=["Ready", "Allocated", "Uploaded", "Expunging", "Expunged"],
    Expunging=["Expunged", "Destroy"],
)  # fmt: skip


class SshKeyPair(Owned, Base):
    __tablename__ = "ssh_key_pair"
    __table_args__ = (UniqueConstraint("account_id", "name", "removed"), Base.__table_args__)

    name: Mapped[str]
    fingerprint: Mapped[str]
    public_key: Mapped[Long]
