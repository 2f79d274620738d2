"""Which networks have to be made ready before a machine starts."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.model.network import Network
from mgmt_server.model.offering import NetworkOfferingService
from mgmt_server.model.vm import Vm


def to_implement(tx: Session, networks: list[Network]) -> list[int]:
    """Those without VLAN yet, and those that want a router and have none that runs."""
    if not networks:
        return []
    ids = [n.id for n in networks]
    wants = select(NetworkOfferingService.offering_id).where(NetworkOfferingService.provider == "VirtualRouter")
    rows = (
        select(Network.id, func.count(Vm.id))
        .outerjoin(
            Vm,
            (Vm.network_id == Network.id)
            & (Vm.kind == "DomainRouter")
            & Vm.removed.is_(None)
            & Vm.state.in_(("Running", "Stopping")),
        )
        .where(Network.id.in_(ids), Network.offering_id.in_(wants))
        .group_by(Network.id)
    )
    tx.flush()
    served = {number: count for number, count in tx.execute(rows).all()}  # noqa: C416  rows are no pairs to dict
    found = []
    for network in networks:
        unready = network.guest_type != "Shared" and network.state != "Implemented"
        if unready or served.get(network.id) == 0:
            found.append(network.id)
    return found
