"""Networks and the NICs on them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, String, UniqueConstraint, select, true
from sqlalchemy.orm import Mapped, mapped_column

from mgmt_server.db import Base, States, refers
from mgmt_server.model.account import Domain
from mgmt_server.model.tenancy import Caller, Owned, ancestors


class Network(Owned, Base):
    __tablename__ = "network"

    name: Mapped[str]
    display_text: Mapped[str | None]
    zone_id: Mapped[int] = refers("zone")
    physical_network_id: Mapped[int | None] = refers("physical_network")
    offering_id: Mapped[int] = refers("network_offering")
    traffic_type: Mapped[str] = mapped_column(default="Guest")
    guest_type: Mapped[str | None]  # Isolated, Shared, L2
    mode: Mapped[str] = mapped_column(default="Dhcp")
    broadcast: Mapped[str | None]  # vlan://100, vxlan://5001, vlan://untagged; empty until implemented
    acl_type: Mapped[str] = mapped_column(default="Account")  # Domain
    subdomain_access: Mapped[bool] = mapped_column(default=True)
    gateway: Mapped[str | None]
    netmask: Mapped[str | None]
    cidr: Mapped[str | None]
    ip6_gateway: Mapped[str | None]
    ip6_cidr: Mapped[str | None]
    dns1: Mapped[str | None]
    dns2: Mapped[str | None]
    network_domain: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="Allocated")
    is_default: Mapped[bool] = mapped_column(default=False)
    is_system: Mapped[bool] = mapped_column(default=False)
    persistent: Mapped[bool] = mapped_column(default=False)
    restart_required: Mapped[bool] = mapped_column(default=False)
    display: Mapped[bool] = mapped_column(default=True)
    specify_ip_ranges: Mapped[bool] = mapped_column(default=False)
    mac_sequence: Mapped[int] = mapped_column(default=0)  # the next guest NIC's number, for its MAC
    document_version: Mapped[int] = mapped_column(default=0)  # of the router's document; raised with every change
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    @classmethod
    def offered(cls, caller: Caller) -> ColumnElement[bool]:
        """Shared networks of all, or of a domain above the caller's."""
        above = select(Domain.id).where(Domain.path.in_(ancestors(caller.domain_path)))
        mine = (cls.domain_id == caller.domain_id) | (cls.subdomain_access & cls.domain_id.in_(above))
        return (cls.acl_type == "Domain") & mine & ~cls.is_system


STATES = States(
    Network.state,
    Allocated=["Implementing", "Setup", "Destroy"],
    Setup=["Implementing", "Destroy"],
    Implementing=["Implemented", "Shutdown", "Allocated"],
    Implemented=["Shutdown", "Destroy"],
    Shutdown=["Allocated", "Implemented", "Destroy"],
)


class Nic(Base):
    """`taken` is the address while the NIC lives and empty after: the last guard against giving one out twice.

    A secondary address (see NicAddress) stands in the same key, by a row that is removed from its beginning.
    """

    __tablename__ = "nic"
    __table_args__ = (UniqueConstraint("network_id", "taken"), Base.__table_args__)

    vm_id: Mapped[int] = refers("vm")
    network_id: Mapped[int] = refers("network", index=False)
    device: Mapped[int] = mapped_column(default=0)
    mac: Mapped[str] = mapped_column(String(17), index=True)
    address: Mapped[str | None]
    taken: Mapped[str | None]
    netmask: Mapped[str | None]
    gateway: Mapped[str | None]
    ip6_address: Mapped[str | None]
    broadcast: Mapped[str | None]
    traffic: Mapped[str] = mapped_column(default="Guest")
    is_default: Mapped[bool] = mapped_column(default=False)
    enabled: Mapped[bool] = mapped_column(default=True)
    dhcp_options: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)  # code -> value, besides the usual ones
    address_id: Mapped[int | None] = refers(
        "address"
    )  # its row in a range of addresses, for shared and public networks

    @classmethod
    def operable_by(cls, caller: Caller) -> ColumnElement[bool]:
        """Whose the machine is, has its NICs; those of routers are administrators'."""
        from mgmt_server.model.vm import Vm

        if caller.is_root:
            return true()
        return cls.vm_id.in_(select(Vm.id).where(Vm.kind == "User", Vm.operable_by(caller)))

    usable_by = operable_by


class NicAddress(Owned, Base):
    """A secondary address of a NIC. `taken` like a NIC's: the address while it is held, empty after.

    In an isolated network a row of `nic` holds it too, so that no NIC gets it; in a range, its row there.
    """

    __tablename__ = "nic_address"
    __table_args__ = (UniqueConstraint("network_id", "taken"), Base.__table_args__)

    nic_id: Mapped[int] = refers("nic")
    network_id: Mapped[int] = refers("network", index=False)
    address: Mapped[str]
    taken: Mapped[str | None]
    address_id: Mapped[int | None] = refers("address")
