#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List volumes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: volume_info
short_description: List volumes
description:
  - List volumes, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  vm:
    description: Name or id of the machine that has the volumes.
    type: str
  type:
    description: Whether to return root disks or data disks.
    type: str
    choices: [ROOT, DATADISK]
  state:
    description: Return only volumes in this state, such as V(Ready).
    type: str
  storage_pool:
    description: Name or id of the storage pool, for administrators.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.list_all
"""

EXAMPLES = r"""
- name: Read volumes
  cloudwright.cloud.volume_info:
    vm: web1
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import LISTED

ENTITY = EntityInfo(
    "volume",
    filters={
        "zone": {"type": "str", "ref": "zone"},
        "vm": {
            "type": "str",
            "ref": "vm",
            "api": "virtualmachineid",
            "within": ("zone", "domain", "account", "project"),
        },
        "type": {"type": "str", "choices": ["ROOT", "DATADISK"]},
        "state": {"type": "str"},
        "storage_pool": {"type": "str", "ref": "storage_pool", "api": "storageid", "within": ("zone",)},
        **LISTED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
