"""What a machine gives back: its addresses, its disks' space."""

from __future__ import annotations

import re

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import addresses
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.network import Nic
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import PodAddress
from mgmt_server.resources.network.nics import drop_addresses

OURS = re.compile(r"[irvs](-\d+)+-VM")
INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def spoken(vm: Vm) -> str:
    return vm.name if vm.kind != "User" else f"the machine {vm.display_name or vm.name}"


def only_users(vm: Vm) -> None:
    if vm.kind != "User":
        raise InvalidValue(f"{vm.name} is a system VM: it has commands of its own")


def free_instance_name(tx: Session, name: str) -> None:
    """Raises InvalidValue for what no other machine may be called by its host."""
    if not INSTANCE.fullmatch(name):
        raise InvalidValue(f"{name[:100]!r} is no name for a host: letters, digits, dots, hyphens and _, at most 80")
    taken = tx.scalar(select(Vm.display_name).where(Vm.called == name, Vm.removed.is_(None)).limit(1))
    if taken is not None:
        raise InvalidValue(f"The machine {taken} is called {name} by its host already: names of hosts are distinct")


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
