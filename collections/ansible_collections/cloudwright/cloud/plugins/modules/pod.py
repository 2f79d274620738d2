#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage pods."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod
short_description: Manage pods
description:
  - Create, change, enable, disable and delete pods.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the pod.
    type: str
  zone:
    description:
      - Name or id of the zone.
      - Needed to create a new one.
    type: str
  start_ip:
    description:
      - First address for system virtual machines.
      - Needed to create a new one.
    type: str
  end_ip:
    description: Last address for system virtual machines.
    type: str
  gateway:
    description:
      - Gateway of the pod's management network.
      - Needed to create a new one.
    type: str
  netmask:
    description:
      - Netmask of the pod's management network.
      - Needed to create a new one.
    type: str
  state:
    description:
      - Whether the pod exists.
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
- name: Have a pod
  cloudwright.cloud.pod:
    name: pod1
    zone: lab
    start_ip: 10.91.0.100
    end_ip: 10.91.0.150
    gateway: 10.91.0.1
    netmask: 255.255.255.0
"""

RETURN = r"""
entity:
  description:
    - The pod with the fields of the API, as it is now. In check mode, as it would be.
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
    "pod",
    create="createPod",
    update="updatePod",
    delete="deletePod",
    state_field="allocationstate",
    states={**PRESENT_ABSENT, **switches("allocationstate")},
    fields={
        "name": {"type": "str"},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "start_ip": {"type": "str", "needed": True},
        "end_ip": {"type": "str"},
        "gateway": {"type": "str", "needed": True},
        "netmask": {"type": "str", "needed": True},
    },
)

if __name__ == "__main__":
    ENTITY.main()
