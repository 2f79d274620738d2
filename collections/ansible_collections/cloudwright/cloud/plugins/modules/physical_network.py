#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage physical networks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: physical_network
short_description: Manage physical networks
description:
  - Create, change, enable, disable and delete the physical networks of a zone.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the physical network.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one.
    type: str
  isolation_methods:
    description:
      - How guest networks are kept apart, such as VLAN or VXLAN.
      - Cannot change after creation.
    type: list
    elements: str
  vlan:
    description: Range of VLAN numbers for guest networks, such as V(100-200).
    type: str
  network_speed:
    description: Speed of the network, such as V(1G).
    type: str
  broadcast_domain_range:
    description:
      - How far broadcasts go.
      - Cannot change after creation.
    type: str
    choices: [POD, ZONE]
  domain:
    description:
      - Name, path or id of the only domain that may use it.
      - Cannot change after creation.
    type: str
  tags:
    description: Tags by which network offerings choose it.
    type: list
    elements: str
  state:
    description:
      - Whether the physical network exists.
      - V(enabled) and V(disabled) create it if need be, V(present) leaves both alone.
    type: str
    choices: [present, absent, enabled, disabled]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have a physical network
  cloudwright.cloud.physical_network:
    name: net
    zone: lab
    isolation_methods: [VLAN]
    vlan: 100-200
    state: enabled
"""

RETURN = r"""
entity:
  description:
    - The physical network with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import PRESENT_ABSENT, Entity, switches

ENTITY = Entity(
    "physical_network",
    create="createPhysicalNetwork",
    update="updatePhysicalNetwork",
    delete="deletePhysicalNetwork",
    states={**PRESENT_ABSENT, **switches("state")},
    fields={
        "name": {"type": "str", "update": False},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "isolation_methods": {"type": "list", "elements": "str", "update": False},
        "vlan": {"type": "str"},
        "network_speed": {"type": "str"},
        "broadcast_domain_range": {"type": "str", "choices": ["POD", "ZONE"], "update": False},
        "domain": {"type": "str", "ref": "domain", "update": False},
        "tags": {"type": "list", "elements": "str"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
