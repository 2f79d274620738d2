#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage ranges of addresses."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_ip_range
short_description: Manage ranges of addresses
description:
  - Create, change and delete the ranges of public addresses, and those of shared networks.
  - A range is known by its first address.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  start_ip:
    description: First address of the range.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one.
    type: str
  end_ip:
    description: Last address of the range.
    type: str
  gateway:
    description: Gateway of the addresses.
    type: str
  netmask:
    description: Netmask of the addresses.
    type: str
  vlan:
    description:
      - VLAN of the addresses, a number or V(untagged).
      - Cannot change after creation.
    type: str
  network:
    description: Name or id of the shared network that the range extends, looked for in O(zone).
    type: str
  physical_network:
    description:
      - Name or id of the physical network, looked for in O(zone).
      - Cannot change after creation.
    type: str
  pod:
    description:
      - Name or id of the pod, looked for in O(zone).
      - Cannot change after creation.
    type: str
  for_virtual_network:
    description:
      - Whether these are public addresses.
      - Cannot change after creation.
    type: bool
  for_system_vms:
    description: Whether only system virtual machines get them.
    type: bool
  domain:
    description:
      - Name, path (as C(ROOT/department)) or id of the domain.
      - Cannot change after creation.
    type: str
  account:
    description:
      - Name of the only account that gets them. Needs O(domain).
      - Cannot change after creation.
    type: str
  state:
    description: Whether the IP range exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have public addresses
  cloudwright.cloud.vlan_ip_range:
    zone: lab
    start_ip: 198.51.100.10
    end_ip: 198.51.100.99
    gateway: 198.51.100.1
    netmask: 255.255.255.0
    vlan: untagged
    for_virtual_network: true
"""

RETURN = r"""
entity:
  description:
    - The IP range with the fields of the API, as it is now. In check mode, as it would be.
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
    "vlan_ip_range",
    create="createVlanIpRange",
    update="updateVlanIpRange",
    delete="deleteVlanIpRange",
    key="start_ip",
    fields={
        "start_ip": {"type": "str"},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "end_ip": {"type": "str"},
        "gateway": {"type": "str"},
        "netmask": {"type": "str"},
        "vlan": {
            "type": "str",
            "read": lambda found: found.get("vlan", "").replace("vlan://", ""),
            "update": False,
        },
        "network": {"type": "str", "ref": "network", "within": ("zone",), "find": True, "update": False},
        "physical_network": {"type": "str", "ref": "physical_network", "within": ("zone",), "update": False},
        "pod": {"type": "str", "ref": "pod", "within": ("zone",), "update": False},
        "for_virtual_network": {"type": "bool", "update": False},
        "for_system_vms": {"type": "bool"},
        "domain": {"type": "str", "ref": "domain", "update": False},
        "account": {"type": "str", "update": False},
    },
)

if __name__ == "__main__":
    ENTITY.main()
