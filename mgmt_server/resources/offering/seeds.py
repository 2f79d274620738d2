"""The service and disk offerings of a fresh installation."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.offering import DiskOffering, ServiceOffering

ORDER = 20
GIB = 1024**3


def defaults() -> dict[str, Any]:
    """The offerings that every installation starts with: lists under service, disk and network."""
    known: dict[str, Any] = orjson.loads(files("mgmt_server.data").joinpath("default-offerings.json").read_bytes())
    return known


def seed(tx: Session) -> None:
    """Does nothing where there is a service offering already, removed ones included."""
    if tx.scalar(select(ServiceOffering.id).limit(1)) is not None:
        return
    known = defaults()
    for disk in known["disk"]:
        tx.add(_disk_offering(disk))
    tx.flush()
    roots = [DiskOffering(name=o["name"], display_text=o["name"], compute_only=True) for o in known["service"]]
    for root, each in zip(roots, known["service"], strict=True):
        root.storage_type = each.get("storageType", "shared")
    tx.add_all(roots)
    tx.flush()
    for root, each in zip(roots, known["service"], strict=True):
        tx.add(_service_offering(each, root.id))
    tx.flush()


def _disk_offering(known: dict[str, Any]) -> DiskOffering:
    size = f", {known['sizeGiB']} GB" if known["sizeGiB"] else ""
    return DiskOffering(
        name=known["name"],
        display_text=f"{known['name']} Disk{size}",
        size=known["sizeGiB"] * GIB,
        customized=known["customized"],
        provisioning=known["provisioningType"],
    )


def _service_offering(known: dict[str, Any], disk_offering_id: int) -> ServiceOffering:
    return ServiceOffering(
        name=known["name"],
        display_text=known["name"],
        unique_name=known["uniqueName"],
        cpus=known["cpu"],
        speed=known["cpuspeed"],
        memory=known["memory"],
        offer_ha=known["offerHa"],
        is_system=known["system"],
        default_use=known.get("defaultUse", False),
        system_vm_type=known["vmType"].lower() if known.get("vmType") else None,
        disk_offering_id=disk_offering_id,
    )
