#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage disk offerings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_offering
short_description: Manage disk offerings
description:
  - Create, change and delete offerings of data disks.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the disk offering.
    type: str
  display_text:
    description: Text that users see beside the name. A new disk offering gets its name.
    type: str
  disk_size:
    description:
      - Size in GiB.
      - Cannot change after creation.
    type: int
  customized:
    description:
      - Whether users choose the size themselves.
      - Cannot change after creation.
    type: bool
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
  cache_mode:
    description:
      - How hosts cache what disks write.
    type: str
    choices: [none, writeback, writethrough]
  disk_size_strictness:
    description:
      - Whether disks keep their size and offering.
      - Cannot change after creation.
    type: bool
  customized_iops:
    description:
      - Whether users choose the operations per second themselves.
      - Cannot change after creation.
    type: bool
  display_offering:
    description: Whether users see it.
    type: bool
  encrypt:
    description:
      - Whether disks are encrypted.
      - Cannot change after creation.
    type: bool
  min_iops:
    description:
      - Least operations per second.
      - Cannot change after creation.
    type: int
  max_iops:
    description:
      - Most operations per second.
      - Cannot change after creation.
    type: int
  bytes_read_rate:
    description: Most bytes read per second.
    type: int
  bytes_write_rate:
    description: Most bytes written per second.
    type: int
  iops_read_rate:
    description: Most reads per second.
    type: int
  iops_write_rate:
    description: Most writes per second.
    type: int
  storage_tags:
    description: Tags that a storage pool must have.
    type: list
    elements: str
  domains:
    description: Names, paths or ids of the only domains that may use it.
    type: list
    elements: str
  zones:
    description: Names or ids of the only zones in which it can be used.
    type: list
    elements: str
  state:
    description: Whether the disk offering exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have an offering of 10 GiB
  cloudwright.cloud.disk_offering:
    name: ten
    disk_size: 10
"""

RETURN = r"""
entity:
  description:
    - The disk offering with the fields of the API, as it is now. In check mode, as it would be.
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
    "disk_offering",
    create="createDiskOffering",
    update="updateDiskOffering",
    delete="deleteDiskOffering",
    fields={
        "name": {"type": "str"},
        "display_text": {"type": "str", "initial": lambda params: params["name"]},
        "disk_size": {"type": "int", "update": False},
        "customized": {"type": "bool", "field": "iscustomized", "update": False},
        "storage_type": {"type": "str", "choices": ["local", "shared"], "update": False},
        "provisioning_type": {"type": "str", "choices": ["thin", "sparse", "fat"], "update": False},
        "cache_mode": {
            "type": "str",
            "choices": ["none", "writeback", "writethrough"],
            "field": "cacheMode",
            "read": cache,
        },
        "disk_size_strictness": {"type": "bool", "update": False},
        "customized_iops": {"type": "bool", "field": "iscustomizediops", "update": False},
        "display_offering": {"type": "bool"},
        "encrypt": {"type": "bool", "update": False},
        "min_iops": {"type": "int", "update": False},
        "max_iops": {"type": "int", "update": False},
        "bytes_read_rate": {"type": "int", "field": "diskBytesReadRate"},
        "bytes_write_rate": {"type": "int", "field": "diskBytesWriteRate"},
        "iops_read_rate": {"type": "int", "field": "diskIopsReadRate"},
        "iops_write_rate": {"type": "int", "field": "diskIopsWriteRate"},
        "storage_tags": {"type": "list", "elements": "str", "api": "tags"},
        "domains": {"type": "list", "elements": "str", "ref": "domain", "api": "domainid"},
        "zones": {"type": "list", "elements": "str", "ref": "zone", "api": "zoneid"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
