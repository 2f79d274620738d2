#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read capacities."""

from __future__ import annotations

DOCUMENTATION = r"""
module: capacity_info
short_description: Read capacities
description:
  - Read how much zones, pods and clusters have of everything, and how much of it is promised.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone. By default all zones are returned.
    type: str
  pod:
    description: Name or id of the pod, looked for in O(zone).
    type: str
  cluster:
    description: Name or id of the cluster, looked for in O(zone).
    type: str
  type:
    description: Return only capacities of this type.
    type: str
    choices: [memory, cpu, storage, storage_allocated, public_ip, private_ip, secondary_storage, vlan,
      shared_network_ip, local_storage, cpu_core]
  tag:
    description: Return only what hosts and storage with this tag have.
    type: str
  sort_by:
    description: With V(usage), the fullest come first.
    type: str
    choices: [usage]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.listed
"""

EXAMPLES = r"""
- name: Read how much memory a cluster has
  cloudwright.cloud.capacity_info:
    zone: lab
    cluster: c1
    type: memory
  register: found
"""

RETURN = r"""
entities:
  description: What was found, with the fields of the API.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import EntityInfo

TYPES = {
    "memory": 0,
    "cpu": 1,
    "storage": 2,
    "storage_allocated": 3,
    "public_ip": 4,
    "private_ip": 5,
    "secondary_storage": 6,
    "vlan": 7,
    "shared_network_ip": 8,
    "local_storage": 9,
    "cpu_core": 90,
}

ENTITY = EntityInfo(
    "capacity",
    by=(),
    filters={
        "zone": {"type": "str", "ref": "zone"},
        "pod": {"type": "str", "ref": "pod", "within": ("zone",)},
        "cluster": {"type": "str", "ref": "cluster", "within": ("zone",)},
        "type": {"type": "str", "choices": list(TYPES), "encode": TYPES.get},
        "tag": {"type": "str"},
        "sort_by": {"type": "str", "choices": ["usage"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
