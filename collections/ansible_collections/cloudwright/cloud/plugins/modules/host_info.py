#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: List hosts
description:
  - List hosts, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  hypervisor:
    description: Return only those of this hypervisor.
    type: str
  state:
    description: Return only those in this state.
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
  - cloudwright.cloud.fields.place
"""

EXAMPLES = r"""
- name: Read hosts
  cloudwright.cloud.host_info:
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
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import PLACE

ENTITY = EntityInfo(
    "host",
    filters={
        **PLACE,
        "hypervisor": {"type": "str"},
        "state": {"type": "str"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
