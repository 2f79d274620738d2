"""Snapshots of machines as clients see them."""

from __future__ import annotations

from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, shown
from mgmt_server.model.snapshot import VmSnapshot
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import owner_fields, owner_joins, pending_job

Parent = aliased(VmSnapshot, name="parent")

vm_snapshot_view = View(
    "vmSnapshot",
    VmSnapshot,
    response="VMSnapshotResponse",
    tagged="VMSnapshot",
    keyword=(VmSnapshot.name, VmSnapshot.display_name),
    joins=(
        (Vm, Vm.id == VmSnapshot.vm_id),
        (Zone, Zone.id == VmSnapshot.zone_id),
        (Parent, Parent.id == VmSnapshot.parent_id),
        *owner_joins(VmSnapshot),
    ),
    id=VmSnapshot.uuid,
    name=VmSnapshot.name,
    displayname=VmSnapshot.display_name,
    description=VmSnapshot.description,
    state=VmSnapshot.state,
    type=VmSnapshot.kind,
    current=VmSnapshot.current,
    created=VmSnapshot.created,
    hypervisor=VmSnapshot.hypervisor,
    parent=Parent.uuid,
    parentName=Parent.display_name,
    virtualmachineid=Vm.uuid,
    virtualmachinename=shown(lambda display, name: display or name, Vm.display_name, Vm.name),
    zoneid=Zone.uuid,
    zonename=Zone.name,
    hasannotations=has_annotations("VM_SNAPSHOT", VmSnapshot.uuid),
    jobid=pending_job(VmSnapshot),
    **owner_fields(),
)
