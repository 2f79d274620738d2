#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage traffic types."""

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_type
short_description: Manage traffic types
description:
  - Say which traffic a physical network carries, and through which bridges of the hosts.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  traffic_type:
    description:
      - The traffic.
      - Cannot change after creation.
    type: str
    choices: [Guest, Management, Public, Storage]
  zone:
    description: Name or id of the zone.
    type: str
  physical_network:
    description: Name or id of the physical network, looked for in O(zone).
    type: str
    required: true
  kvm_label:
    description: Bridge of KVM hosts.
    type: str
  xen_label:
    description: Network of XenServer hosts, by its name label.
    type: str
  vmware_label:
    description: Virtual switch of VMware hosts.
    type: str
  isolation_method:
    description: How the traffic is kept apart. Only sent at creation.
    type: str
  vlan:
    description: VLAN of the traffic on VMware hosts. Only sent at creation.
    type: str
  state:
    description: Whether the traffic type exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Guests are on bridge cloudbr1
  cloudwright.cloud.traffic_type:
    traffic_type: Guest
    zone: lab
    physical_network: net
    kvm_label: cloudbr1
"""

RETURN = r"""
entity:
  description:
    - The traffic type with the fields of the API, as it is now. In check mode, as it would be.
    - None when there is none any more.
  returned: success
  type: dict
job_id:
  description: Id of the last job that the server started for the task.
  returned: when there was one
  type: str
duration:
  description: Seconds that the task took.
  returned: when there was a job
  type: float
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity

ENTITY = Entity(
    "traffic_type",
    create="addTrafficType",
    update="updateTrafficType",
    delete="deleteTrafficType",
    key="traffic_type",
    fields={
        "traffic_type": {
            "type": "str",
            "choices": ["Guest", "Management", "Public", "Storage"],
            "update": False,
        },
        "zone": {"type": "str", "ref": "zone", "use": "scope"},
        "physical_network": {
            "type": "str",
            "required": True,
            "ref": "physical_network",
            "within": ("zone",),
            "find": True,
            "update": False,
        },
        "kvm_label": {"type": "str", "api": "kvmnetworklabel"},
        "xen_label": {"type": "str", "api": "xennetworklabel"},
        "vmware_label": {"type": "str", "api": "vmwarenetworklabel"},
        "isolation_method": {"type": "str", "shown": False},
        "vlan": {"type": "str", "shown": False},
    },
)

if __name__ == "__main__":
    ENTITY.main()
