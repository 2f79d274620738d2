#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List zones."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zone_info
short_description: List zones
description:
  - List zones, or find one.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  network_type:
    description: Return only zones of this kind.
    type: str
    choices: [Basic, Advanced]
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.info
"""

EXAMPLES = r"""
- name: Read zones
  cloudwright.cloud.zone_info:
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
    "zone",
    filters={
        "network_type": {"type": "str", "choices": ["Basic", "Advanced"]},
    },
)

if __name__ == "__main__":
    ENTITY.main()
