#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List tags of resources."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tag_info
short_description: List tags of resources
description:
  - List tags of resources. The O(name) of a tag is its key.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  resource_type:
    description: Kind of the resources.
    type: str
    choices: [UserVm, Template, ISO, Volume, Network, PublicIpAddress, Project, Account, User]
  resource_id:
    description: Id of the resource.
    type: str
  value:
    description: Return only tags with this value.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.listed
  - cloudwright.cloud.api.named
  - cloudwright.cloud.fields.owner
"""

EXAMPLES = r"""
- name: Read which machines are marked
  cloudwright.cloud.tag_info:
    resource_type: UserVm
    name: tier
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

KINDS = ["UserVm", "Template", "ISO", "Volume", "Network", "PublicIpAddress", "Project", "Account", "User"]

ENTITY = EntityInfo(
    "tag",
    by=("name",),
    filters={
        "resource_type": {"type": "str", "choices": KINDS},
        "resource_id": {"type": "str"},
        "value": {"type": "str"},
        **OWNER,
    },
)

if __name__ == "__main__":
    ENTITY.main()
