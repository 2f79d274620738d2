#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the rules of roles."""

from __future__ import annotations

DOCUMENTATION = r"""
module: role_permission_info
short_description: List the rules of roles
description:
  - List the rules of roles in their order, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  role:
    description: Name or id of the role. By default the rules of all roles are returned.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read the rules of a role
  cloudwright.cloud.role_permission_info:
    role: Auditor
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

ENTITY = EntityInfo("role_permission", filters={"role": {"type": "str", "ref": "role"}})

if __name__ == "__main__":
    ENTITY.main()
