"""What a router should be: one document, computed from the database; its agent makes it so and says what differed.

The document is whole, never a change: whoever applies it twice, or out of order (see `version`), ends at one place.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Interface:
    name: str  # eth0 ...
    mac: str
    traffic: str  # Guest, Public, Control
    address: str  # 10.1.1.1
    prefix: int
    gateway: str = ""
    mtu: int = 0


@dataclass(frozen=True)
class Lease:
    """A guest's NIC: its fixed address and name."""

    mac: str
    address: str
    hostname: str
    interface: str = "eth0"
    default: bool = True  # whether this NIC gives the guest its gateway and name servers
    options: dict[str, str] = field(default_factory=dict)  # code -> value of other DHCP options: see dhcp.py


@dataclass(frozen=True)
class Guest:
    """What a guest may ask of the metadata (80) and password (8080) servers, by its address."""

    address: str
    metadata: dict[str, str] = field(default_factory=dict)  # instance-id, local-hostname, public-keys, ...
    user_data: str = ""  # base64 of the bytes
    password: str = ""  # empty: none waiting


@dataclass(frozen=True)
class RouterDocument:
    name: str  # r-4-VM
    version: int  # a router refuses one lower than it has
    interfaces: tuple[Interface, ...]
    domain: str = ""  # network domain of the guests
    dns: tuple[str, ...] = ()  # upstream servers
    gateway: str = ""  # of the guests; empty in a shared network whose gateway is elsewhere: then `guest_gateway` is it
    guest_gateway: str = ""
    dhcp: bool = True
    dns_service: bool = True
    user_data: bool = True
    leases: tuple[Lease, ...] = ()
    guests: tuple[Guest, ...] = ()
    authorized_keys: tuple[str, ...] = ()  # of people, for SSH on 3922 over the control link
    management_cidr: str = ""


SOFTWARE = "1"  # what images that are made now have in them; raised when those made before do not do any more


@dataclass(frozen=True)
class Applied:
    """What a router answers: what it changed, and what is wrong if it could not."""

    version: int
    changed: tuple[str, ...] = ()  # dnsmasq, addresses, firewall, metadata, password, ssh
    error: str = ""
    software: str = ""  # the version of what is in it; images made before it was told say nothing
