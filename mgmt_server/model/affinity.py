"""Affinity groups: machines that shall be apart, or together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, refers
from mgmt_server.model.tenancy import Internal, Owned


class AffinityGroup(Owned, Base):
    __tablename__ = "affinity_group"
    __table_args__ = (UniqueConstraint("account_id", "name", "removed"), Base.__table_args__)

    name: Mapped[str]
    description: Mapped[str | None]
    type: Mapped[str]  # host anti-affinity, host affinity, and both non-strict
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class AffinityMember(Internal, Base):
    __tablename__ = "affinity_member"
    __table_args__ = (UniqueConstraint("group_id", "vm_id"), Base.__table_args__)

    group_id: Mapped[int] = refers("affinity_group", index=False)
    vm_id: Mapped[int] = refers("vm")
