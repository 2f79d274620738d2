"""Service and disk offerings as clients see them."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.view import View, always, shown
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.offering.scope import scope_fields

GIB = 1024**3


def gib(size: int | None) -> int:
    return (size or 0) // GIB


def texts(details: dict[str, Any]) -> dict[str, str] | None:
    """Free key-value pairs, absent when there are none."""
    return {k: str(v) for k, v in details.items()} or None


def whole(text: Any) -> int | None:
    return int(text) if str(text).isdecimal() else None


def set_only(value: bool | None) -> bool | None:
    """A flag that clients look for only when it is on."""
    return value or None


def rates() -> dict[str, Any]:
    """Limits of a disk: bytes and operations a second, sustained and at most."""
    return {
        "diskBytesReadRate": DiskOffering.bytes_read_rate,
        "diskBytesWriteRate": DiskOffering.bytes_write_rate,
        "diskIopsReadRate": DiskOffering.iops_read_rate,
        "diskIopsWriteRate": DiskOffering.iops_write_rate,
        "diskBytesReadRateMax": DiskOffering.bytes_read_rate_max,
        "diskBytesWriteRateMax": DiskOffering.bytes_write_rate_max,
        "diskIopsReadRateMax": DiskOffering.iops_read_rate_max,
        "diskIopsWriteRateMax": DiskOffering.iops_write_rate_max,
        "diskBytesReadRateMaxLength": DiskOffering.bytes_read_rate_max_length,
        "diskBytesWriteRateMaxLength": DiskOffering.bytes_write_rate_max_length,
        "diskIopsReadRateMaxLength": DiskOffering.iops_read_rate_max_length,
        "diskIopsWriteRateMaxLength": DiskOffering.iops_write_rate_max_length,
    }


def _cache_mode(mode: str) -> str | None:
    return None if mode == "none" else mode


disk_offering_view = View(
    "diskoffering",
    DiskOffering,
    response="DiskOfferingResponse",
    keyword=(DiskOffering.name, DiskOffering.display_text),
    order=(DiskOffering.sort_key, DiskOffering.id),
    id=DiskOffering.uuid,
    name=DiskOffering.name,
    state=DiskOffering.state,
    displaytext=DiskOffering.display_text,
    disksize=shown(gib, DiskOffering.size),
    created=DiskOffering.created,
    iscustomized=DiskOffering.customized,
    iscustomizediops=DiskOffering.customized_iops,
    tags=DiskOffering.tags,
    storagetype=DiskOffering.storage_type,
    provisioningtype=DiskOffering.provisioning,
    cacheMode=shown(_cache_mode, DiskOffering.cache_mode),
    displayoffering=DiskOffering.display,
    disksizestrictness=DiskOffering.disk_size_strictness,
    encrypt=DiskOffering.encrypt,
    miniops=DiskOffering.min_iops,
    maxiops=DiskOffering.max_iops,
    details=shown(texts, DiskOffering.details),
    hasannotations=has_annotations("DISK_OFFERING", DiskOffering.uuid),
    **rates(),
    **scope_fields(DiskOffering),
)


service_offering_view = View(
    "serviceoffering",
    ServiceOffering,
    response="ServiceOfferingResponse",
    keyword=(ServiceOffering.name, ServiceOffering.display_text),
    order=(ServiceOffering.sort_key, ServiceOffering.id),
    joins=((DiskOffering, DiskOffering.id == ServiceOffering.disk_offering_id),),
    id=ServiceOffering.uuid,
    name=ServiceOffering.name,
    state=ServiceOffering.state,
    displaytext=ServiceOffering.display_text,
    cpunumber=ServiceOffering.cpus,
    cpuspeed=ServiceOffering.speed,
    memory=ServiceOffering.memory,
    created=ServiceOffering.created,
    storagetype=DiskOffering.storage_type,
    provisioningtype=DiskOffering.provisioning,
    offerha=ServiceOffering.offer_ha,
    limitcpuuse=ServiceOffering.limit_cpu_use,
    isvolatile=ServiceOffering.volatile,
    storagetags=DiskOffering.tags,
    hosttags=ServiceOffering.host_tag,
    issystem=ServiceOffering.is_system,
    defaultuse=ServiceOffering.default_use,
    systemvmtype=ServiceOffering.system_vm_type,
    networkrate=ServiceOffering.network_rate,
    deploymentplanner=ServiceOffering.deployment_planner,
    leaseduration=shown(lambda details: whole(details.get("leaseduration")), ServiceOffering.details),
    leaseexpiryaction=shown(lambda details: details.get("leaseexpiryaction"), ServiceOffering.details),
    serviceofferingdetails=shown(texts, ServiceOffering.details),
    iscustomized=ServiceOffering.customized,
    iscustomizediops=DiskOffering.customized_iops,
    miniops=DiskOffering.min_iops,
    maxiops=DiskOffering.max_iops,
    rootdisksize=shown(gib, ServiceOffering.root_disk_size),
    dynamicscalingenabled=ServiceOffering.dynamic_scaling,
    diskofferingstrictness=ServiceOffering.disk_offering_strict,
    diskofferingid=DiskOffering.uuid,
    diskofferingname=DiskOffering.name,
    diskofferingdisplaytext=DiskOffering.display_text,
    encryptroot=DiskOffering.encrypt,
    cacheMode=shown(_cache_mode, DiskOffering.cache_mode),
    gpudisplay=always(False),
    hasannotations=has_annotations("SERVICE_OFFERING", ServiceOffering.uuid),
    **rates(),
    **scope_fields(ServiceOffering),
)
