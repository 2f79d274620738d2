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
options:
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain.
    type: str
  account:
    description: Name of the account that owns the instance groups. Needs O(domain).
    type: str
  project:
    description: Name or id of the project that owns the instance groups.
    type: str
  list_all:
    description: Whether to return what other accounts own, too, as far as it may be seen.
    type: bool
    default: false
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
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

ENTITY = EntityInfo(
    "instance_group",
    filters={
        "domain": {"type": "str", "ref": "domain"},
        "account": {"type": "str"},
        "project": {"type": "str", "ref": "project"},
        "list_all": {"type": "bool", "default": False},
    },
)

if __name__ == "__main__":
    ENTITY.main()
