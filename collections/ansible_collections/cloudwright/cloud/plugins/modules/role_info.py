#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List roles."""

from __future__ import annotations

DOCUMENTATION = r"""
module: role_info
short_description: List roles
description:
  - List roles, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  type:
    description: Return only roles of this type.
    type: str
    choices: [Admin, ResourceAdmin, DomainAdmin, User]
  state:
    description: Return only roles in this state.
    type: str
    choices: [enabled, disabled]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read the roles for administrators of domains
  cloudwright.cloud.role_info:
    type: DomainAdmin
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

ENTITY = EntityInfo(
    "role",
    filters={
        "type": {"type": "str", "choices": ["Admin", "ResourceAdmin", "DomainAdmin", "User"]},
        "state": {"type": "str", "choices": ["enabled", "disabled"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
