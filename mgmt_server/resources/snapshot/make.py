"""How a snapshot begins: what may be kept, under which name, and where it shall go."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.db import new_uuid, now
from mgmt_server.errors import InvalidValue
from mgmt_server.model.host import Host
from mgmt_server.model.settings import Setting
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore, SnapshotPolicy
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.template.flows import stores_of

RUNNING = Setting("kvm.snapshot.enabled", "Whether disks of running machines may be kept as snapshots on KVM hosts")
GOES_ON = ("Ready", "Snapshotting", "Resizing", "Migrating", "Attaching")  # a snapshot waits for what is being done


def check(tx: Session, volume: Volume) -> None:
    """Refuse what cannot be kept: raises InvalidValue."""
    if volume.removed is not None or volume.state not in GOES_ON:
        reason = "it has never been used" if volume.state == "Allocated" else f"it is {volume.state}"
        raise InvalidValue(f"The disk {volume.name} cannot be kept as a snapshot: {reason}")
    if volume.vm_id is None:
        return
    vm = tx.get_one(Vm, volume.vm_id)
    if vm.kind != "User":
        raise InvalidValue(f"The disk {volume.name} belongs to {vm.name}, a system VM: it is made anew, never restored")
    if vm.hypervisor == "KVM" and vm.state == "Running" and not RUNNING.flag():
        raise InvalidValue(
            f"The machine {vm.display_name or vm.name} runs: stop it first, or have kvm.snapshot.enabled switched on"
        )


def name_for(tx: Session, volume: Volume, moment: datetime) -> str:
    """What a snapshot is called that nobody gave a name."""
    vm = tx.get(Vm, volume.vm_id) if volume.vm_id is not None else None
    whose = vm.instance if vm is not None else "detached"
    return f"{whose}_{volume.name}_{moment:%Y%m%d%H%M%S}"[:255]


def file_of(snapshot: Snapshot) -> str:
    """Where a snapshot's file stands below a store."""
    return f"snapshots/{snapshot.account_id}/{snapshot.volume_id}/{snapshot.uuid}.qcow2"


def add(tx: Session, volume: Volume, name: str | None = None, policy: SnapshotPolicy | None = None) -> Snapshot:
    """The row of a new snapshot, and of its file to be. It counts from now on. Raises InvalidValue without a store."""
    check(tx, volume)
    stores = stores_of(tx, volume.zone_id)
    if not stores:
        raise InvalidValue(
            "the zone has no secondary storage that can be written to and has room: add one with addImageStore"
        )
    template = tx.get(Template, volume.template_id) if volume.template_id is not None else None
    vm = tx.get(Vm, volume.vm_id) if volume.vm_id is not None else None
    snapshot = Snapshot(
        uuid=new_uuid(),
        account_id=volume.account_id,
        domain_id=volume.domain_id,
        name=name or name_for(tx, volume, now()),
        kind=policy.kind if policy is not None else "MANUAL",
        policy_id=policy.id if policy is not None else None,
        volume_id=volume.id,
        zone_id=volume.zone_id,
        size=volume.size,
        hypervisor=_hypervisor(tx, volume, vm),
        os_type_id=vm.os_type_id if vm is not None else template and template.os_type_id,
        template_id=volume.template_id,
        was_root=volume.kind == "ROOT",
        state_changed=now(),
        details={},
    )
    tx.add(snapshot)
    tx.flush()
    tx.add(
        SnapshotOnStore(snapshot_id=snapshot.id, store_id=stores[0].id, zone_id=volume.zone_id, path=file_of(snapshot))
    )
    counted.snapshot_comes(tx, snapshot)
    return snapshot


def _hypervisor(tx: Session, volume: Volume, vm: Vm | None) -> str:
    if vm is not None:
        return vm.hypervisor
    pool = tx.get(Pool, volume.pool_id) if volume.pool_id is not None else None
    if pool is None:
        return "Any"
    host = tx.get(Host, pool.host_id) if pool.host_id is not None else None
    return pool.hypervisor or (host.hypervisor if host is not None else "Any")
