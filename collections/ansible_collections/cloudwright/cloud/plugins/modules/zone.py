#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage zones."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zone
short_description: Manage zones
description:
  - Create, change, enable, disable and delete zones.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the zone.
    type: str
  network_type:
    description:
      - Kind of networks in the zone. A new zone is V(Advanced).
      - Cannot change after creation.
    type: str
    choices: [Basic, Advanced]
  dns1:
    description:
      - First name server of the machines in the zone.
      - Needed to create a new one.
    type: str
  dns2:
    description: Second name server of the machines in the zone.
    type: str
  internal_dns1:
    description: First name server of the system virtual machines. In a new zone O(dns1) unless given.
    type: str
  internal_dns2:
    description: Second name server of the system virtual machines.
    type: str
  ip6_dns1:
    description: First IPv6 name server of the machines in the zone.
    type: str
  ip6_dns2:
    description: Second IPv6 name server of the machines in the zone.
    type: str
  guest_cidr:
    description: Addresses of isolated guest networks that do not bring their own.
    type: str
  network_domain:
    description: DNS domain of the machines in the zone.
    type: str
  domain:
    description:
      - Name, path or id of the only domain that may use the zone.
      - Cannot change after creation.
    type: str
  local_storage_enabled:
    description: Whether disks may lie on the hosts themselves.
    type: bool
  security_groups_enabled:
    description:
      - Whether security groups separate the machines.
      - Cannot change after creation.
    type: bool
  state:
    description:
      - Whether the zone exists.
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
- name: Have an enabled zone
  cloudwright.cloud.zone:
    name: lab
    dns1: 192.0.2.53
    local_storage_enabled: true
    state: enabled

- name: Give it another name
  cloudwright.cloud.zone:
    id: 1f573c02-cc54-4e61-b243-8cc813a5d5bd
    name: laboratory
"""

RETURN = r"""
entity:
  description:
    - The zone with the fields of the API, as it is now. In check mode, as it would be.
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
    "zone",
    create="createZone",
    update="updateZone",
    delete="deleteZone",
    state_field="allocationstate",
    states={**PRESENT_ABSENT, **switches("allocationstate")},
    fields={
        "name": {"type": "str"},
        "network_type": {"type": "str", "choices": ["Basic", "Advanced"], "initial": "Advanced", "update": False},
        "dns1": {"type": "str", "needed": True},
        "dns2": {"type": "str"},
        "internal_dns1": {"type": "str", "initial": lambda params: params["dns1"]},
        "internal_dns2": {"type": "str"},
        "ip6_dns1": {"type": "str"},
        "ip6_dns2": {"type": "str"},
        "guest_cidr": {"type": "str", "api": "guestcidraddress"},
        "network_domain": {"type": "str", "api": "domain"},
        "domain": {"type": "str", "ref": "domain", "update": False},
        "local_storage_enabled": {"type": "bool"},
        "security_groups_enabled": {
            "type": "bool",
            "api": "securitygroupenabled",
            "field": "securitygroupsenabled",
            "update": False,
        },
    },
)

if __name__ == "__main__":
    ENTITY.main()
