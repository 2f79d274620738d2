"""What a guest reads in its SMBIOS of who made its machine: some look there for where their metadata is."""

from __future__ import annotations

from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.vm import Vm

MANUFACTURER = Setting(
    "vm.metadata.manufacturer", "The manufacturer that machines tell their guests; empty for the default"
)
PRODUCT = Setting(
    "vm.metadata.product",
    "The product that machines tell their guests; empty for CloudStack KVM Hypervisor, by which cloud-init knows them",
)


def made_by(vm: Vm) -> dict[str, str]:
    """manufacturer and product, as its host is told."""
    zone = Scope("Zone", vm.zone_id)
    return {
        "manufacturer": MANUFACTURER.text(zone).strip() or MANUFACTURER.default or "",
        "product": PRODUCT.text(zone).strip() or f"CloudStack {vm.hypervisor} Hypervisor",
    }
