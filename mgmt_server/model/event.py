"""What happened: events for tenants, alerts for operators; settings; tags."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Long, refers
from mgmt_server.db.secrets import Secret
from mgmt_server.model.tenancy import Internal, Owned


class Event(Owned, Base):
    __tablename__ = "event"

    type: Mapped[str] = mapped_column(index=True)
    level: Mapped[str] = mapped_column(default="INFO")
    state: Mapped[str] = mapped_column(default="Completed")  # Created, Scheduled, Started
    description: Mapped[str] = mapped_column(String(1024))
    user_id: Mapped[int] = refers("user")
    start_id: Mapped[int | None]  # the first event of the same work
    resource_type: Mapped[str | None]
    resource_uuid: Mapped[str | None] = mapped_column(String(40))
    correlation: Mapped[str | None] = mapped_column(String(40))
    archived: Mapped[bool] = mapped_column(default=False)


class Alert(Internal, Base):
    __tablename__ = "alert"

    type: Mapped[int]
    name: Mapped[str]
    subject: Mapped[str] = mapped_column(String(999))
    content: Mapped[Long | None]
    zone_id: Mapped[int | None] = refers("zone")
    pod_id: Mapped[int | None] = refers("pod")
    cluster_id: Mapped[int | None] = refers("cluster")
    sent: Mapped[datetime | None]  # when it was mailed
    lasting: Mapped[str | None] = mapped_column(
        String(160), unique=True
    )  # what it is about, as long as that lasts: nothing is told twice
    archived: Mapped[bool] = mapped_column(default=False)


class SettingValue(Internal, Base):
    """A setting that somebody changed. The settings themselves are declared where they are used (settings.py)."""

    __tablename__ = "setting_value"
    __table_args__ = (UniqueConstraint("name", "scope", "scope_id"), Base.__table_args__)

    name: Mapped[str]
    scope: Mapped[str] = mapped_column(String(20), default="Global")  # Zone, Cluster, StoragePool, Account, Domain
    scope_id: Mapped[int] = mapped_column(default=0)
    value: Mapped[str | None] = mapped_column(Secret)


class Tag(Owned, Base):
    __tablename__ = "tag"
    __table_args__ = (
        UniqueConstraint("resource_uuid", "key"),
        Index("ix_tag_key_value", "resource_type", "key"),
        Base.__table_args__,
    )

    resource_type: Mapped[str] = mapped_column(String(50))
    resource_uuid: Mapped[str] = mapped_column(String(40))
    key: Mapped[str]
    value: Mapped[str]
    customer: Mapped[str | None]


class ResourceDetail(Owned, Base):
    """A key with a value that somebody put on a thing; what belongs to nobody is the system account's."""

    __tablename__ = "resource_detail"
    __table_args__ = (UniqueConstraint("resource_uuid", "key"), Base.__table_args__)

    resource_type: Mapped[str] = mapped_column(String(50))
    resource_uuid: Mapped[str] = mapped_column(String(40))
    key: Mapped[str]
    value: Mapped[Long]
    display: Mapped[bool] = mapped_column(default=True)


class Annotation(Owned, Base):
    """A remark on a thing. The owner is the thing's, so that who may not see the thing sees no remark on it."""

    __tablename__ = "annotation"
    __table_args__ = (Index("ix_annotation_entity", "entity_type", "entity_uuid"), Base.__table_args__)

    entity_type: Mapped[str] = mapped_column(String(50))
    entity_uuid: Mapped[str] = mapped_column(String(40))
    text: Mapped[Long]
    user_id: Mapped[int] = refers("user")
    admins_only: Mapped[bool] = mapped_column(default=False)
