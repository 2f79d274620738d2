"""What hosts call new machines."""

from __future__ import annotations

from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Vm, instance_name

USUAL = "VM"
INSTANCE = Setting(
    "instance.name",
    "How hosts' names of new machines end, so that clouds on the same hosts differ: i-2-3-VM",
)


def name_for_hosts(vm: Vm) -> str:
    """Give a machine that has its number its name on hosts, which stays whatever becomes of the setting."""
    name = instance_name(vm.kind, vm.account_id, vm.id)
    end = INSTANCE.text().strip() or USUAL
    if end != USUAL:
        vm.called = name = name.removesuffix(USUAL) + end
    return name
