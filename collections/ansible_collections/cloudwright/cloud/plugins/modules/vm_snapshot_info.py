#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List snapshots of machines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_snapshot_info
short_description: List snapshots of machines
description:
  - List snapshots of machines, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  vm:
    description: Name or id of the machine.
    type: str
  state:
    description: Return only snapshots in this state, such as V(Ready).
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.list_all
"""

EXAMPLES = r"""
- name: Read snapshots of machines
  cloudwright.cloud.vm_snapshot_info:
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
    "vm_snapshot",
    filters={
        "vm": {
            "type": "str",
            "ref": "vm",
            "api": "virtualmachineid",
            "within": ("domain", "account", "project"),
        },
        "state": {"type": "str"},
        **LISTED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
