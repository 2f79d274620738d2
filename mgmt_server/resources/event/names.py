"""What the things that events are about are called. Things that are gone keep their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.view import PerPage
from mgmt_server.model.account import Account, Domain, Project, Role, User
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.offering import DiskOffering, NetworkOffering, ServiceOffering
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.template import OsCategory, OsType, Template
from mgmt_server.model.tenancy import Caller
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Address, Cluster, PhysicalNetwork, Pod, Provider, Zone

# kinds of resources as the protocol's events name them, with where their names are
NAMES: Mapping[str, Any] = {
    **dict.fromkeys(("VirtualMachine", "DomainRouter", "ConsoleProxy", "SystemVm", "InternalLbVm"), Vm.name),
    **dict.fromkeys(("Template", "Iso"), Template.name),
    "Account": Account.name,
    "Cluster": Cluster.name,
    "DiskOffering": DiskOffering.name,
    "Domain": Domain.name,
    "GuestOs": OsType.name,
    "GuestOsCategory": OsCategory.name,
    "Host": Host.name,
    "ImageStore": ImageStore.name,
    "IpAddress": Address.address,
    "Network": Network.name,
    "NetworkOffering": NetworkOffering.name,
    "PhysicalNetwork": PhysicalNetwork.name,
    "PhysicalNetworkServiceProvider": Provider.name,
    "Pod": Pod.name,
    "Project": Project.name,
    "Role": Role.name,
    "ServiceOffering": ServiceOffering.name,
    "StoragePool": Pool.name,
    "User": User.username,
    "Volume": Volume.name,
    "Zone": Zone.name,
}


def _names(session: Session, _: Caller, events: list[int]) -> dict[int, dict[str, Any]]:
    """One statement for the page, and one for each kind that is on it."""
    rows = select(Event.id, Event.resource_type, Event.resource_uuid).where(
        Event.id.in_(events), Event.resource_uuid.is_not(None), Event.resource_type.in_(NAMES)
    )
    about: dict[str, list[tuple[int, str]]] = {}
    for number, kind, uuid in session.execute(rows):
        about.setdefault(kind, []).append((number, uuid))
    found: dict[int, dict[str, Any]] = {}
    for kind, those in about.items():
        column = NAMES[kind]
        named = select(column.class_.uuid, column).where(column.class_.uuid.in_({uuid for _, uuid in those}))
        known = {uuid: {"resourcename": name} for uuid, name in session.execute(named)}
        found |= {number: known[uuid] for number, uuid in those if uuid in known}
    return found


of_events = PerPage(("resourcename",), _names)
