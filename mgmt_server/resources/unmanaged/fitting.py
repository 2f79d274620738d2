"""Whether what is taken over lies and runs where its offerings let it, and where it goes instead."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import hypervisors, pools, tags
from mgmt_server.allocation.counted import words
from mgmt_server.allocation.pools import Space
from mgmt_server.errors import InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.volume import sites

ALLOWED = "send migrateallowed=true to have it moved to where it may be"


def check_pool(pool: Pool, label: str, offering: DiskOffering) -> None:
    """Raises InvalidValue for a disk that would have to move."""
    _, reason = pools.misfit(pool, Space(0, offering.storage_type == "local", words(offering.tags)))
    if reason:
        raise InvalidValue(
            f"The disk {label} lies in the pool {pool.name}, which {reason}, and the offering {offering.name} asks for "
            f"other storage: {ALLOWED}, or choose another offering"
        )


def check_host(host: Host, offering: ServiceOffering) -> None:
    """Raises InvalidValue for a machine that runs and would have to move."""
    lacking = misfit_of(host, offering)
    if lacking:
        raise InvalidValue(
            f"The machine runs on {host.name}, which {lacking} of the offering {offering.name}: {ALLOWED}, or choose "
            "another offering"
        )


def misfit_of(host: Host, offering: ServiceOffering) -> str:
    return tags.lacking(host, words(offering.host_tag))


def places_for(tx: Session, vm: Vm, host: Host, *, stays: bool) -> dict[int, int]:
    """For each disk that lies in the wrong pool, one that has room: by their numbers. Raises NoCapacity, InvalidValue.

    `stays`: the machine runs, and goes on on this host.
    """
    found: dict[int, int] = {}
    rows = select(Volume, Pool, DiskOffering).join(Pool, Pool.id == Volume.pool_id)
    rows = rows.join(DiskOffering, DiskOffering.id == Volume.disk_offering_id)
    for volume, pool, offering in tx.execute(rows.where(Volume.vm_id == vm.id, Volume.removed.is_(None))).all():
        space = sites.space_of(volume, offering)
        if not pools.misfit(pool, space)[0]:
            continue
        fixed = hypervisors.moves_disks(host.hypervisor) if vm.state == "Running" else ""
        if fixed:
            raise InvalidValue(f"The disk {volume.name} would have to move, and {fixed}: shut the machine down first")
        usable = pools.usable(tx, vm.zone_id, vm.account_id)
        fitting = [p for p in _near(usable, host, stays) if not pools.why_not(p, space)]
        if not fitting:
            asked = pools.with_closed(tx, vm.zone_id, usable, [space])
            raise sites.no_room(volume, _near(asked, host, stays), space)
        found[volume.id] = min(fitting, key=lambda p: not pools.reachable(p, host)).id
    return found


def _near(found: Sequence[Pool], host: Host, stays: bool) -> list[Pool]:
    """Pools with which a machine can go on on a host, where it stays there."""
    return [p for p in found if not stays or pools.reachable(p, host)]
