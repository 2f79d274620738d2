#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List templates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: template_info
short_description: List templates
description:
  - List templates, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  template_filter:
    description: Which templates to return. Only administrators may ask for V(all).
    type: str
    choices: [featured, self, selfexecutable, sharedexecutable, executable, community, all]
    default: executable
  hypervisor:
    description: Return only those of this hypervisor.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Read templates
  cloudwright.cloud.template_info:
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNER

ENTITY = EntityInfo(
    "template",
    filters={
        "zone": {"type": "str", "ref": "zone"},
        "template_filter": {
            "type": "str",
            "choices": ["featured", "self", "selfexecutable", "sharedexecutable", "executable", "community", "all"],
            "default": "executable",
        },
        "hypervisor": {"type": "str"},
        **OWNER,
    },
)

if __name__ == "__main__":
    ENTITY.main()
