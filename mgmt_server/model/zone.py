"""Zones, pods, clusters, physical networks with their traffic and providers, and the addresses and tags they own."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, ColumnElement, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, Long, refers
from mgmt_server.model.tenancy import Caller, Internal, Offered


class Zone(Offered, Base):
    __tablename__ = "zone"

    name: Mapped[str]
    description: Mapped[str | None]
    network_type: Mapped[str]  # Basic, Advanced
    type: Mapped[str] = mapped_column(default="Core")  # Edge
    security_groups: Mapped[bool] = mapped_column(default=False)
    dns1: Mapped[str]
    dns2: Mapped[str | None]
    internal_dns1: Mapped[str]
    internal_dns2: Mapped[str | None]
    ip6_dns1: Mapped[str | None]
    ip6_dns2: Mapped[str | None]
    network_domain: Mapped[str | None]
    guest_cidr: Mapped[str | None]
    allocation_state: Mapped[str] = mapped_column(default="Disabled")  # Enabled
    local_storage: Mapped[bool] = mapped_column(default=False)
    dhcp_provider: Mapped[str] = mapped_column(default="VirtualRouter")
    domain_id: Mapped[int | None] = refers("domain")  # dedicated to that domain
    sort_key: Mapped[int] = mapped_column(default=0)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    @classmethod
    def visible_to(cls, caller: Caller) -> ColumnElement[bool]:
        return cls.allocation_state == "Enabled"


class Pod(Internal, Base):
    __tablename__ = "pod"

    name: Mapped[str]
    zone_id: Mapped[int] = refers("zone")
    gateway: Mapped[str]
    netmask: Mapped[str]
    allocation_state: Mapped[str] = mapped_column(default="Enabled")


class PodRange(Internal, Base):
    """A range of management addresses of a pod; its addresses are rows of `pod_address`."""

    __tablename__ = "pod_range"

    pod_id: Mapped[int] = refers("pod")
    start_ip: Mapped[str]
    end_ip: Mapped[str]
    vlan: Mapped[str | None]
    for_system_vms: Mapped[bool] = mapped_column(default=False)


class PodAddress(Internal, Base):
    __tablename__ = "pod_address"
    __table_args__ = (UniqueConstraint("pod_id", "address"), Base.__table_args__)

    pod_id: Mapped[int] = refers("pod")
    range_id: Mapped[int] = refers("pod_range")
    address: Mapped[str]
    vm_id: Mapped[int | None] = refers("vm")  # who has it; empty: free
    taken: Mapped[datetime | None]


class Cluster(Internal, Base):
    __tablename__ = "cluster"

    name: Mapped[str]
    zone_id: Mapped[int] = refers("zone")
    pod_id: Mapped[int] = refers("pod")
    hypervisor: Mapped[str]
    cluster_type: Mapped[str] = mapped_column(default="CloudManaged")
    arch: Mapped[str] = mapped_column(default="x86_64")
    allocation_state: Mapped[str] = mapped_column(default="Enabled")
    managed_state: Mapped[str] = mapped_column(default="Managed")
    cpu_overcommit: Mapped[float] = mapped_column(default=1.0)
    memory_overcommit: Mapped[float] = mapped_column(default=1.0)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class PhysicalNetwork(Internal, Base):
    __tablename__ = "physical_network"

    name: Mapped[str]
    zone_id: Mapped[int] = refers("zone")
    state: Mapped[str] = mapped_column(default="Disabled")
    isolation: Mapped[str | None]  # VLAN, VXLAN, ...
    vlan: Mapped[str | None] = mapped_column(default=None)  # ranges, "100-199,300-310"; rows in `vnet`
    broadcast_domain_range: Mapped[str] = mapped_column(default="ZONE")
    speed: Mapped[str | None]
    tags: Mapped[str | None]
    domain_id: Mapped[int | None] = refers("domain")


class Vnet(Internal, Base):
    """A VLAN or VNI that networks of a physical network may take."""

    __tablename__ = "vnet"
    __table_args__ = (UniqueConstraint("physical_network_id", "tag"), Base.__table_args__)

    physical_network_id: Mapped[int] = refers("physical_network")
    tag: Mapped[int]
    network_id: Mapped[int | None] = refers("network")  # who has it; empty: free
    freed: Mapped[datetime | None]


class TrafficType(Internal, Base):
    __tablename__ = "traffic_type"
    __table_args__ = (UniqueConstraint("physical_network_id", "type"), Base.__table_args__)

    physical_network_id: Mapped[int] = refers("physical_network")
    type: Mapped[str]  # Management, Guest, Public, Storage, Control
    labels: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)  # hypervisor -> label, e.g. {"KVM": "cloudbr0"}
    vlan: Mapped[str | None]
    isolation: Mapped[str | None]


class Provider(Internal, Base):
    """A network service provider of a physical network."""

    __tablename__ = "network_provider"
    __table_args__ = (UniqueConstraint("physical_network_id", "name"), Base.__table_args__)

    physical_network_id: Mapped[int] = refers("physical_network")
    name: Mapped[str]  # VirtualRouter, SecurityGroupProvider, ...
    state: Mapped[str] = mapped_column(default="Disabled")
    services: Mapped[list[str]] = mapped_column(JSON, default=list)
    destination_physical_network_id: Mapped[int | None] = refers("physical_network")


class RouterElement(Internal, Base):
    """What configureVirtualRouterElement switches on."""

    __tablename__ = "router_element"

    provider_id: Mapped[int] = refers("network_provider")
    enabled: Mapped[bool] = mapped_column(default=False)


class VlanRange(Internal, Base):
    """A range of public or shared-guest addresses; its addresses are rows of `address`."""

    __tablename__ = "vlan_range"

    zone_id: Mapped[int] = refers("zone")
    physical_network_id: Mapped[int | None] = refers("physical_network")
    pod_id: Mapped[int | None] = refers("pod")
    network_id: Mapped[int | None] = refers("network")
    vlan: Mapped[str] = mapped_column(default="untagged")  # as clients say it: untagged, 100, vlan://100
    type: Mapped[str] = mapped_column(default="VirtualNetwork")  # VirtualNetwork (public), DirectAttached (shared)
    gateway: Mapped[str | None]
    netmask: Mapped[str | None]
    start_ip: Mapped[str | None]
    end_ip: Mapped[str | None]
    ip6_gateway: Mapped[str | None]
    ip6_cidr: Mapped[str | None]
    start_ip6: Mapped[str | None]
    end_ip6: Mapped[str | None]
    account_id: Mapped[int | None] = refers("account")
    domain_id: Mapped[int | None] = refers("domain")
    for_system_vms: Mapped[bool] = mapped_column(default=False)


class Address(Base):
    """A public or shared-guest IPv4 address of a VLAN range."""

    __tablename__ = "address"
    __table_args__ = (UniqueConstraint("range_id", "address"), Base.__table_args__)

    range_id: Mapped[int] = refers("vlan_range")
    zone_id: Mapped[int] = refers("zone")
    address: Mapped[str]
    state: Mapped[str] = mapped_column(default="Free")  # Allocated
    freed: Mapped[datetime | None]  # the one that was freed longest ago is taken next
    allocated: Mapped[datetime | None]
    account_id: Mapped[int | None] = refers("account")
    domain_id: Mapped[int | None] = refers("domain")
    network_id: Mapped[int | None] = refers("network")  # associated with
    vm_id: Mapped[int | None] = refers("vm")  # the machine whose NIC has it
    source_nat: Mapped[bool] = mapped_column(default=False)

    tenant_scoped: ClassVar[bool] = True  # lists of it narrow by account and domain, though it may have none

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        return caller.within(cls.account_id, cls.domain_id)

    usable_by = operable_by

    @classmethod
    def offered(cls, caller: Caller) -> ColumnElement[bool]:
        return false()


class StorageRange(Internal, Base):
    """Addresses for system VMs on the storage network."""

    __tablename__ = "storage_range"

    zone_id: Mapped[int] = refers("zone")
    pod_id: Mapped[int] = refers("pod")
    gateway: Mapped[str]
    netmask: Mapped[str]
    start_ip: Mapped[str]
    end_ip: Mapped[str]
    vlan: Mapped[int | None]
    description: Mapped[Long | None]


class Dedication(Internal, Base):
    """A zone, pod, cluster or host that only one domain (and those below it) or one account of it may use.

    In pods, clusters and hosts only machines of the affinity group are placed. All that one holder has is of one group.
    """

    __tablename__ = "dedication"
    __table_args__ = (UniqueConstraint("kind", "resource_id"), Base.__table_args__)

    kind: Mapped[str] = mapped_column(String(10))  # Zone, Pod, Cluster, Host
    resource_id: Mapped[int]
    domain_id: Mapped[int] = refers("domain")
    account_id: Mapped[int | None] = refers("account")
    group_id: Mapped[int] = refers("affinity_group")


class GuestVlanRange(Internal, Base):
    """VLANs of a physical network that only one account's networks use."""

    __tablename__ = "guest_vlan_range"

    physical_network_id: Mapped[int] = refers("physical_network")
    first: Mapped[int]
    last: Mapped[int]
    account_id: Mapped[int] = refers("account")
    domain_id: Mapped[int] = refers("domain")
