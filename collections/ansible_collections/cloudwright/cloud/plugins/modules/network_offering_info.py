#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List network offerings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_offering_info
short_description: List network offerings
description:
  - List network offerings, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  guest_ip_type:
    description: Return only offerings of such networks.
    type: str
    choices: [Isolated, Shared, L2]
  state:
    description: Return only those in this state.
    type: str
    choices: [Enabled, Disabled]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read network offerings
  cloudwright.cloud.network_offering_info:
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
    "network_offering",
    filters={
        "guest_ip_type": {"type": "str", "choices": ["Isolated", "Shared", "L2"]},
        "state": {"type": "str", "choices": ["Enabled", "Disabled"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
