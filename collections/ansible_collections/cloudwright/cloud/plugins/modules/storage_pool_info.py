#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List storage pools."""

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_pool_info
short_description: List storage pools
description:
  - List storage pools, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  scope:
    description: Return only pools used this way.
    type: str
    choices: [HOST, CLUSTER, ZONE]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.place
"""

EXAMPLES = r"""
- name: Read storage pools
  cloudwright.cloud.storage_pool_info:
    zone: lab
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import PLACE

ENTITY = EntityInfo(
    "storage_pool",
    filters={
        **PLACE,
        "scope": {"type": "str", "choices": ["HOST", "CLUSTER", "ZONE"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
