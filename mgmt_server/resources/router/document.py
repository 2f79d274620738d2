"""What a router should be, computed from the database, and telling it."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

from netaddr import IPAddress
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import reading, write
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.errors import Failed
from mgmt_server.model.account import Domain
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.scopes import of_account, of_domain
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.template import OsType
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.protocol.router import SOFTWARE, Guest, Interface, Lease, RouterDocument
from mgmt_server.resources.network.create import services

SSH_KEY = Setting(
    "ssh.publickey", "Public SSH key of people who may log in to system VMs over the control link", type="String"
)
MANAGEMENT_CIDR = Setting("management.network.cidr", "Networks from which system VMs are managed, as CIDRs")
HOST_OF_ACCOUNT = Setting(
    "account.allow.expose.host.hostname",
    "Whether the account's machines are told their host's name; needs global.allow.expose.host.hostname",
)
HOST_TOLD = Setting(
    "global.allow.expose.host.hostname",
    "Whether accounts may have their machines told the name of the host; see account.allow.expose.host.hostname",
)
DOMAIN_TOLD = Setting(
    "metadata.allow.expose.domain", "Whether the domain's machines read its name and its id in their metadata"
)
CLOUD_NAME = Setting("metadata.custom.cloud.name", "What machines read as cloud-name in their metadata; empty: nothing")
EXTERNAL_DNS = Setting(
    "use.external.dns", "Whether guests ask the zone's name servers dns1 and dns2 themselves, instead of their router"
)
BOTH_GATEWAYS = Setting(
    "network.dhcp.nondefaultnetwork.setgateway.guestos",
    "Guest OS types, by how their names begin, whose further NICs are told their gateway too",
)
LIVING = ("Starting", "Running", "Stopping", "Stopped", "Migrating")


def tell(call: UUID, network_id: int) -> None:
    """Bring every running router of a network up to date."""
    with reading() as session:
        rows = select(Vm.id).where(Vm.network_id == network_id, Vm.kind == "DomainRouter", Vm.removed.is_(None))
        routers = list(session.scalars(rows.where(Vm.state == "Running")))
    for router in routers:
        tell_router(call, router)


def tell_router(call: UUID, router_id: int) -> None:
    """Compute a router's document, and have its host's agent apply it. Raises Failed with the router's own words.

    Each telling has a new version, and a router refuses an older one than it has: whoever comes late changes nothing.
    """
    found = write(_document, router_id)
    if found is None:
        return
    host, document, known = found
    applied = dispatch.configure_router(UUID(bytes=_mixed(call, document.version)), host, document)
    if applied.error:
        raise Failed(f"the router {document.name} could not be configured: {applied.error}")
    if applied.software not in ("", known):
        write(_note_software, router_id, applied.software)


def _mixed(call: UUID, version: int) -> bytes:
    """An id of its own for each version: a repeat of the step computes a newer document."""
    return call.bytes[:8] + version.to_bytes(8, "big")


def _note_software(tx: Session, router_id: int, version: str) -> None:
    tx.get_one(Vm, router_id).software_version = version


def _document(tx: Session, router_id: int) -> tuple[HostRef, RouterDocument, str] | None:
    """Its host, its document, and the version of its software as far as that is known."""
    router = tx.get_one(Vm, router_id)
    host = tx.get(Host, router.host_id) if router.host_id is not None else None
    if host is None or router.network_id is None:
        return None
    if host.hypervisor == "Simulator":  # nothing is in it that could tell
        router.software_version = SOFTWARE
        return None
    raised = (
        update(Network).where(Network.id == router.network_id).values(document_version=Network.document_version + 1)
    )
    tx.execute(raised.execution_options(synchronize_session=False))
    network = tx.get_one(Network, router.network_id, populate_existing=True)
    told = HostRef(host.uuid, host.name, host.hypervisor, host.agent or "")
    return told, compute(tx, router, network), router.software_version or ""


def compute(tx: Session, router: Vm, network: Network) -> RouterDocument:
    zone = tx.get_one(Zone, network.zone_id)
    nics = list(tx.scalars(select(Nic).where(Nic.vm_id == router.id, Nic.removed.is_(None)).order_by(Nic.device)))
    has = services(tx, network.offering_id)
    leases, guests = _guests(tx, network, zone, router)
    shared = network.guest_type == "Shared"
    return RouterDocument(
        name=router.instance,
        version=network.document_version,
        interfaces=tuple(_interface(n) for n in nics),
        domain=network.network_domain or "",
        dns=tuple(d for d in (network.dns1 or zone.dns1, network.dns2 or zone.dns2) if d),
        gateway="" if shared else (network.gateway or ""),
        guest_gateway=network.gateway or "",
        dhcp="Dhcp" in has,
        dns_service="Dns" in has and not EXTERNAL_DNS.flag(Scope("Zone", zone.id)),
        user_data="UserData" in has,
        leases=tuple(leases),
        guests=tuple(guests),
        authorized_keys=tuple(k for k in (SSH_KEY.text().strip(),) if k),
        management_cidr=MANAGEMENT_CIDR.text(),
    )


def _interface(nic: Nic) -> Interface:
    return Interface(
        name=f"eth{nic.device}",
        mac=nic.mac,
        traffic=nic.traffic,
        address=nic.address or "",
        prefix=IPAddress(nic.netmask).netmask_bits() if nic.netmask else 24,
        gateway=(nic.gateway or "") if nic.traffic != "Control" else "",
    )


def _guests(tx: Session, network: Network, zone: Zone, router: Vm) -> tuple[list[Lease], list[Guest]]:
    rows = tx.execute(
        select(Nic, Vm, ServiceOffering.name, Host.name, Domain, OsType.name)
        .join(Vm, Vm.id == Nic.vm_id)
        .join(Domain, Domain.id == Vm.domain_id)
        .outerjoin(Host, Host.id == Vm.host_id)
        .outerjoin(OsType, OsType.id == Vm.os_type_id)
        .join(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
        .where(Nic.network_id == network.id, Nic.removed.is_(None), Nic.address.is_not(None))
        .where(Vm.kind == "User", Vm.removed.is_(None), Vm.state.in_(LIVING))
        .order_by(Nic.id)
    ).all()
    leases, guests = [], []
    told = tuple(BOTH_GATEWAYS.words())
    for nic, vm, offering, host, domain, os in rows:
        default = nic.is_default or (os or "").startswith(told)
        leases.append(Lease(nic.mac, nic.address, vm.name, default=default, options=nic.dhcp_options or {}))
        data = vm.user_data or ""
        guests.append(
            Guest(
                address=nic.address,
                metadata=_metadata(vm, nic, zone, offering) | _exposed(tx, vm, host, domain),
                user_data=_standard(data),
                password=vm.password or "",
            )
        )
    return leases, guests


def _metadata(vm: Vm, nic: Nic, zone: Zone, offering: str) -> dict[str, str]:
    found: dict[str, Any] = {
        **vm.user_data_details,  # values of the variables in its user data, which the guest fills in
        "service-offering": offering,
        "availability-zone": zone.name,
        "local-ipv4": nic.address,
        "local-hostname": vm.name,
        "public-ipv4": nic.address,
        "public-hostname": vm.name,
        "instance-id": vm.uuid,
        "vm-id": vm.uuid,
        "public-keys": vm.public_keys,
        "cloud-name": CLOUD_NAME.text(Scope("Zone", zone.id)).strip(),
    }
    return {k: str(v) for k, v in found.items() if v}


def tells_host(tx: Session, vm: Vm) -> bool:
    """Whether the machine is told on which host it runs."""
    return HOST_TOLD.flag() and HOST_OF_ACCOUNT.flag(*of_account(tx, vm.account_id))


def _exposed(tx: Session, vm: Vm, host: str | None, domain: Domain) -> dict[str, str]:
    """What a machine is told of where it is, where settings say so."""
    found = {}
    if host and tells_host(tx, vm):
        found["hypervisor-host-name"] = host
    if DOMAIN_TOLD.somewhere() and DOMAIN_TOLD.flag(*of_domain(tx, vm.domain_id)):
        found |= {"cloud-domain": domain.name, "cloud-domain-id": domain.uuid}
    return found


def _standard(text: str) -> str:
    """User data as the protocol's base64 without line breaks; clients send both alphabets."""
    if not text:
        return ""
    return base64.b64encode(base64.b64decode(text.replace("-", "+").replace("_", "/"))).decode()
