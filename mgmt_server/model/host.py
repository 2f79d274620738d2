"""Hosts: what they have and what is promised of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Bytes, States, refers
from mgmt_server.model.tenancy import Internal

MOST_MACHINES = {"KVM": 50, "Simulator": 50}  # on one host, of each hypervisor


class Host(Internal, Base):
    """A hypervisor host. `cpu_used` (MHz) and `memory_used` are promised to machines, running or about to be."""

    __tablename__ = "host"
    __table_args__ = (Index("ix_host_placement", "cluster_id", "state", "resource_state"), Base.__table_args__)

    name: Mapped[str]
    zone_id: Mapped[int] = refers("zone")
    pod_id: Mapped[int] = refers("pod")
    cluster_id: Mapped[int] = refers("cluster", index=False)
    type: Mapped[str] = mapped_column(default="Routing")
    hypervisor: Mapped[str]
    hypervisor_version: Mapped[str | None]
    url: Mapped[str]
    address: Mapped[str]
    guid: Mapped[str] = mapped_column(String(100))
    agent: Mapped[str | None] = mapped_column(String(40))  # uuid of the agent that runs there
    state: Mapped[str] = mapped_column(default="Up")  # Connecting, Up, Down, Disconnected, Alert, Removed
    resource_state: Mapped[str] = mapped_column(default="Enabled")  # Disabled, PrepareForMaintenance, Maintenance
    cpus: Mapped[int] = mapped_column(default=0)
    sockets: Mapped[int] = mapped_column(default=1)
    speed: Mapped[int] = mapped_column(default=0)  # MHz
    memory: Mapped[Bytes] = mapped_column(default=0)
    cpu_capacity: Mapped[int] = mapped_column(default=0)  # MHz, with overcommit: what placements are checked against
    memory_capacity: Mapped[Bytes] = mapped_column(default=0)  # likewise, after what is kept for the host itself
    cpu_used: Mapped[int] = mapped_column(default=0)
    memory_used: Mapped[Bytes] = mapped_column(default=0)
    machines: Mapped[int] = mapped_column(default=0)  # how many are promised
    capabilities: Mapped[str | None]
    tags: Mapped[str | None] = mapped_column(String(1000))  # comma separated
    tag_rule: Mapped[str | None] = mapped_column(String(1000))  # instead of tags: an expression over those asked for
    os_category_id: Mapped[int | None] = refers("os_category")
    version: Mapped[str | None]
    accelerator: Mapped[str | None]  # kvm, qemu
    last_pinged: Mapped[datetime | None]
    disconnected: Mapped[datetime | None]
    annotation: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    statistics: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # HostStatistics, last seen


class HypervisorLimits(Internal, Base):
    """What an operator changed of a hypervisor's limits. Without a row those built in hold."""

    __tablename__ = "hypervisor_limits"

    hypervisor: Mapped[str] = mapped_column(unique=True)
    machines: Mapped[int]  # on one host
    data_disks: Mapped[int]  # of one machine
    hosts: Mapped[int | None]  # in one cluster
    storage_motion: Mapped[bool] = mapped_column(default=True)  # disks may move with a running machine
    vm_snapshots: Mapped[bool] = mapped_column(default=True)


STATES = States(
    Host.state,
    Connecting=["Up", "Down", "Alert", "Removed", "Disconnected"],
    Up=["Down", "Disconnected", "Alert", "Removed"],
    Down=["Up", "Removed", "Connecting"],
    Disconnected=["Up", "Down", "Alert", "Removed", "Connecting"],
    Alert=["Up", "Down", "Disconnected", "Removed", "Connecting"],
)
RESOURCE_STATES = States(
    Host.resource_state,
    Enabled=["Disabled", "PrepareForMaintenance", "Maintenance", "Degraded"],
    Disabled=["Enabled", "PrepareForMaintenance", "Maintenance", "Degraded"],
    PrepareForMaintenance=["Maintenance", "Enabled", "Disabled", "ErrorInMaintenance", "ErrorInPrepareForMaintenance"],
    ErrorInPrepareForMaintenance=["Enabled", "Disabled", "PrepareForMaintenance", "ErrorInMaintenance"],
    ErrorInMaintenance=["Enabled", "Disabled", "Maintenance", "PrepareForMaintenance"],
    Maintenance=["Enabled", "Disabled"],
    Degraded=["Enabled", "Disabled"],
)
