#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List service offerings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_offering_info
short_description: List service offerings
description:
  - List service offerings, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain.
    type: str
  is_system:
    description: Whether to return the offerings of system virtual machines instead.
    type: bool
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read service offerings
  cloudwright.cloud.service_offering_info:
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
    "service_offering",
    filters={
        "domain": {"type": "str", "ref": "domain"},
        "is_system": {"type": "bool"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
