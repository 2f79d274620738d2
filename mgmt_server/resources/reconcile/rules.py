"""One rule for each state that lies between two others: what becomes of what stands there with no job at it.

Each repair runs as a job under the lock that all other jobs on the thing take, and looks again at its state first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from mgmt_server.allocation import pools
from mgmt_server.db import now
from mgmt_server.jobs import Job, enqueue
from mgmt_server.model import host as hosts
from mgmt_server.model import network, snapshot, storage
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.snapshot import Snapshot, VmSnapshot
from mgmt_server.model.storage import Pool, TemplateOnStore
from mgmt_server.model.vm import VOLUME_STATES, Vm, Volume
from mgmt_server.resources.host import flows as host_flows
from mgmt_server.resources.host import maintenance
from mgmt_server.resources.network import flows as network_flows
from mgmt_server.resources.reconcile import images, machines, moves
from mgmt_server.resources.reconcile.telling import tell
from mgmt_server.resources.snapshot import flows as snapshot_flows
from mgmt_server.resources.snapshot import going
from mgmt_server.resources.vmsnapshot import flows as vm_snapshot_flows
from mgmt_server.resources.volume import flows as volume_flows
from mgmt_server.resources.volume import upload


@dataclass(frozen=True)
class Rule:
    """`repair(job, number, state)`; `locks` gives what jobs on a row may hold, the one to repair under first."""

    table: Any
    states: tuple[str, ...]
    locks: Callable[[Session, Any], list[str]]
    repair: Callable[[Job, int, str], None]


def _of_machine(tx: Session, vm: Any) -> list[str]:
    return [f"vm:{vm.id}", f"ha-router:{vm.id}"]


def _of_disk(tx: Session, volume: Any) -> list[str]:
    own = f"volume:{volume.id}"
    return [own] if volume.vm_id is None else [f"vm:{volume.vm_id}", own]


def _of_snapshot(tx: Session, row: Any) -> list[str]:
    return [*_of_disk(tx, tx.get_one(Volume, row.volume_id)), f"snapshot:{row.id}"]


def _of_vm_snapshot(tx: Session, row: Any) -> list[str]:
    return [f"vm:{row.vm_id}"]


def _named(name: str) -> Callable[[Session, Any], list[str]]:
    return lambda tx, row: [f"{name}:{row.id}"]


# --- disks -----------------------------------------------------------------------------------------------------------


def disk(job: Job, volume_id: int, state: str) -> None:
    if state == "Migrating":
        moves.repair(job, volume_id)
        return
    what = job.write(settle_disk, volume_id, state)
    if what == "expunge":
        volume_flows.expunge(job, volume_id)


def settle_disk(tx: Session, volume_id: int, state: str) -> str:
    """Back to where it was: what was under way is undone, or goes on. What remains to be done."""
    volume = tx.get_one(Volume, volume_id, populate_existing=True)
    if volume.removed is not None or volume.state != state:
        return ""
    if state == "Expunging":
        tell(tx, volume, "VOLUME.DELETE", _said(volume, state, "it is expunged anew"))
        return "expunge"
    if state == "UploadOp":
        upload.fail(tx, volume_id, "the server that fetched the image is gone: upload it again")
        tell(tx, volume, "VOLUME.UPLOAD", _said(volume, state, "it is UploadError"))
        return ""
    after = {"Creating": "Allocated", "Copying": "Uploaded"}.get(state, "Ready")
    if state in ("Creating", "Copying"):
        if volume.pool_id is not None:
            pools.give_back(tx, volume.pool_id, volume.size)
        VOLUME_STATES.move(tx, volume_id, state, after, pool_id=None, path=None, state_changed=now())
    else:
        VOLUME_STATES.move(tx, volume_id, state, after, state_changed=now())
    tell(tx, volume, "VOLUME.UPDATE", _said(volume, state, f"it is {after}"))
    return ""


def _said(row: Any, state: str, then: str) -> str:
    return f"{getattr(row, 'name', row.uuid)} was found {state} and nobody at it: {then}"


# --- snapshots -------------------------------------------------------------------------------------------------------


def kept_disk(job: Job, snapshot_id: int, state: str) -> None:
    if job.write(settle_snapshot, snapshot_id, state):
        going.delete(job, snapshot_id, None)


def settle_snapshot(tx: Session, snapshot_id: int, state: str) -> bool:
    """One that was being made was not; one that was going goes on. Whether it is to be deleted."""
    row = tx.get_one(Snapshot, snapshot_id)
    if row.removed is not None or row.state != state:
        return False
    if state == "Destroying":
        tell(tx, row, "SNAPSHOT.DELETE", _said(row, state, "it is deleted anew"))
        return True
    after = "BackedUp" if state == "Copying" else "Error"
    if state == "Copying":
        snapshot.STATES.move(tx, snapshot_id, state, after, state_changed=now())
    else:
        snapshot_flows.never_taken(tx, snapshot_id, [])
    tell(tx, row, "SNAPSHOT.CREATE", _said(row, state, f"it is {after}"))
    return False


def kept_machine(job: Job, snapshot_id: int, state: str) -> None:
    if job.write(settle_vm_snapshot, snapshot_id, state):
        vm_snapshot_flows.delete(job, snapshot_id)


def settle_vm_snapshot(tx: Session, snapshot_id: int, state: str) -> bool:
    """Whether it is to be deleted."""
    row = tx.get_one(VmSnapshot, snapshot_id)
    if row.removed is not None or row.state != state:
        return False
    if state == "Expunging":
        tell(tx, row, "VMSNAPSHOT.DELETE", _said(row, state, "it is deleted anew"))
        return True
    after = "Error" if state in ("Allocated", "Creating") else "Ready"
    if after == "Error":
        vm_snapshot_flows.never_made(tx, snapshot_id)
    else:
        snapshot.VM_SNAPSHOT_STATES.move(tx, snapshot_id, state, after, state_changed=now())
    tell(tx, row, "VMSNAPSHOT.CREATE", _said(row, state, f"it is {after}"))
    return False


# --- networks, hosts, pools ----------------------------------------------------------------------------------


def net(job: Job, network_id: int, state: str) -> None:
    job.write(settle_network, network_id, state)


def settle_network(tx: Session, network_id: int, state: str) -> None:
    row = tx.get_one(Network, network_id)
    if row.removed is not None or row.state != state:
        return
    if state == "Implementing":
        network_flows.not_implemented(tx, network_id)
        then = "it is Allocated, and implemented when a machine needs it"
    else:
        network.STATES.move(tx, network_id, state, "Implemented")
        then = "it is Implemented"
    tell(tx, row, "NETWORK.UPDATE", _said(row, state, then))


def connecting(job: Job, host_id: int, state: str) -> None:
    if job.write(host_is, host_id, state, "it is looked at anew"):
        host_flows.connect(job, host_id)


def host_is(tx: Session, host_id: int, state: str, then: str) -> bool:
    row = tx.get_one(Host, host_id)
    if row.removed is not None or state not in (row.state, row.resource_state):
        return False
    tell(tx, row, "HOST.RECONNECT", _said(row, state, then))
    return True


def emptying(job: Job, host_id: int, state: str) -> None:
    job.write(settle_emptying, host_id, state)


def settle_emptying(tx: Session, host_id: int, state: str) -> None:
    """The machines that are left go on leaving, in a maintenance that begins anew."""
    if not host_is(tx, host_id, state, "its maintenance goes on"):
        return
    if state != "ErrorInPrepareForMaintenance":
        hosts.RESOURCE_STATES.move(tx, host_id, (state,), "ErrorInPrepareForMaintenance")
    enqueue(tx, maintenance.into_maintenance, (host_id,), lock=f"host:{host_id}")


def pool(job: Job, pool_id: int, state: str) -> None:
    job.write(settle_pool, pool_id, state)


def settle_pool(tx: Session, pool_id: int, state: str) -> None:
    row = tx.get_one(Pool, pool_id)
    if row.removed is None and row.state == state:
        after = {"PrepareForMaintenance": "ErrorInMaintenance", "CancelMaintenance": "Maintenance"}.get(state, "Up")
        storage.STATES.move(tx, pool_id, (state,), after)
        tell(tx, row, "MAINT.PREPARE.PS", _said(row, state, f"it is {after}"))


RULES = (
    Rule(Vm, (*machines.STUCK, "Expunging"), _of_machine, machines.repair),
    Rule(
        Volume,
        (
            "Creating",
            "Resizing",
            "Migrating",
            "Snapshotting",
            "RevertSnapshotting",
            "Attaching",
            "Copying",
            "UploadOp",
            "Expunging",
        ),
        _of_disk,
        disk,
    ),  # fmt: skip
    Rule(
        Snapshot,
        ("Allocated", "CreatedOnPrimary", "BackingUp", "Copying", "Destroying"),
        _of_snapshot,
        kept_disk,
    ),
    Rule(VmSnapshot, ("Allocated", "Creating", "Reverting", "Expunging"), _of_vm_snapshot, kept_machine),
    Rule(Network, ("Implementing", "Shutdown"), _named("network"), net),
    Rule(Host, ("Connecting",), _named("host"), connecting),
    Rule(Pool, ("PrepareForMaintenance", "CancelMaintenance", "Initialized"), _named("pool"), pool),
    Rule(TemplateOnStore, images.STATES, images.lock, images.repair),
)
RESOURCES = Rule(Host, maintenance.MOVING, _named("host"), emptying)  # by their other state
