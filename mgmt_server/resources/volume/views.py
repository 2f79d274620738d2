"""Disks as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import aliased

from mgmt_server.api.view import View, always, only, shown
from mgmt_server.model.account import Account
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ADMIN
from mgmt_server.model.transfer import VolumeOnStore
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import owner_fields, owner_joins, pending_job

Compute = aliased(ServiceOffering, name="compute")


def _utilization(physical: int | None, size: int) -> str | None:
    return f"{100 * physical / size:.1f}%" if physical and size else None


def _unless_compute(value: Any, compute_only: bool | None) -> Any:
    return None if compute_only else value


def _if_compute(value: Any, compute_only: bool | None) -> Any:
    return value if compute_only else None


def _status(state: str, progress: int | None, error: str | None) -> str | None:
    """What an upload has come to, in words."""
    if state == "UploadOp":
        return f"{progress or 0}% Uploaded"
    return error if state in ("UploadError", "UploadAbandoned") else None


def _extractable(template: int | None, extractable: bool | None) -> bool:
    return template is None or bool(extractable)


volume_view = View(
    "volume",
    Volume,
    response="VolumeResponse",
    keyword=(Volume.name,),
    tagged="Volume",
    joins=(
        (Zone, Zone.id == Volume.zone_id),
        (Vm, Vm.id == Volume.vm_id),
        (Compute, Compute.id == Vm.service_offering_id),
        (Pool, Pool.id == Volume.pool_id),
        (Cluster, Cluster.id == Pool.cluster_id),
        (Pod, Pod.id == Pool.pod_id),
        (Template, Template.id == Volume.template_id),
        (DiskOffering, DiskOffering.id == Volume.disk_offering_id),
        (Snapshot, Snapshot.id == Volume.snapshot_id),
        (VolumeOnStore, VolumeOnStore.volume_id == Volume.id),
        *owner_joins(Volume),
    ),
    id=Volume.uuid,
    name=Volume.name,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    type=Volume.kind,
    deviceid=Volume.device,
    virtualmachineid=Vm.uuid,
    vmname=Vm.name,
    vmdisplayname=Vm.display_name,
    vmstate=Vm.state,
    vmtype=Vm.kind,
    templateid=Template.uuid,
    templatename=Template.name,
    templatedisplaytext=Template.display_text,
    provisioningtype=Volume.provisioning,
    size=Volume.size,
    virtualsize=Volume.size,
    physicalsize=Volume.physical_size,
    utilization=shown(_utilization, Volume.physical_size, Volume.size),
    miniops=Volume.min_iops,
    maxiops=Volume.max_iops,
    created=Volume.created,
    attached=Volume.attached,
    state=Volume.state,
    status=shown(_status, Volume.state, VolumeOnStore.progress, VolumeOnStore.error),
    snapshotid=Snapshot.uuid,
    storagetype=DiskOffering.storage_type,
    diskofferingid=shown(_unless_compute, DiskOffering.uuid, DiskOffering.compute_only),
    diskofferingname=shown(_unless_compute, DiskOffering.name, DiskOffering.compute_only),
    diskofferingdisplaytext=shown(_unless_compute, DiskOffering.display_text, DiskOffering.compute_only),
    serviceofferingid=shown(_if_compute, Compute.uuid, DiskOffering.compute_only),
    serviceofferingname=shown(_if_compute, Compute.name, DiskOffering.compute_only),
    serviceofferingdisplaytext=shown(_if_compute, Compute.display_text, DiskOffering.compute_only),
    diskBytesReadRate=DiskOffering.bytes_read_rate,
    diskBytesWriteRate=DiskOffering.bytes_write_rate,
    diskIopsReadRate=DiskOffering.iops_read_rate,
    diskIopsWriteRate=DiskOffering.iops_write_rate,
    diskkbsread=always(0),
    diskkbswrite=always(0),
    diskioread=always(0),
    diskiowrite=always(0),
    hypervisor=shown(lambda vm, pool: vm or pool or "None", Vm.hypervisor, Pool.hypervisor),
    storage=only(ADMIN, Pool.name),
    storageid=only(ADMIN, Pool.uuid),
    path=only(ADMIN, Volume.path),
    clusterid=only(ADMIN, Cluster.uuid),
    clustername=only(ADMIN, Cluster.name),
    podid=only(ADMIN, Pod.uuid),
    podname=only(ADMIN, Pod.name),
    destroyed=shown(lambda state: state in ("Destroy", "Expunging", "Expunged"), Volume.state),
    isextractable=shown(
        lambda template, extractable: template is None or bool(extractable), Template.id, Template.extractable
    ),
    displayvolume=Volume.display,
    quiescevm=always(False),
    supportsstoragesnapshot=always(False),
    deleteprotection=Volume.delete_protection,
    hasannotations=has_annotations("VOLUME", Volume.uuid),
    jobid=pending_job(Volume),
    **owner_fields(),
)


extracted_view = View(
    "volume",
    Volume,
    response="ExtractResponse",
    joins=((Zone, Zone.id == Volume.zone_id), (Account, Account.id == Volume.account_id)),
    id=Volume.uuid,
    name=Volume.name,
    accountid=Account.uuid,
    created=Volume.created,
    zoneid=Zone.uuid,
    zonename=Zone.name,
    storagetype=always("volume"),
)
