"""Registered user data, and groups that users sort their machines into."""

from __future__ import annotations

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from mgmt_server.db import Base, Long
from mgmt_server.model.tenancy import Owned


class UserData(Owned, Base):
    """What machines read at their start, registered under a name."""

    __tablename__ = "user_data"
    __table_args__ = (UniqueConstraint("account_id", "name", "removed"), Base.__table_args__)

    name: Mapped[str]
    data: Mapped[Long]  # base64
    params: Mapped[str | None]  # names of its variables, comma separated


class InstanceGroup(Owned, Base):
    __tablename__ = "instance_group"
    __table_args__ = (UniqueConstraint("account_id", "name", "removed"), Base.__table_args__)

    name: Mapped[str]
