"""Which networks have to be made ready before a machine starts."""

from __future__ import annotations

from functools import cache

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from mgmt_server.db.prepared import among
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import NetworkOfferingService
from mgmt_server.model.vm import Vm


@cache
def _routers() -> Select[tuple[int, int]]:
    """How many routers run in each network that wants one."""
    wants = select(NetworkOfferingService.offering_id).where(NetworkOfferingService.provider == "VirtualRouter")
    router = (Vm.network_id == Network.id) & (Vm.kind == "DomainRouter") & Vm.removed.is_(None)
    rows = select(Network.id, func.count(Vm.id)).outerjoin(Vm, router & Vm.state.in_(("Running", "Stopping")))
    return rows.where(among(Network.id, "networks"), Network.offering_id.in_(wants)).group_by(Network.id)


def unready_of(tx: Session, vm: Vm) -> list[int]:
    """Those of a machine."""
    inside = select(Network).join(Nic, Nic.network_id == Network.id).where(Nic.vm_id == vm.id, Nic.removed.is_(None))
    return to_implement(tx, list(tx.scalars(inside)))


def to_implement(tx: Session, networks: list[Network]) -> list[int]:
    """Those without VLAN yet, and those that want a router and have none that runs."""
    if not networks:
        return []
    tx.flush()
    rows = tx.execute(_routers(), {"networks": [n.id for n in networks]}).all()
    served = {number: count for number, count in rows}  # noqa: C416  rows are no pairs to dict
    found = []
    for network in networks:
        unready = network.guest_type != "Shared" and network.state != "Implemented"
        if unready or served.get(network.id) == 0:
            found.append(network.id)
    return found
