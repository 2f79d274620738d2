"""Ranges of public and shared addresses as operators see them."""

from __future__ import annotations

from netaddr import IPNetwork
from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, shown
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.network import Network
from mgmt_server.model.zone import PhysicalNetwork, Pod, VlanRange, Zone
from mgmt_server.resources.views import spoken_path

Public = aliased(Network, name="public_network")  # which every public range of a zone is of


def _vlan(tag: str, type: str) -> str:
    return tag if type != "VirtualNetwork" and tag != "untagged" else f"vlan://{tag}"


def _cidr(gateway: str | None, netmask: str | None) -> str | None:
    return str(IPNetwork(f"{gateway}/{netmask}").cidr) if gateway and netmask else None


def _view(key: str) -> View:
    return View(
        key,
        VlanRange,
        response="VlanIpRangeResponse",
        keyword=(VlanRange.vlan,),
        joins=(
            (Account, Account.id == VlanRange.account_id),
            (Domain, Domain.id == VlanRange.domain_id),
            (Project, Project.account_id == VlanRange.account_id),
            (Network, Network.id == VlanRange.network_id),
            (PhysicalNetwork, PhysicalNetwork.id == VlanRange.physical_network_id),
            (Pod, Pod.id == VlanRange.pod_id),
            (Zone, Zone.id == VlanRange.zone_id),
            (
                Public,
                (Public.zone_id == VlanRange.zone_id)
                & (VlanRange.type == "VirtualNetwork")
                & Public.is_system
                & (Public.traffic_type == "Public"),
            ),
        ),
        id=VlanRange.uuid,
        forvirtualnetwork=shown(lambda type: type == "VirtualNetwork", VlanRange.type),
        zoneid=Zone.uuid,
        vlan=shown(_vlan, VlanRange.vlan, VlanRange.type),
        gateway=VlanRange.gateway,
        netmask=VlanRange.netmask,
        cidr=shown(_cidr, VlanRange.gateway, VlanRange.netmask),
        startip=VlanRange.start_ip,
        endip=VlanRange.end_ip,
        ip6gateway=VlanRange.ip6_gateway,
        ip6cidr=VlanRange.ip6_cidr,
        startipv6=VlanRange.start_ip6,
        endipv6=VlanRange.end_ip6,
        podid=Pod.uuid,
        podname=Pod.name,
        networkid=shown(lambda own, public: own or public, Network.uuid, Public.uuid),
        physicalnetworkid=PhysicalNetwork.uuid,
        forsystemvms=VlanRange.for_system_vms,
        account=shown(lambda name, project: None if project else name, Account.name, Project.id),
        domainid=Domain.uuid,
        domain=Domain.name,
        domainpath=shown(spoken_path, Domain.path),
        projectid=Project.uuid,
        project=Project.name,
    )


range_view = _view("vlan")
listed_view = _view("vlaniprange")  # the list has another key than the object
