# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of the modules about machines, disks and images: as in samples.py, whose SAMPLES hold them too.

MACHINES are modules with options, to be run in this order before: what the samples take as given.
"""

from __future__ import annotations

PLACE = {"zone": "lab", "pod": "pod1", "cluster": "c1"}
HOME = {
    "name": "home",
    "zone": "lab",
    "template": "tiny",
    "service_offering": "tiny",
    "networks": ["guests"],
}

CONTROLLER = {"driver": "simulator", "address": "10.91.1.9", "port": 623, "username": "root", "password": "simulated"}

MACHINES = [
    ("disk_offering", {"name": "open", "customized": True}),
    ("storage_pool", {"name": "other", **PLACE, "url": "nfs://10.91.0.13/srv/export/other"}),
    (
        "network",
        {
            "name": "back",
            "zone": "lab",
            "network_offering": "DefaultIsolatedNetworkOfferingWithSourceNatService",
            "gateway": "10.1.40.1",
            "netmask": "255.255.255.0",
        },
    ),
    ("cluster", {**PLACE, "name": "c9", "cluster": None, "hypervisor": "Simulator"}),
    ("host", {**PLACE, "name": "idle", "cluster": "c9", "hypervisor": "Simulator", "url": "http://sim/c9/idle"}),
    ("host_out_of_band", {"name": "idle", "zone": "lab", **CONTROLLER}),
    ("vm", HOME),
    ("vm", {**HOME, "name": "annex"}),
    ("volume", {"name": "kept", "zone": "lab", "disk_offering": "open", "size": 1, "vm": "home"}),
    ("snapshot", {"name": "kept", "zone": "lab", "volume": "kept"}),
]

SAMPLES = {
    "volume": {
        "create": {"name": "cycle", "zone": "lab", "disk_offering": "open", "size": 1, "vm": "home"},
        "update": {"size": 2, "vm": "annex"},
        "fixed": {"snapshot": "kept"},
        "rename": True,
        "end": {"state": "absent", "forced": True},
    },
    "snapshot": {
        "create": {"name": "cycle", "zone": "lab", "vm": "home"},
    },
    "snapshot_policy": {
        "create": {
            "volume": "kept",
            "interval_type": "WEEKLY",
            "schedule": "30:02:1",
            "timezone": "UTC",
            "max_snaps": 2,
        },
        "update": {"max_snaps": 3, "schedule": "45:03:2"},
        "called": "kept",
    },
    "iso": {
        "create": {
            "name": "cycle",
            "zone": "lab",
            "url": "http://10.91.0.13/cycle.iso",
            "os_type": "Other Linux (64-bit)",
        },
        "update": {"display_text": "changed", "is_featured": True, "bootable": False},
        "rename": True,
    },
    "affinity_group": {
        "create": {"name": "cycle", "type": "host anti-affinity"},
        "fixed": {"type": "host affinity"},
    },
    "instance_group": {
        "create": {"name": "cycle"},
        "rename": True,
    },
    "vm_snapshot": {
        "create": {"name": "cycle", "vm": "annex", "memory": True},
        "fixed": {"memory": False},
    },
    "user_data": {
        "create": {"name": "cycle", "user_data": "#cloud-config\npackages: [x]\n"},
        "fixed": {"user_data": "#!/bin/sh\n"},
    },
    "host_maintenance": {
        "exists": True,
        "create": {"name": "sim2", "zone": "lab", "state": "maintenance"},
        "states": ["enabled", "maintenance"],
        "end": {"state": "enabled"},
    },
    "storage_maintenance": {
        "exists": True,
        "create": {"name": "other", "zone": "lab", "state": "maintenance"},
        "states": ["enabled", "maintenance"],
        "end": {"state": "enabled"},
    },
    "vm_nic": {
        "create": {"vm": "home", "zone": "lab", "network": "back"},
        "fixed": {"mac_address": "06:00:00:00:00:77"},
        "called": "back",
    },
    "vm_nic_secondary_ip": {
        "create": {"ip_address": "10.92.0.99", "vm": "home", "zone": "lab"},
    },
    "host_ha": {
        "exists": True,
        "create": {"name": "sim1", "zone": "lab", "provider": "simulatorhaprovider"},
        "states": ["disabled", "enabled"],
        "end": {"state": "disabled"},
    },
    "host_out_of_band": {
        "exists": True,
        "create": {"name": "sim1", "zone": "lab", **CONTROLLER},
        "update": {"port": 624},
        "states": ["disabled", "enabled"],
        "end": {"state": "disabled"},
    },
    "host_power": {
        "exists": True,
        "create": {"name": "idle", "zone": "lab", "state": "off"},
        "states": ["on", "shutdown"],
        "end": {"state": "on"},
    },
    "system_vm": {
        "exists": True,
        "unsteady": "its zone starts what is stopped",
        "create": {"zone": "lab", "type": "consoleproxy", "state": "stopped"},
        "states": ["started", "stopped"],
        "end": {"state": "started"},
        "called": "v-0-VM",
    },
    "unmanaged_vm": {
        "unsteady": "the server has no stranger",
        "create": {
            "name": "cycle",
            "instance": "stranger",
            "zone": "lab",
            "cluster": "c1",
            "service_offering": "tiny",
        },
        "end": {"state": "unmanaged"},
    },
}
