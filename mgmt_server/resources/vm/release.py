"""What a machine gives back: its addresses, its disks' space."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import addresses
from mgmt_server.db import now
from mgmt_server.model.network import Nic
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import PodAddress
from mgmt_server.resources.network.nics import drop_addresses


def spoken(vm: Vm) -> str:
    return vm.name if vm.kind != "User" else f"the machine {vm.display_name or vm.name}"


def free_nics(tx: Session, vm_id: int) -> list[int]:
    """Free every address of the machine: the networks that it was in."""
    nics = list(tx.scalars(select(Nic).where(Nic.vm_id == vm_id, Nic.removed.is_(None))))
    for nic in nics:
        if nic.address_id is not None:
            addresses.free(tx, nic.address_id)
        nic.taken, nic.removed = None, now()
    drop_addresses(tx, [n.id for n in nics])
    tx.execute(update(PodAddress).where(PodAddress.vm_id == vm_id).values(vm_id=None))
    tx.flush()
    return [n.network_id for n in nics]
