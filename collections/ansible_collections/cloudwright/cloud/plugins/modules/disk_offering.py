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
  disk_size_strictness:
    description:
      - Whether disks keep their size and offering.
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
  storage_tags:
    description: Tags that a storage pool must have.
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
  - cloudwright.cloud.fields.disks
  - cloudwright.cloud.fields.restricted
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import RESTRICTED, disks

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
        **disks(),
        **RESTRICTED,
        "disk_size_strictness": {"type": "bool", "update": False},
        "display_offering": {"type": "bool"},
        "encrypt": {"type": "bool", "update": False},
        "storage_tags": {"type": "list", "elements": "str", "api": "tags"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
