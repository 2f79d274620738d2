#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List projects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_info
short_description: List projects
description:
  - List projects, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain.
    type: str
  account:
    description: Return only projects that the account of this name is a member of. Needs O(domain).
    type: str
  state:
    description: Return only projects in this state.
    type: str
    choices: [Active, Suspended, Disabled]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read the projects of a domain
  cloudwright.cloud.project_info:
    domain: ROOT/department
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
    "project",
    filters={
        "domain": {"type": "str", "ref": "domain"},
        "account": {"type": "str"},
        "state": {"type": "str", "choices": ["Active", "Suspended", "Disabled"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
