"""Networks at work: implementing one (its VLAN, its router), telling its router, deleting it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import addresses, counted
from mgmt_server.db import now
from mgmt_server.db.prepared import put
from mgmt_server.jobs import Job
from mgmt_server.model.account import SYSTEM_USER
from mgmt_server.model.event import Event
from mgmt_server.model.network import STATES, Network
from mgmt_server.model.offering import NetworkOffering
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Address, PhysicalNetwork, VlanRange
from mgmt_server.resources.network.create import needs_router


@dataclass(frozen=True)
class Router:
    id: int
    uuid: str


def implement(job: Job, network_id: int) -> None:
    """Make a network ready for machines. Does nothing where it is."""
    from mgmt_server.resources.vm import flows as vm_flows
    from mgmt_server.resources.vm.start import Options

    for router in job.write(begin_implement, network_id, undo=not_implemented):
        instance = ("DomainRouter", router.uuid)
        job.wait(vm_flows.start, router.id, Options(), [], [], lock=f"vm:{router.id}", instance=instance)
    job.write(implemented, network_id)


def learn(job: Job, network_id: int) -> None:
    """Tell the network's router what changed."""
    from mgmt_server.resources.router import document

    if job.write(has_router, network_id):
        job.call(document.tell, network_id)


def restart(job: Job, network_id: int, cleanup: bool) -> None:
    """Make a network's router anew (`cleanup`), or start it and tell it everything once more."""
    from mgmt_server.resources.vm import flows as vm_flows

    if cleanup:
        for router in job.write(begin_delete, network_id):
            job.wait(vm_flows.destroy, router.id, True, lock=f"vm:{router.id}", instance=("DomainRouter", router.uuid))
    if job.write(in_use, network_id):
        implement(job, network_id)
        learn(job, network_id)


def in_use(tx: Session, network_id: int) -> bool:
    network = tx.get_one(Network, network_id)
    return network.guest_type == "Shared" or network.state != "Allocated"


def delete(job: Job, network_id: int) -> None:
    from mgmt_server.resources.vm import flows as vm_flows

    for router in job.write(begin_delete, network_id):
        job.wait(vm_flows.destroy, router.id, True, lock=f"vm:{router.id}", instance=("DomainRouter", router.uuid))
    job.write(deleted, network_id)


def begin_implement(tx: Session, network_id: int) -> list[Router]:
    """Take VLAN and router; the routers that have to be started."""
    from mgmt_server.resources.router.create import create_router

    network = tx.get_one(Network, network_id)
    if network.guest_type != "Shared" and network.state == "Allocated":
        STATES.move(tx, network_id, "Allocated", "Implementing")
        if network.broadcast is None:
            physical = tx.get_one(PhysicalNetwork, network.physical_network_id)
            kind = "vxlan" if (physical.isolation or "").upper() == "VXLAN" else "vlan"
            network.broadcast = f"{kind}://{addresses.take_vnet(tx, network)}"
            _tell(tx, network, "ASSIGN")
    if not needs_router(tx, network.offering_id):
        return []
    routers = routers_of(tx, network_id)
    if not routers:
        routers = [create_router(tx, network, tx.get_one(NetworkOffering, network.offering_id))]
    return [Router(r.id, r.uuid) for r in routers if r.state == "Stopped"]


def routers_of(tx: Session, network_id: int) -> list[Vm]:
    rows = select(Vm).where(Vm.network_id == network_id, Vm.kind == "DomainRouter", Vm.removed.is_(None))
    return list(tx.scalars(rows.order_by(Vm.id)))


def not_implemented(tx: Session, network_id: int) -> None:
    """Undo of `begin_implement`. A router that does not start stays, stopped, for its reason to be seen."""
    network = tx.get_one(Network, network_id)
    if network.state == "Implementing":
        _give_back(tx, network)
        STATES.move(tx, network_id, "Implementing", "Allocated", broadcast=None)


def _give_back(tx: Session, network: Network) -> None:
    if addresses.free_vnets(tx, network.id):
        _tell(tx, network, "RELEASE")


def _tell(tx: Session, network: Network, what: str) -> None:
    """What became of the VLAN or VNI that a network had of its zone: ASSIGN or RELEASE."""
    kind, _, tag = str(network.broadcast).partition("://")
    done = "was given to" if what == "ASSIGN" else "was given back by"
    put(
        tx,
        Event,
        type=f"ZONE.{kind.upper()}.{what}",
        description=f"{'VLAN' if kind == 'vlan' else 'VNI'} {tag} {done} network {network.name}"[:1024],
        user_id=SYSTEM_USER,
        account_id=network.account_id,
        domain_id=network.domain_id,
        resource_type="Network",
        resource_uuid=network.uuid,
    )


def implemented(tx: Session, network_id: int) -> None:
    network = tx.get_one(Network, network_id)
    if network.state == "Implementing":
        STATES.move(tx, network_id, "Implementing", "Implemented")


def has_router(tx: Session, network_id: int) -> bool:
    from mgmt_server.resources.network.nics import served_by_router

    return served_by_router(tx, tx.get_one(Network, network_id))


def begin_delete(tx: Session, network_id: int) -> list[Router]:
    return [Router(r.id, r.uuid) for r in routers_of(tx, network_id)]


def deleted(tx: Session, network_id: int) -> None:
    """Give VLAN and addresses back."""
    _give_back(tx, tx.get_one(Network, network_id))
    ranges = list(tx.scalars(select(VlanRange).where(VlanRange.network_id == network_id, VlanRange.removed.is_(None))))
    for found in ranges:
        found.removed = now()
    for address in tx.scalars(select(Address).where(Address.network_id == network_id, Address.state != "Free")):
        addresses.free(tx, address.id)
    network = tx.get_one(Network, network_id)
    if network.removed is None:
        counted.network_goes(tx, network)
    network.state, network.removed = "Destroy", now()
