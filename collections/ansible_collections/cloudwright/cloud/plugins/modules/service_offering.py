#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage service offerings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_offering
short_description: Manage service offerings
description:
  - Create, change and delete offerings of processors and memory.
  - What an offering says of disks is for root disks, and cannot change after creation.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the service offering.
    type: str
  display_text:
    description: Text that users see beside the name. A new service offering gets its name.
    type: str
  cpu_number:
    description:
      - Number of processors.
      - Cannot change after creation.
    type: int
  cpu_speed:
    description:
      - Share of a processor that each gets, in MHz.
      - Cannot change after creation.
    type: int
  memory:
    description:
      - Memory in MiB.
      - Cannot change after creation.
    type: int
  customized:
    description:
      - Whether users choose processors and memory themselves.
      - Cannot change after creation.
    type: bool
  min_cpu_number:
    description: Least number of processors that users may choose. Only sent at creation.
    type: int
  max_cpu_number:
    description: Most processors that users may choose. Only sent at creation.
    type: int
  min_memory:
    description: Least memory in MiB that users may choose. Only sent at creation.
    type: int
  max_memory:
    description: Most memory in MiB that users may choose. Only sent at creation.
    type: int
  dynamic_scaling_enabled:
    description:
      - Whether machines may be scaled while they run.
      - Cannot change after creation.
    type: bool
  disk_offering:
    description:
      - Name or id of the disk offering of root disks, instead of what is said of them here.
      - Cannot change after creation.
    type: str
  disk_offering_strictness:
    description:
      - Whether root disks keep that disk offering.
      - Cannot change after creation.
    type: bool
  encrypt_root:
    description:
      - Whether root disks are encrypted.
      - Cannot change after creation.
    type: bool
  root_disk_size:
    description:
      - Size of the root disk in GiB. V(0) takes the template's.
      - Cannot change after creation.
    type: int
  offer_ha:
    description:
      - Whether machines are started again after their host failed.
      - Cannot change after creation.
    type: bool
  limit_cpu_use:
    description:
      - Whether machines get no more than O(cpu_speed).
      - Cannot change after creation.
    type: bool
  is_volatile:
    description:
      - Whether the root disk is made anew at each start.
      - Cannot change after creation.
    type: bool
  network_rate:
    description:
      - Rate limit in Mbit/s.
      - Cannot change after creation.
    type: int
  host_tags:
    description: Tags that a host must have.
    type: list
    elements: str
  storage_tags:
    description: Tags that a storage pool must have.
    type: list
    elements: str
  deployment_planner:
    description:
      - Name of the planner that chooses the host.
      - Cannot change after creation.
    type: str
  is_system:
    description: Whether the offering is for system virtual machines.
    type: bool
  system_vm_type:
    description:
      - Kind of system virtual machine that the offering is for.
      - Cannot change after creation.
    type: str
    choices: [domainrouter, consoleproxy, secondarystoragevm]
  state:
    description: Whether the service offering exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.disks
  - cloudwright.cloud.fields.restricted
"""

EXAMPLES = r"""
- name: Have a small offering on local disks
  cloudwright.cloud.service_offering:
    name: tiny
    cpu_number: 1
    cpu_speed: 500
    memory: 256
    storage_type: local
"""

RETURN = r"""
entity:
  description:
    - The service offering with the fields of the API, as it is now. In check mode, as it would be.
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import RESTRICTED, disks

ENTITY = Entity(
    "service_offering",
    create="createServiceOffering",
    update="updateServiceOffering",
    delete="deleteServiceOffering",
    fields={
        "name": {"type": "str"},
        "display_text": {"type": "str", "initial": lambda params: params["name"]},
        "cpu_number": {"type": "int", "update": False},
        "cpu_speed": {"type": "int", "update": False},
        "memory": {"type": "int", "update": False},
        "customized": {"type": "bool", "field": "iscustomized", "update": False},
        "min_cpu_number": {"type": "int", "shown": False},
        "max_cpu_number": {"type": "int", "shown": False},
        "min_memory": {"type": "int", "shown": False},
        "max_memory": {"type": "int", "shown": False},
        "dynamic_scaling_enabled": {"type": "bool", "update": False},
        "disk_offering": {"type": "str", "ref": "disk_offering", "update": False},
        "disk_offering_strictness": {"type": "bool", "update": False},
        "encrypt_root": {"type": "bool", "update": False},
        **disks(update=False),
        **RESTRICTED,
        "root_disk_size": {"type": "int", "update": False},
        "offer_ha": {"type": "bool", "update": False},
        "limit_cpu_use": {"type": "bool", "update": False},
        "is_volatile": {"type": "bool", "update": False},
        "network_rate": {"type": "int", "update": False},
        "host_tags": {"type": "list", "elements": "str"},
        "storage_tags": {
            "type": "list",
            "elements": "str",
            "api": "tags",
            "field": "storagetags",
            "update": "storagetags",
        },
        "deployment_planner": {"type": "str", "update": False},
        "is_system": {"type": "bool", "find": True, "update": False},
        "system_vm_type": {
            "type": "str",
            "choices": ["domainrouter", "consoleproxy", "secondarystoragevm"],
            "update": False,
        },
    },
)

if __name__ == "__main__":
    ENTITY.main()
