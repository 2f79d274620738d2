"""Affinity groups: machines that shall be apart, or together, or where something is dedicated to them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, UniqueConstraint, select, true
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, refers
from mgmt_server.model.account import SYSTEM_ACCOUNT, Domain
from mgmt_server.model.tenancy import Caller, Internal, Owned, ancestors

EXPLICIT = "ExplicitDedication"  # of what is dedicated; a domain's is the system account's, and of that domain


class AffinityGroup(Owned, Base):
    __tablename__ = "affinity_group"
    __table_args__ = (UniqueConstraint("account_id", "name", "removed"), Base.__table_args__)

    name: Mapped[str]
    description: Mapped[str | None]
    type: Mapped[str]  # host anti-affinity, host affinity, and both non-strict; ExplicitDedication
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        """Groups of dedications are made and deleted by root administrators."""
        if caller.is_root:
            return true()
        return caller.within(cls.account_id, cls.domain_id) & (cls.type != EXPLICIT)

    @classmethod
    def offered(cls, caller: Caller) -> ColumnElement[bool]:
        """What is dedicated to the caller's domain, or to one above it."""
        above = select(Domain.id).where(Domain.path.in_(ancestors(caller.domain_path)))
        return (cls.type == EXPLICIT) & (cls.account_id == SYSTEM_ACCOUNT) & cls.domain_id.in_(above)

    @classmethod
    def usable_by(cls, caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        return caller.within(cls.account_id, cls.domain_id) | cls.offered(caller)


class AffinityMember(Internal, Base):
    __tablename__ = "affinity_member"
    __table_args__ = (UniqueConstraint("group_id", "vm_id"), Base.__table_args__)

    group_id: Mapped[int] = refers("affinity_group", index=False)
    vm_id: Mapped[int] = refers("vm")
