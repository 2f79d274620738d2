"""Faults of the simulated world: which call is met by which, and what that means.

Faults are kept in the database and read at most every three seconds; whoever changes them on this node says `forget`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mgmt_server.db import changed, reading, write
from mgmt_server.db.kept import Kept
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedFault

METHODS = (
    "start", "stop", "reboot", "define", "forget", "machines", "statistics", "machine_statistics", "configure_router",
    "attach_disk", "detach_disk", "attach_nic", "detach_nic", "change_iso", "scale", "migrate", "snapshot", "revert",
    "delete_snapshot", "describe",
    "add_pool", "remove_pool", "cache_template", "create_disk", "delete_disk", "resize_disk", "copy_disk", "move_disk",
    "settle_disk", "limit_disk", "save_disk", "forget_point", "load_disk", "save_point", "check_disk", "files", "look",
    "beats", "power", "maintain",
)  # fmt: skip


OFF = "its power is off"


def _read(session: Session) -> list[SimulatedFault]:
    return list(session.scalars(select(SimulatedFault).order_by(SimulatedFault.id)))


_faults = Kept(_read)
forget = _faults.forget


@contextmanager
def around(method: str, host: HostRef) -> Iterator[None]:
    """Let the switched-on faults happen around an effect. Raises Unavailable or Failed."""
    # a management controller is a machine of its own: it answers for a host that is lost
    wanted = (method,) if method == "power" else (method, "*")
    found = [fault for fault in _faults() if fault.method in wanted]
    met = _meets(host, found) if found else None
    if met is None:
        yield
        return
    if met.delay:
        time.sleep(met.delay)
    if not met.late:
        _raise(met, method, host)
    yield
    _raise(met, method, host)


def powered(tx: Session, host: str) -> None:
    """Raises Unavailable where a host's power was cut amid a call: nothing comes to run there by it any more."""
    dark = {fault.host_id for fault in _faults() if fault.failure == OFF}
    if dark and tx.scalar(select(Host.id).where(Host.uuid == host)) in dark:
        raise Unavailable("the host does not answer any more: its power was cut")


def _meets(host: HostRef, found: list[SimulatedFault]) -> SimulatedFault | None:
    """The first fault that this call is counted against and met by."""
    with reading() as session:
        where = select(Host.id, Host.cluster_id, Host.pod_id, Host.zone_id).where(Host.uuid == host.uuid)
        place = session.execute(where).first() or (0, 0, 0, 0)
    for fault in found:
        wanted = (fault.host_id, fault.cluster_id, fault.pod_id, fault.zone_id)
        if any(w is not None and w != p for w, p in zip(wanted, place, strict=True)):
            continue
        if (fault.skip or fault.left >= 0) and not write(_count, fault.id):
            continue
        return fault
    return None


def _count(tx: Session, fault: int) -> bool:
    """Whether this call is met: the skipped ones are used up, and there is one left."""
    mine = update(SimulatedFault).where(SimulatedFault.id == fault).execution_options(synchronize_session=False)
    skipped = mine.where(SimulatedFault.skip > 0).values(skip=SimulatedFault.skip - 1)
    if changed(tx.execute(skipped)):
        return False
    endless = mine.where(SimulatedFault.left < 0).values(met=SimulatedFault.met + 1)
    if changed(tx.execute(endless)):
        return True
    one = mine.where(SimulatedFault.left > 0).values(left=SimulatedFault.left - 1, met=SimulatedFault.met + 1)
    return changed(tx.execute(one)) == 1


def _raise(fault: SimulatedFault, method: str, host: HostRef) -> None:
    if fault.unavailable:
        raise Unavailable(f"host {host.name} does not answer ({method}): simulated fault {fault.id}")
    if fault.failure:
        raise Failed(f"host {host.name}: {method}: {fault.failure}")
