"""Images on their way between clients and secondary storage: links to fetch, and tickets to send."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Bytes, Long, refers
from mgmt_server.model.tenancy import Internal, Owned


class ExtractLink(Owned, Base):
    """A link from which one account's client fetches an image until it expires."""

    __tablename__ = "extract_link"

    token_hash: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256 of the token in the link
    kind: Mapped[str]  # Volume, Template, Iso, Snapshot
    subject: Mapped[str] = mapped_column(String(40), index=True)  # uuid of what is fetched
    file_name: Mapped[str]  # what the client saves it as
    store_id: Mapped[int] = refers("image_store")
    path: Mapped[str] = mapped_column(String(1000))  # below the store
    temporary: Mapped[bool] = mapped_column(default=False)  # the file was made for the link, and goes with it
    size: Mapped[Bytes] = mapped_column(default=0)
    expires: Mapped[datetime] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(default="Ready")


class UploadTicket(Owned, Base):
    """What a browser's form needs to send one image."""

    __tablename__ = "upload_ticket"

    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str]  # Volume, Template, Iso
    subject: Mapped[str] = mapped_column(String(40), index=True)  # uuid of what was registered for it
    expires: Mapped[datetime] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(default="Open")  # Used


class VolumeOnStore(Internal, Base):
    """A disk's image on secondary storage: uploaded, and not on primary storage yet."""

    __tablename__ = "volume_on_store"
    __table_args__ = (UniqueConstraint("volume_id", "store_id"), Base.__table_args__)

    volume_id: Mapped[int] = refers("volume")
    store_id: Mapped[int] = refers("image_store")
    zone_id: Mapped[int] = refers("zone")
    state: Mapped[str] = mapped_column(default="Creating")  # Ready, Failed
    url: Mapped[str | None] = mapped_column(String(2048))
    path: Mapped[str] = mapped_column(String(1000), default="")  # below the store
    format: Mapped[str] = mapped_column(default="QCOW2")
    checksum: Mapped[str | None]
    size: Mapped[Bytes] = mapped_column(default=0)
    physical_size: Mapped[Bytes] = mapped_column(default=0)
    progress: Mapped[int] = mapped_column(default=0)  # percent
    error: Mapped[Long | None]
