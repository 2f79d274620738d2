"""Routers and system VMs as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, always, many, only, shown
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ADMIN
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Pod, Zone
from mgmt_server.protocol.router import SOFTWARE
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import nic_view, owner_fields, owner_joins, pending_job

Control, Public, Guest, Private = (aliased(Nic, name=n) for n in ("control", "public", "guest", "private"))
TYPES = {"ConsoleProxy": "consoleproxy", "SecondaryStorageVm": "secondarystoragevm"}


def _nic(alias: Any, traffic: str) -> tuple[Any, Any]:
    return alias, (alias.vm_id == Vm.id) & (alias.traffic == traffic) & alias.removed.is_(None)


def _network(alias: Any, column: Any) -> Any:
    return select(column).where(Network.id == alias.network_id).correlate(alias).limit(1).scalar_subquery()


COMMON: tuple[tuple[Any, Any], ...] = (
    (Zone, Zone.id == Vm.zone_id),
    (Pod, Pod.id == Vm.pod_id),
    (Host, Host.id == Vm.host_id),
    (Template, Template.id == Vm.template_id),
    (ServiceOffering, ServiceOffering.id == Vm.service_offering_id),
    _nic(Control, "Control"),
    _nic(Public, "Public"),
)
FIELDS: dict[str, Any] = {
    "id": Vm.uuid,
    "name": Vm.name,
    "zoneid": Zone.uuid,
    "zonename": Zone.name,
    "dns1": Zone.dns1,
    "dns2": Zone.dns2,
    "podid": only(ADMIN, Pod.uuid),
    "podname": only(ADMIN, Pod.name),
    "hostid": only(ADMIN, Host.uuid),
    "hostname": only(ADMIN, Host.name),
    "hostcontrolstate": only(ADMIN, Host.resource_state),
    "hypervisor": Vm.hypervisor,
    "linklocalip": Control.address,
    "linklocalmacaddress": Control.mac,
    "linklocalnetmask": Control.netmask,
    "publicip": Public.address,
    "publicmacaddress": Public.mac,
    "publicnetmask": Public.netmask,
    "templateid": Template.uuid,
    "templatename": Template.name,
    "created": Vm.created,
    "state": Vm.state,
    "serviceofferingid": ServiceOffering.uuid,
    "serviceofferingname": ServiceOffering.name,
    "version": Vm.software_version,
    "arch": Template.arch,
    "hasannotations": has_annotations("VR", Vm.uuid),
    "jobid": pending_job(Vm),
}

router_view = View(
    "router",
    Vm,
    response="DomainRouterResponse",
    keyword=(Vm.name,),
    joins=(*COMMON, _nic(Guest, "Guest"), *owner_joins(Vm)),
    **FIELDS,
    networkdomain=shown(
        lambda network, zone: network or zone, _network(Guest, Network.network_domain), Zone.network_domain
    ),
    gateway=shown(lambda public, guest: public or guest, Public.gateway, Guest.gateway),
    linklocalnetworkid=_network(Control, Network.uuid),
    publicnetworkid=_network(Public, Network.uuid),
    guestipaddress=Guest.address,
    guestmacaddress=Guest.mac,
    guestnetmask=Guest.netmask,
    guestnetworkid=_network(Guest, Network.uuid),
    guestnetworkname=_network(Guest, Network.name),
    isredundantrouter=always(False),
    redundantstate=Vm.redundant_state,
    role=Vm.role,
    softwareversion=Vm.software_version,
    requiresupgrade=shown(lambda version: version not in (None, SOFTWARE), Vm.software_version),
    healthchecksfailed=always(False),
    nic=many(nic_view, Nic.vm_id),
    **owner_fields(),
)

system_vm_view = View(
    "systemvm",
    Vm,
    response="SystemVmResponse",
    keyword=(Vm.name,),
    joins=(*COMMON, _nic(Private, "Management")),
    **FIELDS,
    networkdomain=Zone.network_domain,
    systemvmtype=shown(TYPES.get, Vm.kind),
    gateway=shown(lambda public, private: public or private, Public.gateway, Private.gateway),
    privateip=Private.address,
    privatemacaddress=Private.mac,
    privatenetmask=Private.netmask,
    agentstate=Vm.agent_state,
    activeviewersessions=shown(lambda kind: 0 if kind == "ConsoleProxy" else None, Vm.kind),
    isdynamicallyscalable=Vm.dynamically_scalable,
)
