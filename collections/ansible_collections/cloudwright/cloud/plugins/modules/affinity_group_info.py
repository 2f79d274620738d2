#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List affinity groups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: affinity_group_info
short_description: List affinity groups
description:
  - List affinity groups, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  vm:
    description: Name or id of a machine that is in them.
    type: str
  type:
    description: Return only groups of this type, such as V(host anti-affinity).
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.list_all
"""

EXAMPLES = r"""
- name: Read affinity groups
  cloudwright.cloud.affinity_group_info:
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
    "affinity_group",
    filters={
        "vm": {
            "type": "str",
            "ref": "vm",
            "api": "virtualmachineid",
            "within": ("domain", "account", "project"),
        },
        "type": {"type": "str"},
        **LISTED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
