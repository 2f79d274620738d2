"""Faults of the simulated world: switched on, looked at, and off again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select, update

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Use
from mgmt_server.db import after_commit, now
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.errors import InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedFault
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.host.rows import start_connecting

# names under which clients know what hosts are asked, and ours
KNOWN = {
    "StartCommand": "start",
    "StopCommand": "stop",
    "RebootCommand": "reboot",
    "CreateCommand": "create_disk",
    "CreateObjectCommand": "create_disk",
    "DeleteCommand": "delete_disk",
    "DestroyCommand": "delete_disk",
    "CopyCommand": "cache_template",
    "PrimaryStorageDownloadCommand": "cache_template",
    "ModifyStoragePoolCommand": "add_pool",
    "DeleteStoragePoolCommand": "remove_pool",
    "GetHostStatsCommand": "statistics",
    "GetVmStatsCommand": "machine_statistics",
}
WORDS = "wait:SECONDS, fail:TEXT, late:true, skip:N, lost:true, enabled:false"


@command("configureSimulator", roles=ROOT, key="mock", simulator_only=True, unsupported=("jsonresponse",))
def configure(
    ctx: Context,
    name: str,
    value: str,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
    clusterid: Use[Cluster] | None = None,
    hostid: Use[Host] | None = None,
    count: int | None = None,
) -> dict[str, Any]:
    """Have calls of simulated hosts be slow or fail.

    name: what hosts are asked: start, stop, create_disk ..., or * for everything
    value: words joined by |, such as wait:2|fail:no disk|skip:3; lost:true makes hosts not answer at all
    zoneid: only on hosts of this zone
    podid: only on hosts of this pod
    clusterid: only on hosts of this cluster
    hostid: only on this host
    count: how many calls are met; all when left out
    """
    method = KNOWN.get(name) or one_of("name", name, (*faults.METHODS, "*")) or "*"
    if count is not None and count < 1:
        raise InvalidValue("count is at least 1: leave it out for all calls")
    fault = SimulatedFault(
        method=method,
        zone_id=zoneid and zoneid.id,
        pod_id=podid and podid.id,
        cluster_id=clusterid and clusterid.id,
        host_id=hostid and hostid.id,
        left=count or -1,
        **_words(value),
    )
    ctx.session.add(fault)
    ctx.session.flush()
    if fault.unavailable and method == "*":
        _hosts(ctx, fault, ("Up", "Connecting", "Disconnected"), "Down")
    after_commit(faults.forget)
    return _answer(fault)


@command("querySimulatorMock", roles=ROOT, key="mock", simulator_only=True, reads=True)
def query(ctx: Context, id: int | None = None) -> dict[str, Any]:
    """Tell about a fault of the simulator; `count` is how many calls it met.

    id: the fault
    """
    fault = ctx.session.scalar(select(SimulatedFault).where(SimulatedFault.id == id))
    if fault is None:
        raise InvalidValue(f"there is no simulated fault {id}: listSimulatorFaults has them")
    return {**_answer(fault), "count": fault.met}


@command("listSimulatorFaults", roles=ROOT, own=True, simulator_only=True, key="simulatorfault", reads=True)
def list_faults(ctx: Context) -> list[dict[str, Any]]:
    """List the faults that are switched on, with how many calls each met."""
    return [
        {
            "id": fault.id, "name": fault.method, "wait": fault.delay, "fail": fault.failure, "late": fault.late,
            "lost": fault.unavailable, "skip": fault.skip, "left": fault.left, "met": fault.met,
        }
        for fault in ctx.session.scalars(select(SimulatedFault).order_by(SimulatedFault.id))
    ]  # fmt: skip


@command("cleanupSimulatorMock", roles=ROOT, simulator_only=True)
def cleanup(ctx: Context, id: int | None = None) -> None:
    """Switch a fault of the simulator off, or all of them.

    id: the fault; all when left out
    """
    found = select(SimulatedFault)
    chosen = list(ctx.session.scalars(found.where(SimulatedFault.id == id) if id is not None else found))
    if id is not None and not chosen:
        raise InvalidValue(f"there is no simulated fault {id}: listSimulatorFaults has them")
    for fault in chosen:
        if fault.unavailable and fault.method == "*":
            _hosts(ctx, fault, ("Down",), "Up")
        ctx.session.execute(delete(SimulatedFault).where(SimulatedFault.id == fault.id))
    after_commit(faults.forget)


def _words(value: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in value.split("|"):
        name, _, rest = word.strip().partition(":")
        try:
            if name in ("wait", "delay"):
                found["delay"] = float(rest)
            elif name in ("fail", "fault"):
                found["failure"] = rest[:255] or "it was told to fail"
            elif name == "enabled":
                found |= {} if rest.lower() == "true" else {"failure": "it is disabled"}
            elif name == "skip":
                found["skip"] = int(rest)
            elif name in ("late", "lost"):
                found["late" if name == "late" else "unavailable"] = rest.lower() == "true"
            else:
                raise InvalidValue(f"value: {word[:50]!r} is none of {WORDS}")
        except ValueError:
            raise InvalidValue(f"value: {rest[:50]!r} is no number for {name}") from None
    return found


def _hosts(ctx: Context, fault: SimulatedFault, before: tuple[str, ...], after: str) -> None:
    """Hosts that do not answer are seen as such at once, and come back with the end of the fault: with what they
    have then."""
    found = select(Host).where(Host.hypervisor == "Simulator", Host.removed.is_(None), Host.state.in_(before))
    places = (
        (Host.zone_id, fault.zone_id), (Host.pod_id, fault.pod_id), (Host.cluster_id, fault.cluster_id),
        (Host.id, fault.host_id),
    )  # fmt: skip
    for column, wanted in places:
        found = found.where(column == wanted) if wanted is not None else found
    seen = {"state": after, "disconnected": now() if after == "Down" else None}
    hosts = list(ctx.session.scalars(found))
    mine = update(Host).where(Host.id.in_([h.id for h in hosts]), Host.state.in_(before))
    ctx.session.execute(mine.values(seen).execution_options(synchronize_session=False))
    for host in hosts if after == "Up" else ():
        start_connecting(ctx.session, host)


def _answer(fault: SimulatedFault) -> dict[str, Any]:
    answer = {
        "id": fault.id, "name": fault.method, "zoneid": fault.zone_id, "podid": fault.pod_id,
        "clusterid": fault.cluster_id, "hostid": fault.host_id, "count": fault.left if fault.left >= 0 else None,
    }  # fmt: skip
    return {k: v for k, v in answer.items() if v is not None}
