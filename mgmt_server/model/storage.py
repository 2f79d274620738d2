"""Primary storage (pools), secondary storage (image stores), and the images on both."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Bytes, Long, States, refers
from mgmt_server.model.tenancy import Internal


class Pool(Internal, Base):
    """Primary storage. `allocated` is promised to disks and cached templates, `used` is what the storage reports."""

    __tablename__ = "pool"

    name: Mapped[str]
    zone_id: Mapped[int] = refers("zone")
    pod_id: Mapped[int | None] = refers("pod")
    cluster_id: Mapped[int | None] = refers("cluster")
    host_id: Mapped[int | None] = refers("host")  # of local storage
    scope: Mapped[str]  # ZONE, CLUSTER, HOST
    type: Mapped[str]  # Filesystem, NetworkFilesystem
    hypervisor: Mapped[str | None]
    server: Mapped[str] = mapped_column(default="")  # the NFS server
    path: Mapped[str]
    port: Mapped[int] = mapped_column(default=0)
    url: Mapped[str] = mapped_column(String(1000), default="")
    provider: Mapped[str] = mapped_column(default="DefaultPrimary")
    state: Mapped[str] = mapped_column(default="Up")  # Initialized, Up, Disabled, Maintenance, Removed
    capacity: Mapped[Bytes] = mapped_column(default=0)
    used: Mapped[Bytes] = mapped_column(default=0)
    allocated: Mapped[Bytes] = mapped_column(default=0)
    overprovision: Mapped[float] = mapped_column(default=2.0)
    tags: Mapped[str | None] = mapped_column(String(1000))
    tag_rule: Mapped[str | None] = mapped_column(String(1000))  # as of hosts
    capacity_iops: Mapped[int | None]
    stopped: Mapped[list[int]] = mapped_column(JSON, default=list)  # machines that its maintenance stopped
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    @property
    def is_local(self) -> bool:
        return self.scope == "HOST"


STATES = States(
    Pool.state,
    Initialized=["Up", "Removed"],
    Up=["Disabled", "PrepareForMaintenance", "Maintenance", "Removed"],
    Disabled=["Up", "PrepareForMaintenance", "Maintenance", "Removed"],
    PrepareForMaintenance=["Maintenance", "ErrorInMaintenance", "Up"],
    ErrorInMaintenance=["Up", "PrepareForMaintenance", "Maintenance"],
    Maintenance=["Up", "CancelMaintenance", "Removed"],
    CancelMaintenance=["Up", "Maintenance"],
)


class PoolHost(Internal, Base):
    """A host that can reach a pool."""

    __tablename__ = "pool_host"
    __table_args__ = (UniqueConstraint("pool_id", "host_id"), Base.__table_args__)

    pool_id: Mapped[int] = refers("pool")
    host_id: Mapped[int] = refers("host")
    local_path: Mapped[str | None]


class ImageStore(Internal, Base):
    """Secondary storage."""

    __tablename__ = "image_store"

    name: Mapped[str]
    url: Mapped[str] = mapped_column(String(1000))
    protocol: Mapped[str]  # nfs, file
    provider: Mapped[str] = mapped_column(default="NFS")
    zone_id: Mapped[int | None] = refers("zone")
    scope: Mapped[str] = mapped_column(default="ZONE")
    readonly: Mapped[bool] = mapped_column(default=False)
    capacity: Mapped[Bytes] = mapped_column(default=0)
    used: Mapped[Bytes] = mapped_column(default=0)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class TemplateOnStore(Internal, Base):
    """A template's image on a store. Without one: hosts fetch it from its URL (direct download)."""

    __tablename__ = "template_on_store"
    __table_args__ = (UniqueConstraint("template_id", "store_id"), Base.__table_args__)

    template_id: Mapped[int] = refers("template")
    store_id: Mapped[int | None] = refers("image_store")
    zone_id: Mapped[int] = refers("zone")
    state: Mapped[str] = mapped_column(default="Creating")  # Creating, Ready, Failed, Destroying
    path: Mapped[str] = mapped_column(String(1000), default="")  # below the store
    size: Mapped[Bytes] = mapped_column(default=0)  # virtual
    physical_size: Mapped[Bytes] = mapped_column(default=0)
    progress: Mapped[int] = mapped_column(default=0)  # percent
    error: Mapped[Long | None]

    @classmethod
    def reachable(cls) -> ColumnElement[bool]:
        """That the image can be had: its store is there still, or it needs none."""
        return cls.store_id.is_(None) | cls.store_id.in_(select(ImageStore.id).where(ImageStore.removed.is_(None)))

    def kept_as(self, registered: str) -> str:
        """The image's format, which is not what was registered where it was converted."""
        return "QCOW2" if self.path.endswith(".qcow2") else registered


class TemplateOnPool(Internal, Base):
    """A template cached on primary storage, from which disks are cloned."""

    __tablename__ = "template_on_pool"
    __table_args__ = (UniqueConstraint("template_id", "pool_id"), Base.__table_args__)

    template_id: Mapped[int] = refers("template")
    pool_id: Mapped[int] = refers("pool")
    state: Mapped[str] = mapped_column(default="Creating")  # Ready
    name: Mapped[str] = mapped_column(default="")  # what the pool calls it: Disk.backing
    size: Mapped[Bytes] = mapped_column(default=0)
