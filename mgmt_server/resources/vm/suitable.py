"""Which hosts could have a machine."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mgmt_server.allocation import hosts, pools
from mgmt_server.model.vm import Vm
from mgmt_server.resources.vm import placing
from mgmt_server.resources.vm import target as targets
from mgmt_server.resources.vm.placing import Options
from mgmt_server.resources.vm.target import Wish


def hosts_for(tx: Session, vm: Vm) -> list[int]:
    """Those to which a running machine could move, its disks where they lie; on which another one could start."""
    usable = pools.usable(tx, vm.zone_id, vm.account_id)
    if vm.state == "Running":
        wish = Wish(with_storage=False)
        disks = targets.lying(tx, vm.id)
        found = hosts.candidates(tx, targets.need_of(tx, vm, wish))
        return [h.id for h in found if not targets.ways(disks, h, wish, usable)[1]]
    wanted = placing.wants(tx, placing.parts_of(tx, vm.id), Options())
    found = hosts.candidates(tx, wanted.need)
    spaces = list(wanted.spaces.values())
    return [h.id for h in found if all(any(_holds(p, h, s) for p in usable) for s in spaces)]


def _holds(pool: pools.Pool, host: hosts.Host, space: pools.Space) -> bool:
    return pools.reachable(pool, host) and not pools.why_not(pool, space)
