# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For every module: what to create, what to change, how to end it.  Used with the server in memory and with a real one.

All of it happens in the zone that ZONE describes, the variable ``cloudwright_zone`` of playbooks/zone.yml.
"""

from __future__ import annotations

from ansible_collections.cloudwright.cloud.tests.unit import samples_compute, samples_identity

NETMASK = "255.255.255.0"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFro1rTKtb4Hf+Cw53Q7kIKSUwTu6iXSBaGWJePxx2wP cycle@test"
NET = {"zone": "lab", "physical_network": "net"}
PLACE = {"zone": "lab", "pod": "pod1", "cluster": "c1"}

ZONE = {
    "name": "lab",
    "network_type": "Advanced",
    "dns1": "10.91.0.1",
    "local_storage_enabled": True,
    "physical_networks": [
        {
            "name": "net",
            "isolation_methods": ["VLAN"],
            "vlan": "100-200",
            "traffic_types": [
                {"traffic_type": "Management", "kvm_label": "cloudbr0"},
                {"traffic_type": "Public", "kvm_label": "cloudbr1"},
                {"traffic_type": "Guest", "kvm_label": "cloudbr1"},
            ],
            "providers": ["VirtualRouter"],
        }
    ],
    "pods": [
        {
            "name": "pod1",
            "start_ip": "10.91.0.100",
            "end_ip": "10.91.0.150",
            "gateway": "10.91.0.1",
            "netmask": NETMASK,
            "clusters": [
                {
                    "name": "c1",
                    "hypervisor": "Simulator",
                    "hosts": [
                        {"name": "sim1", "url": "http://sim/c1/sim1"},
                        {"name": "sim2", "url": "http://sim/c1/sim2"},
                    ],
                    "storage_pools": [{"name": "primary", "url": "nfs://10.91.0.13/srv/export/primary"}],
                }
            ],
        }
    ],
    "image_stores": [{"name": "secondary", "url": "nfs://10.91.0.13/srv/export/secondary"}],
    "public_ranges": [
        {
            "start_ip": "10.93.0.50",
            "end_ip": "10.93.0.100",
            "gateway": "10.93.0.1",
            "netmask": NETMASK,
            "vlan": "untagged",
        }
    ],
    "service_offerings": [{"name": "tiny", "cpu_number": 1, "cpu_speed": 100, "memory": 64}],
    "guest_networks": [
        {
            "name": "guests",
            "network_offering": "DefaultSharedNetworkOffering",
            "physical_network": "net",
            "vlan": "untagged",
            "gateway": "10.92.0.1",
            "netmask": NETMASK,
            "start_ip": "10.92.0.50",
            "end_ip": "10.92.0.100",
        }
    ],
    "templates": [
        {
            "name": "tiny",
            "url": "http://10.91.0.13/tiny.vhd",
            "format": "VHD",
            "hypervisor": "Simulator",
            "os_type": "Other Linux (64-bit)",
            "is_public": True,
        }
    ],
}

# module -> "create": options; "update": options that make a difference; "states": each is a change; "end": options that
# end it, state=absent unless given; "exists": it is there from the start; "fixed": options that cannot change;
# "rename": whether it can have another name, or the option that holds it with its new value; "called": what _info finds
# it by, where that is not the option that names it
SAMPLES = {
    "zone": {
        "create": {"name": "cycle", "dns1": "192.0.2.1"},
        "update": {"dns1": "192.0.2.2", "internal_dns2": "192.0.2.3"},
        "states": ["enabled", "disabled"],
        "fixed": {"network_type": "Basic"},
        "rename": True,
    },
    "physical_network": {
        "create": {"name": "cycle", "zone": "spare", "isolation_methods": ["VLAN"]},
        "update": {"tags": ["fast"], "vlan": "300-310"},
        "states": ["enabled", "disabled"],
        "fixed": {"isolation_methods": ["VXLAN"]},
    },
    "traffic_type": {
        "create": {"traffic_type": "Storage", **NET, "kvm_label": "cloudbr0"},
        "update": {"kvm_label": "cloudbr2"},
    },
    "network_service_provider": {
        "exists": True,
        "create": {"name": "VpcVirtualRouter", **NET, "state": "enabled"},
        "states": ["disabled", "enabled", "disabled"],
    },
    "pod": {
        "create": {
            "name": "cycle",
            "zone": "lab",
            "start_ip": "10.99.0.10",
            "end_ip": "10.99.0.20",
            "gateway": "10.99.0.1",
            "netmask": NETMASK,
        },
        "update": {"end_ip": "10.99.0.30"},
        "states": ["disabled", "enabled"],
        "rename": True,
    },
    "cluster": {
        "create": {"name": "cycle", "zone": "lab", "pod": "pod1", "hypervisor": "Simulator"},
        "states": ["disabled", "enabled"],
        "fixed": {"hypervisor": "XenServer"},
        "rename": True,
    },
    "host": {
        "create": {"name": "cycle", **PLACE, "hypervisor": "Simulator", "url": "http://sim/c1/cycle"},
        "update": {"host_tags": ["fast", "big"]},
        "states": ["disabled", "enabled", "maintenance", "enabled"],
        "fixed": {"hypervisor": "KVM"},
        "rename": True,
    },
    "storage_pool": {
        "create": {"name": "cycle", **PLACE, "url": "nfs://192.0.2.9/cycle"},
        "update": {"tags": ["ssd"]},
        "states": ["maintenance", "enabled"],
        "fixed": {"url": "nfs://192.0.2.9/other"},
        "rename": True,
    },
    "image_store": {
        "create": {"name": "cycle", "zone": "lab", "url": "nfs://192.0.2.9/images"},
        "update": {"read_only": True},
        "fixed": {"url": "nfs://192.0.2.9/other"},
    },
    "vlan_ip_range": {
        "create": {
            "start_ip": "198.51.100.10",
            "end_ip": "198.51.100.20",
            "zone": "lab",
            "physical_network": "net",
            "gateway": "198.51.100.1",
            "netmask": NETMASK,
            "vlan": "77",
            "for_virtual_network": True,
        },
        "update": {"end_ip": "198.51.100.30"},
        "fixed": {"vlan": "78"},
    },
    "service_offering": {
        "create": {"name": "cycle", "cpu_number": 1, "cpu_speed": 100, "memory": 64, "storage_tags": ["b", "a"]},
        "update": {"display_text": "changed", "storage_tags": ["c"]},
        "fixed": {"memory": 128},
        "rename": True,
    },
    "disk_offering": {
        "create": {"name": "cycle", "disk_size": 1},
        "update": {"display_text": "changed"},
        "fixed": {"disk_size": 2},
        "rename": True,
    },
    "network_offering": {
        "create": {
            "name": "cycle",
            "guest_ip_type": "Isolated",
            "service_providers": {"Dhcp": "VirtualRouter", "Dns": "VirtualRouter", "UserData": "VirtualRouter"},
        },
        "update": {"display_text": "changed"},
        "states": ["enabled", "disabled"],
        "fixed": {"service_providers": {"Dhcp": "VirtualRouter"}},
        "rename": True,
    },
    "network": {
        "create": {
            "name": "cycle",
            "zone": "lab",
            "network_offering": "DefaultIsolatedNetworkOfferingWithSourceNatService",
            "gateway": "10.1.7.1",
            "netmask": NETMASK,
        },
        "update": {"display_text": "changed"},
        "fixed": {"gateway": "10.1.8.1"},
        "rename": True,
    },
    "template": {
        "create": {
            "name": "cycle",
            "zone": "lab",
            "url": "http://10.91.0.13/cycle.vhd",
            "format": "VHD",
            "hypervisor": "Simulator",
            "os_type": "Other Linux (64-bit)",
        },
        "update": {"display_text": "changed", "is_featured": True},
        "fixed": {"format": "QCOW2"},
        "rename": True,
    },
    "ssh_key_pair": {
        "create": {"name": "cycle", "public_key": PUBLIC_KEY},
        "fixed": {"public_key": PUBLIC_KEY.replace("BaGW", "AAAA")},
    },
    "vm": {
        "create": {
            "name": "cycle",
            "zone": "lab",
            "template": "tiny",
            "service_offering": "tiny",
            "networks": ["guests"],
        },
        "update": {"display_name": "changed"},
        "states": ["stopped", "started", "destroyed", "started", "absent"],
        "fixed": {"ip_address": "10.92.0.77"},
        "end": {"state": "expunged"},
    },
    "configuration": {
        "exists": True,
        "create": {"name": "expunge.delay", "value": "77"},
        "update": {"value": "78"},
        "end": {"state": "default", "value": None},
    },
    "user_keys": {"create": {"user": "cycle"}},
    **samples_identity.SAMPLES,
    **samples_compute.SAMPLES,
}
