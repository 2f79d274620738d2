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
  cache_mode:
    description:
      - How hosts cache what disks write.
      - Cannot change after creation.
    type: str
    choices: [none, writeback, writethrough]
  customized_iops:
    description:
      - Whether users choose the operations per second of root disks themselves.
      - Cannot change after creation.
    type: bool
  min_iops:
    description:
      - Least operations per second of root disks.
      - Cannot change after creation.
    type: int
  max_iops:
    description:
      - Most operations per second of root disks.
      - Cannot change after creation.
    type: int
  bytes_read_rate:
    description:
      - Most bytes read per second from root disks.
      - Cannot change after creation.
    type: int
  bytes_write_rate:
    description:
      - Most bytes written per second to root disks.
      - Cannot change after creation.
    type: int
  iops_read_rate:
    description:
      - Most reads per second from root disks.
      - Cannot change after creation.
    type: int
  iops_write_rate:
    description:
      - Most writes per second to root disks.
      - Cannot change after creation.
    type: int
  root_disk_size:
    description:
      - Size of the root disk in GiB. V(0) takes the template's.
      - Cannot change after creation.
    type: int
  storage_type:
    description:
      - Whether disks lie on the host or on shared storage.
      - Cannot change after creation.
    type: str
    choices: [local, shared]
  provisioning_type:
    description:
      - How disks take their space.
      - Cannot change after creation.
    type: str
    choices: [thin, sparse, fat]
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
  domains:
    description: Names, paths or ids of the only domains that may use it.
    type: list
    elements: str
  zones:
    description: Names or ids of the only zones in which it can be used.
    type: list
    elements: str
  state:
    description: Whether the service offering exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
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


def cache(offering):
    """How hosts cache; answers leave out that they do not."""
    return offering.get("cacheMode", "none")


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
        "cache_mode": {
            "type": "str",
            "choices": ["none", "writeback", "writethrough"],
            "field": "cacheMode",
            "read": cache,
            "update": False,
        },
        "customized_iops": {"type": "bool", "field": "iscustomizediops", "update": False},
        "min_iops": {"type": "int", "update": False},
        "max_iops": {"type": "int", "update": False},
        "bytes_read_rate": {"type": "int", "field": "diskBytesReadRate", "update": False},
        "bytes_write_rate": {"type": "int", "field": "diskBytesWriteRate", "update": False},
        "iops_read_rate": {"type": "int", "field": "diskIopsReadRate", "update": False},
        "iops_write_rate": {"type": "int", "field": "diskIopsWriteRate", "update": False},
        "root_disk_size": {"type": "int", "update": False},
        "storage_type": {"type": "str", "choices": ["local", "shared"], "update": False},
        "provisioning_type": {"type": "str", "choices": ["thin", "sparse", "fat"], "update": False},
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
        "domains": {"type": "list", "elements": "str", "ref": "domain", "api": "domainid"},
        "zones": {"type": "list", "elements": "str", "ref": "zone", "api": "zoneid"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
