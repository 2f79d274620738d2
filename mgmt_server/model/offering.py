"""Offerings: what users may choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, ColumnElement, String, UniqueConstraint, false, select, true
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Bytes, refers
from mgmt_server.model.account import Domain
from mgmt_server.model.tenancy import ADMINS, Caller, Internal, Offered, ancestors


class OfferedTo(Internal, Base):
    """A domain that an offering is for, or a zone that it is in. Without such rows it is for all, and in all zones."""

    __tablename__ = "offered_to"

    offering: Mapped[str] = mapped_column(String(40), index=True)  # uuid
    domain_id: Mapped[int | None] = refers("domain")
    zone_id: Mapped[int | None] = refers("zone")


class Choice(Offered):
    """An offering that may be for some domains and those below them, and in some zones."""

    if TYPE_CHECKING:
        uuid: Mapped[str]

    @classmethod
    def usable_by(cls, caller: Caller) -> ColumnElement[bool]:
        if caller.is_root:
            return true()
        above = select(Domain.id).where(Domain.path.in_(ancestors(caller.domain_path)))
        mine: ColumnElement[bool] = OfferedTo.domain_id.in_(above)
        if caller.role in ADMINS:
            below = select(Domain.id).where(Domain.path.startswith(caller.domain_path, autoescape=True))
            mine |= OfferedTo.domain_id.in_(below)
        return cls.visible_to(caller) & (~cls._offered(OfferedTo.domain_id.is_not(None)) | cls._offered(mine))

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        """Domain administrators change what is for nobody outside their domain."""
        if caller.is_root:
            return true()
        if caller.role not in ADMINS:
            return false()
        below = select(Domain.id).where(Domain.path.startswith(caller.domain_path, autoescape=True))
        return cls._offered(OfferedTo.domain_id.in_(below)) & ~cls._offered(OfferedTo.domain_id.not_in(below))

    @classmethod
    def in_zone(cls, zone_id: int) -> ColumnElement[bool]:
        """Those that may be used in a zone."""
        return ~cls._offered(OfferedTo.zone_id.is_not(None)) | cls._offered(OfferedTo.zone_id == zone_id)

    @classmethod
    def for_domain(cls, path: str) -> ColumnElement[bool]:
        """Those that a domain may use."""
        above = select(Domain.id).where(Domain.path.in_(ancestors(path)))
        return ~cls._offered(OfferedTo.domain_id.is_not(None)) | cls._offered(OfferedTo.domain_id.in_(above))

    @classmethod
    def _offered(cls, condition: ColumnElement[bool]) -> ColumnElement[bool]:
        return select(OfferedTo.id).where(OfferedTo.offering == cls.uuid, condition).correlate(cls).exists()


class DiskOffering(Choice, Base):
    """Also the storage half of a service offering (`compute_only`)."""

    __tablename__ = "disk_offering"

    name: Mapped[str]
    display_text: Mapped[str | None]
    size: Mapped[Bytes] = mapped_column(default=0)
    customized: Mapped[bool] = mapped_column(default=False)
    customized_iops: Mapped[bool | None]
    min_iops: Mapped[int | None]
    max_iops: Mapped[int | None]
    compute_only: Mapped[bool] = mapped_column(default=False)
    display: Mapped[bool] = mapped_column(default=True)
    storage_type: Mapped[str] = mapped_column(default="shared")  # local
    provisioning: Mapped[str] = mapped_column(default="thin")
    cache_mode: Mapped[str] = mapped_column(default="none")
    disk_size_strictness: Mapped[bool] = mapped_column(default=False)
    encrypt: Mapped[bool] = mapped_column(default=False)
    tags: Mapped[str | None] = mapped_column(String(4096))
    state: Mapped[str] = mapped_column(default="Active")  # Inactive
    sort_key: Mapped[int] = mapped_column(default=0)
    bytes_read_rate: Mapped[Bytes | None]
    bytes_write_rate: Mapped[Bytes | None]
    iops_read_rate: Mapped[Bytes | None]
    iops_write_rate: Mapped[Bytes | None]
    bytes_read_rate_max: Mapped[Bytes | None]
    bytes_write_rate_max: Mapped[Bytes | None]
    iops_read_rate_max: Mapped[Bytes | None]
    iops_write_rate_max: Mapped[Bytes | None]
    bytes_read_rate_max_length: Mapped[int | None]  # seconds of a burst
    bytes_write_rate_max_length: Mapped[int | None]
    iops_read_rate_max_length: Mapped[int | None]
    iops_write_rate_max_length: Mapped[int | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    @classmethod
    def visible_to(cls, caller: Caller) -> ColumnElement[bool]:
        return cls.display & (cls.state == "Active")


class ServiceOffering(Choice, Base):
    """What a machine gets. cpus, speed and memory are empty where the user chooses (`customized`)."""

    __tablename__ = "service_offering"

    name: Mapped[str]
    display_text: Mapped[str | None]
    cpus: Mapped[int | None]
    speed: Mapped[int | None]  # MHz
    memory: Mapped[int | None]  # MiB
    customized: Mapped[bool] = mapped_column(default=False)
    disk_offering_id: Mapped[int] = refers("disk_offering")  # its root disk
    disk_offering_strict: Mapped[bool] = mapped_column(default=False)  # no other disk offering for the root disk
    root_disk_size: Mapped[Bytes | None]  # instead of the template's
    offer_ha: Mapped[bool] = mapped_column(default=False)
    limit_cpu_use: Mapped[bool] = mapped_column(default=False)
    volatile: Mapped[bool] = mapped_column(default=False)
    host_tag: Mapped[str | None]
    network_rate: Mapped[int | None]  # Mbit/s
    deployment_planner: Mapped[str | None]
    dynamic_scaling: Mapped[bool] = mapped_column(default=True)
    is_system: Mapped[bool] = mapped_column(default=False)
    default_use: Mapped[bool] = mapped_column(default=False)
    system_vm_type: Mapped[str | None]  # domainrouter, consoleproxy, secondarystoragevm
    unique_name: Mapped[str | None] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(default="Active")
    sort_key: Mapped[int] = mapped_column(default=0)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    @classmethod
    def visible_to(cls, caller: Caller) -> ColumnElement[bool]:
        return ~cls.is_system & (cls.state == "Active")


class NetworkOffering(Choice, Base):
    __tablename__ = "network_offering"

    name: Mapped[str]
    display_text: Mapped[str | None]
    unique_name: Mapped[str | None] = mapped_column(unique=True)
    traffic_type: Mapped[str] = mapped_column(default="Guest")
    guest_type: Mapped[str | None]  # Shared, Isolated, L2
    network_rate: Mapped[int | None]
    availability: Mapped[str] = mapped_column(default="Optional")
    state: Mapped[str] = mapped_column(default="Disabled")
    is_default: Mapped[bool] = mapped_column(default=False)
    is_system: Mapped[bool] = mapped_column(default=False)
    conserve_mode: Mapped[bool] = mapped_column(default=True)
    specify_vlan: Mapped[bool] = mapped_column(default=False)
    specify_ip_ranges: Mapped[bool] = mapped_column(default=False)
    persistent: Mapped[bool] = mapped_column(default=False)
    redundant_router: Mapped[bool] = mapped_column(default=False)
    for_vpc: Mapped[bool] = mapped_column(default=False)
    egress_default: Mapped[bool] = mapped_column(default=True)
    max_connections: Mapped[int | None]
    public_access: Mapped[bool] = mapped_column(default=False)
    internet_protocol: Mapped[str | None]
    network_mode: Mapped[str | None]
    routing_mode: Mapped[str | None]
    service_offering_id: Mapped[int | None] = refers("service_offering")
    tags: Mapped[str | None] = mapped_column(String(4096))
    sort_key: Mapped[int] = mapped_column(default=0)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    @classmethod
    def visible_to(cls, caller: Caller) -> ColumnElement[bool]:
        return (cls.state == "Enabled") & ~cls.is_system


class NetworkOfferingService(Offered, Base):
    """A service of a network offering, and who provides it."""

    __tablename__ = "offered_service"
    __table_args__ = (UniqueConstraint("offering_id", "service", "provider"), Base.__table_args__)

    offering_id: Mapped[int] = refers("network_offering")
    service: Mapped[str]  # Dhcp, Dns, UserData, SourceNat, ...
    provider: Mapped[str]  # VirtualRouter, ...
    capabilities: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
