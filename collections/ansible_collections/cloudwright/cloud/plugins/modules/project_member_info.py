#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the members of projects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_member_info
short_description: List the members of projects
description:
  - List the members of a project, or find one by its O(name), which is that of the account or user.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  project:
    description: Name or id of the project, looked for in O(domain).
    type: str
    required: true
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain of the project.
    type: str
  role:
    description: Return only members with this part in the project.
    type: str
    choices: [Admin, Regular]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.listed
  - cloudwright.cloud.api.named
"""

EXAMPLES = r"""
- name: Read the members of a project
  cloudwright.cloud.project_member_info:
    project: shop
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
    "project_member",
    by=("name",),
    filters={
        "domain": {"type": "str", "ref": "domain", "use": "scope"},
        "project": {"type": "str", "required": True, "ref": "project", "within": ("domain",)},
        "role": {"type": "str", "choices": ["Admin", "Regular"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
