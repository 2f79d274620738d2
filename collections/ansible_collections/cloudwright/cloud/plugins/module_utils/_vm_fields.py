# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module vm.  Private to this collection."""

from __future__ import annotations

from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import UNKNOWN
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNED
from ansible_collections.cloudwright.cloud.plugins.module_utils._machines import SIZES, encoded, ids

START, RESTORE = "startVirtualMachine", "restoreVirtualMachine"
PLACE = ("zone", "domain", "account", "project")
FIELDS = {
    "name": {"type": "str"},
    "display_name": {"type": "str"},
    "custom_id": {"type": "str", "api": "customid", "field": "id", "encode": str.lower},
    "display_vm": {"type": "bool", "read": lambda found: found.get("displayvm", UNKNOWN), "field": "displayvm"},
    "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
    "template": {"type": "str", "ref": "template", "within": ("zone",), "update": False, "along": (RESTORE,)},
    "iso": {"type": "str", "use": "task"},
    "snapshot": {"type": "str", "ref": "snapshot", "within": PLACE, "shown": False},
    "volume": {"type": "str", "ref": "volume", "within": PLACE, "shown": False},
    "override_disk_offering": {"type": "str", "ref": "disk_offering", "shown": False},
    "copy_image_tags": {"type": "bool", "shown": False},
    "service_offering": {"type": "str", "ref": "service_offering", "needed": True, "shown": False},
    **dict.fromkeys(SIZES, {"type": "int", "use": "task"}),
    "disk_offering": {"type": "str", "ref": "disk_offering", "shown": False},
    "data_disks": {
        "type": "list",
        "elements": "dict",
        "options": {"disk_offering": {"type": "str", "required": True}, "size": {"type": "int"}},
        "use": "task",
    },
    "root_disk_size": {"type": "int", "shown": False, "along": (RESTORE,)},
    "disk_pools": {
        "type": "list",
        "elements": "dict",
        "options": {"volume": {"type": "str", "required": True}, "storage_pool": {"type": "str", "required": True}},
        "use": "task",
    },
    "networks": {
        "type": "list",
        "elements": "str",
        "ref": "network",
        "within": PLACE,
        "shown": False,
    },
    "nics": {
        "type": "list",
        "elements": "dict",
        "options": {
            "network": {"type": "str", "required": True},
            "ip_address": {"type": "str"},
            "mac_address": {"type": "str"},
        },
        "use": "task",
    },
    "ip_address": {
        "type": "str",
        "read": lambda found: ids(found.get("nic"), "ipaddress")[:1],
        "update": False,
    },
    "ssh_key_pairs": {
        "type": "list",
        "elements": "str",
        "api": "keypairs",
        "no_log": False,
        "via": "resetSSHKeyForVirtualMachine",
    },
    "user_data": {"type": "str", "encode": encoded},
    "user_data_details": {"type": "dict", "api": "userdatadetails", "shown": False},
    "reset_password": {"type": "bool", "use": "task", "no_log": False},
    "user_data_name": {
        "type": "str",
        "ref": "user_data",
        "api": "userdataid",
        "within": ("domain", "account", "project"),
    },
    "affinity_groups": {
        "type": "list",
        "elements": "str",
        "ref": "affinity_group",
        "within": ("domain", "account", "project"),
        "read": lambda found: ids(found.get("affinitygroup")),
        "via": "updateVMAffinityGroup",
    },
    "security_groups": {
        "type": "list",
        "elements": "str",
        "ref": "security_group",
        "read": lambda found: ids(found.get("securitygroup")),
    },
    "group": {"type": "str"},
    "ha_enabled": {"type": "bool", "api": "haenable", "create": False},
    "pod": {"type": "str", "ref": "pod", "within": ("zone",), "shown": False, "along": (START,)},
    "cluster": {"type": "str", "ref": "cluster", "within": ("zone", "pod"), "shown": False, "along": (START,)},
    "host": {"type": "str", "ref": "host", "within": ("zone",), "shown": False, "along": (START,)},
    "deployment_planner": {"type": "str", "shown": False, "along": (START,)},
    "hypervisor": {"type": "str", "update": False},
    "keyboard": {"type": "str", "shown": False},
    "details": {"type": "dict"},
    "nic_multiqueue_number": {"type": "int", "shown": False},
    "nic_packed_virtqueues_enabled": {"type": "bool", "shown": False},
    "iothreads_enabled": {"type": "bool", "shown": False},
    "io_driver_policy": {
        "type": "str",
        "choices": ["native", "threads", "io_uring", "storage_specific"],
        "shown": False,
    },
    "extra_config": {"type": "str", "use": "task"},
    "dhcp_options": {
        "type": "list",
        "elements": "dict",
        "options": {"network": {"type": "str", "required": True}, "options": {"type": "dict", "required": True}},
        "use": "task",
    },
    "lease_duration": {"type": "int", "shown": False},
    "lease_expiry_action": {"type": "str", "choices": ["STOP", "DESTROY"], "shown": False},
    "boot_type": {"type": "str", "choices": ["BIOS", "UEFI"], "update": False},
    "boot_mode": {"type": "str", "choices": ["LEGACY", "SECURE"], "update": False},
    "delete_protection": {"type": "bool", "create": False},
    "dynamic_scaling": {
        "type": "bool",
        "api": "dynamicscalingenabled",
        "field": "isdynamicallyscalable",
        "update": "isdynamicallyscalable",
    },
    **OWNED,
    "assign_from": {
        "type": "dict",
        "options": {"domain": {"type": "str"}, "account": {"type": "str"}, "project": {"type": "str"}},
        "use": "task",
    },
}
