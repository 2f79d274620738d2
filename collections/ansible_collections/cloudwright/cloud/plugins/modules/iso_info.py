#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List ISOs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: iso_info
short_description: List ISOs
description:
  - List ISOs, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  zone:
    description: Name or id of the zone.
    type: str
  iso_filter:
    description: Which ISOs to choose from.
    type: str
    choices: [featured, self, selfexecutable, shared, sharedexecutable, executable, community, all]
    default: executable
  bootable:
    description: Return only ISOs that machines may start from, or only others.
    type: bool
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Read ISOs
  cloudwright.cloud.iso_info:
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
    "iso",
    filters={
        "zone": {"type": "str", "ref": "zone"},
        "iso_filter": {
            "type": "str",
            "choices": [
                "featured",
                "self",
                "selfexecutable",
                "shared",
                "sharedexecutable",
                "executable",
                "community",
                "all",
            ],
            "default": "executable",
        },
        "bootable": {"type": "bool"},
        **OWNER,
    },
)

if __name__ == "__main__":
    ENTITY.main()
