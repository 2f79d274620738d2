#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List instance groups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_group_info
short_description: List instance groups
description:
  - List instance groups, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.owner
  - cloudwright.cloud.fields.list_all
"""

EXAMPLES = r"""
- name: Read instance groups
  cloudwright.cloud.instance_group_info:
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
    "instance_group",
    filters={
        **LISTED,
    },
)

if __name__ == "__main__":
    ENTITY.main()
